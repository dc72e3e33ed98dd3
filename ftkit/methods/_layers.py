"""What is a layer, what is the head: the one structural answer for freezing, rates, LoRA and adapters.

A *stack* is a list of blocks of one class that lies in no other such list: of two or more, or of one where the config
says that there is one. The *head* is what the
task put on top: modules outside the base model, and the base model's pooler where the head reads it. Names
are the plain model's own (`bert.encoder.layer.0`), whatever has been wrapped around the model since.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple

from ftkit.errors import CheckpointError

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

_WRAPPERS = re.compile(
    r"^(?:module\.)?(?:_orig_mod\.)?(?:base_model\.model\.)?"
    r"|(?<=\.)(?:modules_to_save\.[^.]+|original_module|base_layer|_fsdp_wrapped_module)\."
)
_PER_TOKEN = ("ForTokenClassification", "ForQuestionAnswering")


class Layout(NamedTuple):
    """The parts of a model from bottom to top, by module name. `len(layers)` is n in what follows."""

    layers: tuple[str, ...]
    """Blocks in the order in which data passes them; a decoder's follow its encoder's."""
    final_norms: dict[str, int]
    """Norms that close a stack, and the depth of the stack's last block."""
    top: tuple[str, ...]
    """The head, and an output layer that shares no weights with the embeddings."""

    def depth(self, parameter: str) -> int:
        """0 for embeddings, 1 to n for layers, n + 1 for the head. Names of wrapped models are understood."""
        name = plain_name(parameter)
        for place, layer in enumerate(self.layers, start=1):
            if _inside(name, layer):
                return place
        for norm, place in self.final_norms.items():
            if _inside(name, norm):
                return place
        return len(self.layers) + 1 if _within(name, self.top) else 0


def layout(model: nn.Module) -> Layout:
    """The layers and the head of a model, wrapped (by PEFT, DDP, `torch.compile`) or not."""
    core = plain_model(model)
    layers: list[str] = []
    final_norms: dict[str, int] = {}
    for stack in stacks(core):
        layers += [f"{stack}.{i}" for i in range(len(core.get_submodule(stack)))]  # type: ignore[arg-type]
        final_norms |= dict.fromkeys(_final_norms(core, stack), len(layers))
    return Layout(tuple(layers), final_norms, (*head_modules(core), *_output_layers(core)))


def plain_model(model: nn.Module) -> PreTrainedModel:
    """The transformers model inside whatever is wrapped around it. Raises CheckpointError for none."""
    from transformers import PreTrainedModel

    for module in model.modules():
        if isinstance(module, PreTrainedModel):
            return module
    raise CheckpointError(
        f"{type(model).__name__} is not a transformers model",
        "build it with one of transformers' Auto classes",
    )


def plain_name(parameter: str) -> str:
    """A parameter's name in the plain model, from its name in a wrapped one."""
    return _WRAPPERS.sub("", parameter)


def stacks(model: nn.Module) -> list[str]:
    """Names of the outermost lists of blocks of one class.

    There are none where layers share their weights (ALBERT), or where side by side lists each hold one part of
    every layer (XLM).
    """
    core = plain_model(model)
    found = _block_lists(core, at_least=_fewest(core))
    parents = {name.rpartition(".")[0] for name in found}
    return found if len(parents) == len(found) else []


def blocks(model: nn.Module) -> list[str]:
    """Names of the transformer blocks: those in the stacks, or the ones that all layers share (ALBERT)."""
    core = plain_model(model)
    lists = _block_lists(core, at_least=_fewest(core)) or _block_lists(core, at_least=1)
    return [f"{name}.{i}" for name in lists for i in range(len(core.get_submodule(name)))]  # type: ignore[arg-type]


def in_top(model: nn.Module, names: Iterable[str], count: int | None) -> list[str]:
    """Those of the named modules that lie in the top `count` blocks; all where `count` is none.

    Raises CheckpointError for more blocks than there are.
    """
    if count is None:
        return list(names)
    there = blocks(model)
    refuse_more_layers(model, count, len(there))
    return [name for name in names if any(_inside(name, block) for block in there[-count:])]


def refuse_more_layers(model: nn.Module, asked: int, there: int) -> None:
    """Raises CheckpointError where `method.layers` asks for more layers than there are."""
    if asked > there:
        raise CheckpointError(
            f"{type(plain_model(model)).__name__} has {there} layers, and method.layers asks for {asked}",
            f"set method.layers to {there} at most",
        )


def head_modules(model: nn.Module) -> list[str]:
    """Names of the modules that the task put on top of the base model.

    An output layer over the vocabulary is none of them: it comes with the checkpoint.
    """
    core = plain_model(model)
    base = core.base_model_prefix
    inner = (*blocks(core), *_output_layers(core, tied=True))
    head = [
        name
        for name, child in core.named_children()
        if name != base
        and _learns(child)
        and not _is_embedding(child)
        and not any(_inside(part, name) for part in inner)
    ]
    pooler = getattr(getattr(core, base, None), "pooler", None)
    if pooler is not None and _learns(pooler) and not any(kind in type(core).__name__ for kind in _PER_TOKEN):
        head.insert(0, f"{base}.pooler")
    return head


def linears(model: nn.Module) -> list[str]:
    """Names of all linear layers inside the blocks (GPT-2's `Conv1D` is one)."""
    core = plain_model(model)
    return [
        f"{block}.{name}"
        for block in blocks(core)
        for name, module in core.get_submodule(block).named_modules()
        if is_linear(module)
    ]


