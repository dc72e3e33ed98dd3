"""spaCy's DocBin (`.spacy`): documents with their entities, and with their categories where they have some."""

from __future__ import annotations

from typing import Any

from ftkit.data.formats._base import Source, Table, needs
from ftkit.errors import DataError, counted

_LEAST = 0.5
"""Of a category that a document is in."""


def read(source: Source) -> Table:
    """A row a document: `text`; `entities` where some document has any; `label` where they have categories."""
    needs(source, "spacy", "spacy")
    from spacy.tokens import DocBin
    from spacy.vocab import Vocab

    try:
        docs = list(DocBin().from_bytes(source.bytes()).get_docs(Vocab()))
    except (ValueError, TypeError, KeyError, EOFError, OSError) as error:
        message = f"{source.name} is no DocBin of spaCy's that can be read: {error}"
        raise DataError(message, "write it again, with DocBin(docs=docs).to_disk") from error
    has_entities = any(doc.ents for doc in docs) or not any(doc.cats for doc in docs)
    rows: list[dict[str, Any]] = [{"text": doc.text} for doc in docs]
    chosen = [[name for name, share in doc.cats.items() if share >= _LEAST] for doc in docs]
    single = all(len(names) < 2 for names in chosen)
    for row, doc, names in zip(rows, docs, chosen, strict=True):
        if has_entities:
            row["entities"] = [{"start": e.start_char, "end": e.end_char, "type": e.label_} for e in doc.ents]
        if any(chosen):
            row["label"] = names[0] if single and names else names
    if groups := sum(len(group) for doc in docs for group in doc.spans.values()):
        source.notes.append(f"{source.name}: {counted(groups, 'span')} in span groups not read; entities are")
    if bare := sum(not doc.has_annotation("ENT_IOB") for doc in docs) if has_entities else 0:
        source.notes.append(f"{source.name}: {counted(bare, 'document')} without any word on entities; read as none")
    return source.table(rows, unit="document")
