import pytest

from bridge.mapping.select import MISSING, Path, getter, parse_path

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
    ],
)
def test_path_is_read(text: str, path: Path) -> None:
    assert parse_path(text) == path


@pytest.mark.parametrize("text", ["", ".a", "a..b", "a.", "a[-1]", "a[x]", "a['x", "a b", "[0].a", "a.é", "a.0"])
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


def test_null_is_not_missing() -> None:
    assert getter(("a",))({"a": None}) is None


def test_missing_is_false_and_names_itself() -> None:
    assert not MISSING
    assert repr(MISSING) == "MISSING"


def test_path_is_written_as_it_was_read() -> None:
    assert str(parse_path("state.a[3].b")) == "state.a[3].b"