def is_linear(module: nn.Module) -> bool:
    """Whether a module is a matrix product, under either of the two names that transformers has for it."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, nn.Linear | Conv1D)


def output_width(linear: nn.Module) -> int:
    """Number of outputs of a linear layer."""
    return int(getattr(linear, "out_features", None) or linear.nf)  # type: ignore[arg-type]


def is_norm(module: nn.Module) -> bool:
    """Whether a module is a layer norm or an RMS norm; every architecture has a class of its own."""
    return "norm" in type(module).__name__.lower()


class Outputs(NamedTuple):
    """Names of the linear layers whose output is added to the residual stream."""

    attention: list[str]
    feed_forward: list[str]


def sublayer_outputs(model: nn.Module) -> Outputs:
    """The last linear layer of each block's attentions and of its feed-forward part, of the model's width.

    Raises CheckpointError for mixtures of experts, and for blocks without a feed-forward output.
    """
    core = plain_model(model)
    attention, feed_forward = [], []
    for block in blocks(core):
        inside = _attentions(core.get_submodule(block))
        wide = _wide_linears(core, block)
        attention += [last for name in inside if (last := _last(wide, f"{block}.{name}"))]
        outside = [name for name in wide if not _within(name, [f"{block}.{other}" for other in inside])]
        feed_forward += outside[-1:]
    if len(feed_forward) != len(blocks(core)) or not feed_forward or _is_mixture(core):
        raise CheckpointError(
            f"{type(core).__name__} has no single feed-forward output in each of its blocks",
            "choose `method: lora` or `method: full`, which need none",
        )
    return Outputs(attention, feed_forward)


def trainable(model: nn.Module) -> tuple[int, int]:
    """Number of weights that learn, and of all weights; shared ones count once."""
    sizes = [(weight.numel(), weight.requires_grad) for weight in model.parameters()]
    return sum(size for size, learns in sizes if learns), sum(size for size, _ in sizes)


def held_once(model: nn.Module) -> set[nn.Parameter]:
    """The weights that one module alone holds: tied ones are not among them."""
    holders: Counter[nn.Parameter] = Counter()
    for module in model.modules():
        holders.update(module.parameters(recurse=False))
    return {weight for weight, count in holders.items() if count == 1}


def _inside(name: str, module: str) -> bool:
    return name == module or name.startswith(module + ".")


def _within(name: str, modules: Iterable[str]) -> bool:
    return any(_inside(name, module) for module in modules)


def _learns(module: nn.Module) -> bool:
    return any(True for _ in module.parameters())


def _is_embedding(module: nn.Module) -> bool:
    from torch import nn

    return isinstance(module, nn.Embedding)


def counts_layers(setting: str) -> bool:
    """Whether a config's setting of this name says how many layers there are."""
    return setting.endswith("layers") or setting == "n_layer"


def _fewest(core: PreTrainedModel) -> int:
    """Blocks of a stack, or more. A list of one is a stack where the config says so, and else anything."""
    told = vars(core.config)
    one = any(type(n) is int and n == 1 for name, n in told.items() if counts_layers(name))
    return 1 if one and "num_hidden_groups" not in told else 2  # layers in groups share their weights


def _block_lists(core: PreTrainedModel, at_least: int) -> list[str]:
    from torch import nn

    found: list[str] = []
    for name, module in core.named_modules():
        if not isinstance(module, nn.ModuleList) or _within(name, found):
            continue
        if len(module) >= at_least and len({type(block) for block in module}) == 1 and _learns(module):
            found.append(name)
    return found


def _final_norms(core: PreTrainedModel, stack: str) -> list[str]:
    """Norms that follow a stack in its parent; past an embedding they are that one's (DeBERTa)."""
    parent, _, own = stack.rpartition(".")
    siblings = list(core.get_submodule(parent).named_children())
    place = [name for name, _ in siblings].index(own)
    after = takewhile(lambda sibling: not _is_embedding(sibling[1]), siblings[place + 1 :])
    return [f"{parent}.{name}".lstrip(".") for name, module in after if is_norm(module) and "embed" not in name]


def _output_layers(core: PreTrainedModel, tied: bool = False) -> list[str]:
    """Names of top-level modules over the vocabulary; with `tied`, also those that share the embeddings."""
    output = core.get_output_embeddings()  # type: ignore[no-untyped-call]
    embeddings = core.get_input_embeddings()
    if output is None or (not tied and output.weight is embeddings.weight):
        return []
    return [name for name, child in core.named_children() if any(output is inner for inner in child.modules())]


def _attentions(block: nn.Module) -> list[str]:
    """The outermost attention modules of a block, by class name, relative to it."""
    found: list[str] = []
    for name, module in block.named_modules():
        if name and "attention" in type(module).__name__.lower() and not _within(name, found):
            found.append(name)
    return found


def _wide_linears(core: PreTrainedModel, block: str) -> list[str]:
    """Linear layers of a block, as registered, whose output is as wide as the residual stream."""
    width = core.config.hidden_size
    return [
        f"{block}.{name}"
        for name, module in core.get_submodule(block).named_modules()
        if is_linear(module) and output_width(module) == width
    ]


def _last(names: list[str], module: str) -> str | None:
    return next((name for name in reversed(names) if _inside(name, module)), None)


def _is_mixture(core: PreTrainedModel) -> bool:
    settings = core.config.to_dict()
    counts = [n for name, n in settings.items() if re.fullmatch(r"n(um)?_\w*experts", name)]
    return any(isinstance(n, int) and n > 1 for n in counts)
