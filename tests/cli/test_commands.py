"""How the CLI says how a command ended."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from bridge.cli.admin import AdminClient
from bridge.cli.commands import command, told

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


def test_an_id_is_its_callers_and_may_have_any_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def post(self: AdminClient, path: str, body: Any) -> dict[str, Any]:
        asked.append(path)
        return {}

    monkeypatch.setattr(AdminClient, "post", post)
    access = ["--url", "http://127.0.0.1:1", "--token", "t"]
    answer = CliRunner().invoke(command, ["discard", *access, "uns:my%20client:order/4711?"])
    assert (answer.exit_code, asked) == (0, ["/api/v1/commands/uns%3Amy%2520client%3Aorder%2F4711%3F/discard"])
