import pytest

from bridge.mapping.actions import placeholders, render


def test_placeholders_are_found_at_any_depth() -> None:
    assert list(placeholders({"a": "$Kp", "b": ["$Ki", {"c": "$Kd"}], "d": "no $x here", "e": 5})) == ["Kp", "Ki", "Kd"]


@pytest.mark.parametrize(
    ("template", "payload"),
    [
        ("GotoTraverseHome", "GotoTraverseHome"),
        ({"SetX": "$value"}, {"SetX": 30.5}),
        ({"Stop": {}}, {"Stop": {}}),
        ({"SetY": None}, {"SetY": None}),
        (
            {"action": "SetLed", "value": {"index": 3, "on": "$on"}},
            {"action": "SetLed", "value": {"index": 3, "on": True}},
        ),
        (["$value", "$$value", "x$value"], [30.5, "$$value", "x$value"]),
    ],
)
def test_payload_has_the_typed_arguments(template: object, payload: object) -> None:
    assert render(template, {"value": 30.5, "on": True}) == payload


def test_types_are_not_changed_on_the_way() -> None:
    assert render("$value", {"value": True}) is True
    assert isinstance(render("$value", {"value": 5}), int)


def test_template_is_not_changed() -> None:
    template = {"a": ["$value"]}
    render(template, {"value": 1})
    assert template == {"a": ["$value"]}


def test_missing_argument_is_named() -> None:
    with pytest.raises(KeyError, match="Kp"):
        render({"kp": "$Kp"}, {})
