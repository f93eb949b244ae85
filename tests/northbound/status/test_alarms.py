"""Alarms through the admin API and the CLI."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from pydantic import SecretStr

from bridge.cli.admin import AdminClient
from bridge.cli.alarms import command
from bridge.model.alarm import AlarmCondition, AlarmKind
from bridge.northbound.status.api import AdminApi
from bridge.northbound.status.guard import Guard
from bridge.transport.clock import SystemClock
from tests.northbound.status.test_status import BEARER, NOW, TOKEN, FakeOperations
from tests.one_of_everything import filled_table

ID = "extruder-1.Monitoring.Pressure.Alarm"
ALARM = AlarmCondition(
    ID, AlarmKind.LIMIT, "extruder-1", "Melt pressure", "extruder-1.Monitoring.Pressure", True, "High", False, 500,
    NOW, "Melt pressure: too high", "alarm:1", "alarm:1", {"high": 300.0},
)  # fmt: skip


class Keeper(FakeOperations):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, str, str | None]] = []

    def alarms(self) -> list[AlarmCondition]:
        return [ALARM]

    def acknowledge(self, condition: str, by: str, comment: str | None) -> bool:
        self.seen.append((condition, by, comment))
        return len(self.seen) == 1


async def asked(keeper: Keeper, method: str, path: str, body: Any = None, token: str = TOKEN) -> httpx.Response:
    stopping = asyncio.get_running_loop().create_future()
    api = AdminApi(filled_table()[0], keeper, SystemClock(), Guard(SecretStr(TOKEN), "127.0.0.1"), stopping)  # type: ignore[arg-type]
    transport = httpx.ASGITransport(api.application())
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        headers = BEARER if token == TOKEN else {"Authorization": f"Bearer {token}"}
        return await client.request(method, f"/api/v1/alarms{path}", headers=headers, json=body)


async def test_what_is_wrong_is_listed() -> None:
    [found] = (await asked(Keeper(), "GET", "")).json()["alarms"]
    assert (found["id"], found["level"], found["severity"], found["acked"]) == (ID, "High", 500, False)
    assert found["limits"] == {"high": 300.0}


async def test_an_alarm_is_acknowledged_once() -> None:
    keeper = Keeper()
    said = {"comment": "on my way", "user": "K. Meier"}
    assert (await asked(keeper, "POST", f"/{ID}/acknowledge", said)).json() == {"acknowledged": ID}
    assert (await asked(keeper, "POST", f"/{ID}/acknowledge", {})).status_code == 409
    assert keeper.seen == [(ID, "K. Meier", "on my way"), (ID, "admin", None)]


@pytest.mark.parametrize(
    ("path", "body", "status"), [("/x/acknowledge", {}, 404), (f"/{ID}/acknowledge", {"comment": 1}, 400)]
)
async def test_what_makes_no_sense_is_refused(path: str, body: Any, status: int) -> None:
    keeper = Keeper()
    assert (await asked(keeper, "POST", path, body)).status_code == status
    assert keeper.seen == []


async def test_without_the_token_nothing_is_acknowledged() -> None:
    keeper = Keeper()
    assert (await asked(keeper, "POST", f"/{ID}/acknowledge", {}, token="wrong")).status_code == 401
    assert keeper.seen == []


def test_the_command_line_says_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sent = []

    async def get(self: AdminClient, path: str, query: Any) -> dict[str, Any]:
        from bridge.northbound.status.alarms import alarm_payload

        return {"alarms": [alarm_payload(ALARM)]}

    async def post(self: AdminClient, path: str, body: Any) -> dict[str, Any]:
        sent.append((path, body))
        return {}

    monkeypatch.setattr(AdminClient, "get", get)
    monkeypatch.setattr(AdminClient, "post", post)
    access = ["--url", "http://127.0.0.1:1", "--token", "t"]
    listed = CliRunner().invoke(command, ["list", *access]).output
    assert "High     extruder-1: Melt pressure: too high  NOT ACKNOWLEDGED" in listed
    assert json.loads(CliRunner().invoke(command, ["list", *access, "--json"]).output)["id"] == ID
    answer = CliRunner().invoke(command, ["acknowledge", *access, ID, "--comment", "seen"])
    assert (answer.exit_code, answer.output) == (0, f"{ID} is acknowledged.\n")
    assert sent == [(f"/api/v1/alarms/{ID}/acknowledge", {"user": "", "comment": "seen"})]
