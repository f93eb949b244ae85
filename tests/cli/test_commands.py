"""How the CLI says how a command ended."""

from __future__ import annotations

import pytest

from bridge.cli.commands import told

ITEM = {"target": "laser-1.Setpoints.Diameter", "value": 1.75, "result": "confirmed", "sentence": "It reads so"}


def test_each_item_of_a_recipe_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    unsent = {**ITEM, "target": "laser-1.Setpoints.LowerTolerance", "result": "unreached", "sentence": "Not sent"}
    outcome = {"result": "refused", "sentence": "No", "status": "BadInvalidState", "items": [ITEM, unsent]}
    assert told(outcome) == 1
    assert capsys.readouterr().err.splitlines() == [
        "refused: No (BadInvalidState)",
        "  laser-1.Setpoints.Diameter = 1.75: confirmed: It reads so",
        "  laser-1.Setpoints.LowerTolerance = 1.75: unreached: Not sent",
    ]


def test_other_commands_have_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert told({"result": "confirmed", "sentence": "Yes", "status": "Good", "items": []}) == 0
    assert capsys.readouterr().out == "confirmed: Yes (Good)\n"
