import pytest

from bridge.mapping.expand import Item, bindings, fill, fill_text, items, variables
from bridge.mapping.schema import CountRule

ZONES = {"Front": {"key": "front", "number": 1}, "Back": {"key": "back", "number": 2}}
FRONT = {"zone": Item("Front", ZONES["Front"])}


def test_count_gives_indices_and_the_numbers_shown() -> None:
    assert items(CountRule(count=2, start=1)) == [Item("1", {"index": 0}), Item("2", {"index": 1})]


def test_list_gives_names_without_attributes() -> None:
    assert items(["a", "b"]) == [Item("a", {}), Item("b", {})]


def test_variables_are_found_once_and_in_order() -> None:
    assert variables("<zone>/<term.key>/<zone.key>") == ["zone", "term"]


def test_every_combination_is_bound() -> None:
    bound = list(bindings("<zone>/<term>", {"zone": ZONES, "term": ["Kp", "Ki"]}))
    assert [(one["zone"].name, one["term"].name) for one in bound] == [
        ("Front", "Kp"),
        ("Front", "Ki"),
        ("Back", "Kp"),
        ("Back", "Ki"),
    ]


def test_name_without_variables_is_bound_once_to_nothing() -> None:
    assert list(bindings("Pressure", {"zone": ZONES})) == [{}]


def test_unknown_variable_is_named() -> None:
    with pytest.raises(KeyError, match="zoen"):
        list(bindings("<zoen>", {"zone": ZONES}))


def test_text_is_filled_with_names_and_attributes() -> None:
    assert fill_text("<zone> is <zone.key> (<zone.number>)", FRONT) == "Front is front (1)"


def test_unknown_attribute_is_named() -> None:
    with pytest.raises(KeyError, match=r"<zone\.kee>"):
        fill_text("<zone.kee>", FRONT)


def test_fill_reaches_keys_values_and_lists() -> None:
    assert fill({"<zone>": ["<zone.key>", 5, None, {"a": "<zone>"}]}, FRONT) == {
        "Front": ["front", 5, None, {"a": "Front"}]
    }


def test_typed_attribute_keeps_its_type() -> None:
    filled = fill({"index": "$zone.number", "text": "<zone.number>"}, FRONT)
    assert filled == {"index": 1, "text": "1"}
    assert isinstance(filled["index"], int)


def test_unknown_typed_attribute_is_named() -> None:
    with pytest.raises(KeyError, match=r"\$zone\.kee"):
        fill("$zone.kee", FRONT)


def test_placeholder_of_a_command_stays() -> None:
    assert fill({"kp": "$Kp", "value": "$value", "other": "$other.x"}, FRONT) == {
        "kp": "$Kp",
        "value": "$value",
        "other": "$other.x",
    }
