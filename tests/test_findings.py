"""What was found, and where: numbers are told with what they count."""

from __future__ import annotations

from ftkit.findings import Finding, Numbering, Place, located


def test_numbers_are_told_with_what_they_count() -> None:
    found = Finding("leak", "warning", "repeats", (Place(2, "train", like=("test", 5)),))
    places = located([found], {"train": Numbering("line"), "test": Numbering("record")})[0].places
    assert (places[0].where, places[0].like_where) == ("train line 2", "test record 5")
    by_file = {"train": Numbering("line", lambda number: f"b.csv, line {number - 1}")}
    (place,) = located([found], by_file)[0].places
    assert (place.where, place.like_where) == ("b.csv, line 1", "test row 5")
    told = located([found], by_file)[0].as_json()
    assert told["examples"][0]["at"] == "b.csv, line 1" and told["units"] == {"train": "line", "test": "row"}
