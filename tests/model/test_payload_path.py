import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.model.payload_path import MISSING, Key, Path, Row, getter, parse_path, placed

PAYLOAD = {"a": {"b": {"c": [10, 20, {"d": None}]}}, "x.y": 1, "": 2, "list": [1, 2, 3], "text": "abc"}


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("state", Path("state", ())),
        ("state.a", Path("state", ("a",))),
        ("state.a.b.c[2].d", Path("state", ("a", "b", "c", 2, "d"))),
        ("state[0]", Path("state", (0,))),
        ("state['x.y'].z", Path("state", ("x.y", "z"))),
        ("state['']", Path("state", ("",))),
        ("live-values.snake_case", Path("live-values", ("snake_case",))),
        ("rows[id=7].v", Path("rows", (Row((("id", 7),)), "v"))),
        ("a.rows[ x = -7.5 , 'y z' = 'it''s, [7]' ]", Path("a", ("rows", Row((("x", -7.5), ("y z", "it's, [7]")))))),
        ("rows[id='7']", Path("rows", (Row((("id", "7"),)),))),
        ("rows[id=007]", Path("rows", (Row((("id", "007"),)),))),
        ("rows[id=9d3e4c10-77aa]", Path("rows", (Row((("id", "9d3e4c10-77aa"),)),))),
        ("rows[at=2026-01-01T00:00:00.5]", Path("rows", (Row((("at", "2026-01-01T00:00:00.5"),)),))),
    ],
)
def test_path_is_read(text: str, path: Path) -> None:
    assert parse_path(text) == path


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".a",
        "a..b",
        "a.",
        "a[-1]",
        "a[x]",
        "a['x",
        "a b",
        "[0].a",
        "a.é",
        "a.0",
        "a[x=]",
        "a[=1]",
        "a[x=1,]",
        "a[x=a b]",
        "a[x=1",
        "[x=1].a",
        "a[x==1]",
        "a[x='b]",
    ],
)
def test_broken_path_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="path"):
        parse_path(text)


def test_refusal_names_the_character_where_it_breaks() -> None:
    with pytest.raises(ValueError, match=r"character 8 on \('\.\.c'\)"):
        parse_path("state.b..c")


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        ((), PAYLOAD),
        (("text",), "abc"),
        (("a", "b"), {"c": [10, 20, {"d": None}]}),
        (("a", "b", "c", 1), 20),
        (("a", "b", "c", 2, "d"), None),
        (("list", 2), 3),
        (("x.y",), 1),
    ],
)
def test_getter_walks(keys: tuple[str | int, ...], value: object) -> None:
    assert getter(keys)(PAYLOAD) == value


@pytest.mark.parametrize(
    "keys", [("no",), ("a", "no"), ("a", "b", "no"), ("list", 3), ("text", "a"), ("list", "a"), ("a", 0, "b", "c")]
)
@pytest.mark.parametrize("payload", [PAYLOAD, None, 5, "text", [], MISSING])
def test_getter_gives_missing_where_nothing_is(keys: tuple[str | int, ...], payload: object) -> None:
    assert getter(keys)(payload) is MISSING


ROWS = [
    "no row",
    {"id": 7},
    {"id": True, "side": "left", "v": 1},
    {"id": 1, "side": "left", "v": 2},
    {"id": 1, "side": "left", "v": 3},
    {"id": "1", "side": "left", "v": 4},
    {"id": 1, "side": "right", "v": None},
]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("rows[id=1].v", 2),  # the first that fits; true is no 1
        ("rows[id=1.0].v", 2),
        ("rows[id='1'].v", 4),
        ("rows[id=1,side=right].v", None),
        ("rows[side=right,id=1].v", None),
        ("rows[id=7]", {"id": 7}),
        ("rows[id=7].v", MISSING),
        ("rows[id=8].v", MISSING),
        ("rows[no=1].v", MISSING),
        ("rows[id=1,side=middle].v", MISSING),
    ],
)
def test_a_row_is_chosen_by_what_it_says(text: str, value: object) -> None:
    keys = parse_path(text).keys
    found = getter(keys)(ROWS)
    assert found is value or (found == value and found is not MISSING)
    assert getter(("deep", *keys))({"deep": ROWS}) is found
    for payload in (None, 5, "text", {}, {"rows": 1}, [], MISSING):
        assert getter(keys)(payload) is MISSING


@pytest.mark.parametrize("written", ["true", "false", "null"])
def test_a_row_is_not_chosen_by_what_is_no_text_and_no_number(written: str) -> None:
    with pytest.raises(ValueError, match=f"character 5: .* {written} is neither"):
        parse_path(f"rows[ok={written}].v")
    assert parse_path(f"rows[ok='{written}']").keys == (Row((("ok", written),)),)


def test_a_field_of_a_row_is_said_once() -> None:
    with pytest.raises(ValueError, match="it says a twice"):
        parse_path("rows[a=1,'a'=2]")


def test_places_of_chosen_rows_are_those_of_the_payload() -> None:
    keys = parse_path("x.rows[id='1'].v").keys
    assert placed(keys, {"rows": ROWS}) == ("rows", 5, "v")
    assert placed(keys, {"rows": []}) == ("rows",)
    assert placed(parse_path("x.a[3].b").keys, None) == ("a", 3, "b")


_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_VALUES = st.one_of(_TEXTS, st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False))
_ROWS = st.dictionaries(_TEXTS, _VALUES, min_size=1, max_size=3).map(lambda fields: Row(tuple(fields.items())))
_NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="'"), max_size=8)


@given(st.lists(st.one_of(_NAMES, st.integers(0, 10**6), _ROWS), max_size=5))
def test_every_path_can_be_written_and_read(keys: list[Key]) -> None:
    path = Path("state", tuple(keys))
    assert parse_path(str(path)) == path


def test_null_is_not_missing() -> None:
    assert getter(("a",))({"a": None}) is None


def test_missing_is_false_and_names_itself() -> None:
    assert not MISSING
    assert repr(MISSING) == "MISSING"


def test_path_is_written_as_it_was_read() -> None:
    assert str(parse_path("state.a[3].b")) == "state.a[3].b"
