"""Commands through the admin API: what a person decides about one, whatever its id, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from pydantic import SecretStr

from bridge.model.command import Command, Door, Outcome, Result, Role
from bridge.model.status import StatusCode
from bridge.northbound.status.api import AdminApi
from bridge.northbound.status.guard import Guard
from bridge.ports import FoundWaiting
from bridge.transport.clock import SystemClock
from tests.northbound.status.test_status import BEARER, TOKEN, FakeOperations
from tests.one_of_everything import filled_table

IDS = ("uns:-:4711", "uns:-:order/4711", "uns:my%20client:a b", "uns:-:50 %?#", "uns:-:x/retry")
DONE = Outcome(Result.CONFIRMED, StatusCode.Good, "The machine reads back what was asked")


class Desk(FakeOperations):
    """What was asked of it; knows the commands in IDS."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, ...]] = []
        self.submitted: list[Command] = []
        self.kept: list[dict[str, Any]] = []
        self.waiting: list[FoundWaiting] = []
        self.decided: list[tuple[str, ...]] = []

    async def commands(self, limit: int, machine: str, dead: bool) -> Sequence[Mapping[str, Any]]:
        return [{"limit": limit, "machine": machine, "dead": dead}]

    async def command(self, identifier: str) -> Mapping[str, Any] | None:
        return {"id": identifier} if identifier in IDS else None

    async def retry(self, identifier: str, requester: str, role: Role) -> Outcome:
        self._note("retry", identifier)
        return DONE

    async def discard(self, identifier: str, requester: str, reason: str) -> None:
        self._note("discard", identifier, reason)

    async def certificates(self) -> Sequence[Mapping[str, Any]]:
        return self.kept

    async def trust(self, thumbprint: str, by: str) -> None:
        self._decide("trust", thumbprint, by)

    async def distrust(self, thumbprint: str, by: str) -> None:
        self._decide("distrust", thumbprint, by)

    def found(self) -> Sequence[FoundWaiting]:
        return self.waiting

    async def adopt(self, source: str, key: str, by: str) -> str:
        if (source, key) != ("panel", "1/7/9"):
            raise KeyError(key)
        self.decided.append(("adopt", source, key, by))
        return "panel-mock-9"

    def _decide(self, what: str, thumbprint: str, by: str) -> None:
        if len(thumbprint) < 40:
            raise KeyError(thumbprint)
        self.decided.append((what, thumbprint, by))

    def _note(self, *asked: str) -> None:
        if asked[1] not in IDS:
            raise KeyError(asked[1])
        self.asked.append(asked)

    def submit(self, command: Command) -> Any:
        self.submitted.append(command)
        return self

    @property
    def result(self) -> asyncio.Future[Outcome]:
        future = asyncio.get_running_loop().create_future()
        future.set_result(DONE)
        return future


class Client:
    def __init__(self, desk: Desk, *, takes_commands: bool = True) -> None:
        stopping = asyncio.get_running_loop().create_future()
        submit = desk.submit if takes_commands else None
        api = AdminApi(filled_table()[0], desk, SystemClock(), Guard(SecretStr(TOKEN), "127.0.0.1"), stopping, submit)
        self._transport = httpx.ASGITransport(api.application())

    async def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        async with httpx.AsyncClient(transport=self._transport, base_url="http://127.0.0.1") as client:
            return await client.request(method, f"/api/v1/commands{path}", headers=BEARER, json=body)


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
async def client(desk: Desk) -> Client:
    return Client(desk)


@pytest.mark.parametrize("identifier", IDS)
async def test_a_command_is_found_and_decided_about_whatever_its_id(
    client: Client, desk: Desk, identifier: str
) -> None:
    path = f"/{quote(identifier, safe='')}"
    assert (await client.ask("GET", path)).json() == {"id": identifier}
    assert (await client.ask("POST", f"{path}/retry", {})).json()["result"] == "confirmed"
    assert (await client.ask("POST", f"{path}/discard", {"reason": "by hand"})).status_code == 200
    assert desk.asked == [("retry", identifier), ("discard", identifier, "by hand")]


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("POST", "/retry"), ("POST", "/discard")])
async def test_a_command_that_is_not_there_is_not_found(client: Client, method: str, path: str) -> None:
    answer = await client.ask(method, f"/uns:nothing{path}", None if method == "GET" else {})
    assert answer.status_code == 404
    assert "/api/v1/commands" in answer.json()["detail"]


async def test_what_is_asked_for_is_listed(client: Client) -> None:
    listed = (await client.ask("GET", "?limit=7&machine=m-1&dead=true")).json()["commands"]
    assert listed == [{"limit": 7, "machine": "m-1", "dead": True}]
    for limit in ("1001", "0", "000001999999999", "9" * 5000, "٣"):
        assert (await client.ask("GET", f"?limit={limit}")).status_code == 400


async def test_a_command_is_an_engineers_with_who_it_says_it_is_for(client: Client, desk: Desk) -> None:
    answer = await client.ask("POST", "", {"target": "m-1.Setpoints.Speed", "value": 3, "user": "anna"})
    assert answer.json()["result"] == "confirmed"
    (command,) = desk.submitted
    assert (command.door, command.role, command.requester, command.user) == (Door.ADMIN, Role.ENGINEER, "anna", "")
    assert dict(command.arguments) == {"value": 3}


@pytest.mark.parametrize("body", [{}, {"target": ""}, {"target": 1}, {"target": "a", "args": [1]}, [1]])
async def test_what_is_no_command_is_refused(client: Client, desk: Desk, body: Any) -> None:
    assert (await client.ask("POST", "", body)).status_code == 400
    assert desk.submitted == []


async def test_a_bridge_that_only_shows_its_faults_takes_no_commands(desk: Desk) -> None:
    assert (await Client(desk, takes_commands=False).ask("POST", "", {"target": "a", "value": 1})).status_code == 503
