"""Names and ids of tags that appear with the data: whatever vendors say, no two clash, and they stay."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.mapping.names import Names, filled, texts_of
from bridge.model.path import SEGMENT, escaped, spelled

WORDS = st.one_of(
    st.sampled_from(["temp", "Temp", "temp/max", "temp-max", "a/b", "a", "Öl °C", "", "/", "…"]), st.text(max_size=90)
)
KEYS = st.tuples(st.sampled_from(["u-1", "u-2", "u-3"]), st.text(min_size=1, max_size=5))
ROWS = st.dictionaries(KEYS, st.tuples(WORDS, WORDS), max_size=12)
PATTERNS = st.sampled_from(["Monitoring/<d>/<m>", "Monitoring/<d>/Values/<m>", "Status/<d>/x<m>/State"])


def placed(
    names: Names, pattern: str, rows: dict[tuple[str, str], tuple[str, str]]
) -> dict[tuple[str, str], tuple[str, ...]]:
    found = {}
    for key, said in rows.items():
        texts = names.place(pattern, key, texts_of(said), lambda name: (name, f"{name}Text"))
        assert texts is not None
        found[key] = texts
    return found


@settings(max_examples=200)
@given(PATTERNS, ROWS, st.sets(st.sampled_from(["Monitoring/temp", "Monitoring/a/b", "Status/A/xa"])))
def test_names_are_sound_and_do_not_clash(
    pattern: str, rows: dict[tuple[str, str], tuple[str, str]], taken: set[str]
) -> None:
    found = placed(Names(taken), pattern, rows)
    names = [filled(pattern, texts) for texts in found.values()]
    every = [name.lower() for one in names for name in (one, f"{one}Text")] + [name.lower() for name in taken]
    assert all(SEGMENT.match(level) for name in names for level in name.split("/"))
    assert len(set(every)) == len(every)
    assert not {name for name in every for other in every if other.startswith(f"{name}/")}
    folders: dict[str, set[str]] = {}
    for (device, _), texts in found.items():
        folders.setdefault(texts[0].lower(), set()).add(device)
    assert all(len(devices) == 1 for devices in folders.values())


@given(PATTERNS, ROWS)
def test_what_was_placed_is_placed_so_again(pattern: str, rows: dict[tuple[str, str], tuple[str, str]]) -> None:
    found = placed(Names(()), pattern, rows)
    again = Names(())
    for key, texts in found.items():
        assert again.place(pattern, key, texts, lambda name: (name, f"{name}Text")) == texts


@given(st.text(), st.text())
def test_ids_are_told_apart(one: str, other: str) -> None:
    assert (escaped(one) == escaped(other)) is (one == other)
    assert "." not in escaped(one) and len(escaped(one)) <= 64


@given(st.text())
def test_what_is_spelled_is_a_segment(text: str) -> None:
    assert SEGMENT.match(spelled(text))


def test_a_person_still_reads_it() -> None:
    assert spelled("Öl-Druck [bar] 10 µm") == "Oel-Druck-bar-10-um"
    assert texts_of(["Linie 1/Presse", "a//b"]) == ("Linie-1/Presse", "a/b")
