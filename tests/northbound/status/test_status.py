from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from pydantic import SecretStr, ValidationError

from bridge.errors import AddressTaken, NotDeclared, NotRecordable
from bridge.hub.slots import Slots
from bridge.hub.table import Table
from bridge.model.alarm import AlarmCondition
from bridge.model.event import Event
from bridge.model.plant import Plant
from bridge.model.status import StatusCode
from bridge.model.tag import Tag
from bridge.model.value import DataValue
from bridge.northbound.status import body as body_module
from bridge.northbound.status import connection as connection_module
from bridge.northbound.status import stream as stream_module
from bridge.northbound.status.api import AdminApi
from bridge.northbound.status.config import StatusConfig
from bridge.northbound.status.exposition import exposition
from bridge.northbound.status.filter import TagFilter
from bridge.northbound.status.guard import Guard
from bridge.northbound.status.server import StatusServer
from bridge.ports import FaceHealth, Health, RecordingWish, SourceHealth
from bridge.transport.clock import SystemClock
from tests.one_of_everything import NOW, NoEvents, filled_table, machine, plant

TOKEN = "t0ken-of-the-admin"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
HEALTH = Health(
    live=True,
    ready=False,
    why_not_ready=("panel: connection refused",),
    version="0.1.0",
    started=NOW,
    configuration="abc",
    sources=(SourceHealth("panel", "qitech", "Lost", 'it said "no"', NOW, "Is it on?", NOW, 3),),
    faces=(FaceHealth("opcua", True),),
    metrics={"updates_total": 12, 'polls_total{source="panel"}': 3.5, "odd name": 1},
)


class FakeOperations:
    def __init__(self) -> None:
        self.current = HEALTH
        self.reload_faults: list[str] = []
        self.conditions: list[AlarmCondition] = []

    def health(self) -> Health:
        return self.current

    def addresses(self, tag: Tag) -> dict[str, str]:
        return {"opcua": f"ns=2;s={tag.id}"}

    async def events(self, limit: int) -> Sequence[Event]:
        return [Event(f"e{number}", "SourceLost", NOW, "gone") for number in range(min(limit, 3))]

    async def reload(self) -> Sequence[str]:
        return self.reload_faults

    def plc_source(self, machine: str, dialect: str, commands: Sequence[str]) -> str:
        if machine != "extruder-1":
            raise NotDeclared(f'there is no machine "{machine}"')
        return f"// {machine} {dialect} {', '.join(commands)}"

    async def document(self, kind: str, connection: str) -> str:
        if kind != "ignition":
            raise NotDeclared(f'there is no document "{kind}"')
        return f"{kind} of {connection}"

    def record(self, wish: RecordingWish) -> AsyncGenerator[bytes, None]:
        if "none" in wish.sources:
            raise NotRecordable("there is no source 'none'")
        return self._lines(wish)

    async def _lines(self, wish: RecordingWish) -> AsyncGenerator[bytes, None]:
        yield f"{wish}\n".encode()
        yield b"{}\n"

    def alarms(self) -> Sequence[AlarmCondition]:
        return self.conditions

    def explain(self, tag: Tag) -> dict[str, Any]:
        return {"rule": ("a", 1), "at": NOW, "status": StatusCode.Good, "odd": object}


class Asker:
    def __init__(self, table: Table, operations: FakeOperations, host: str = "127.0.0.1") -> None:
        loop = asyncio.get_running_loop()
        guard = Guard(SecretStr(TOKEN), host)
        api = AdminApi(table, operations, SystemClock(), guard, loop.create_future())
        self.transport = httpx.ASGITransport(api.application(), raise_app_exceptions=False)

    async def __call__(self, path: str, method: str = "GET", **headers: str | bytes) -> httpx.Response:
        async with httpx.AsyncClient(transport=self.transport, base_url="http://127.0.0.1:8080") as client:
            merged = {**BEARER, **headers}
            raw = {name.encode(): v if isinstance(v, bytes) else v.encode() for name, v in merged.items()}
            return await client.request(method, path, headers=raw)


@pytest.fixture
def table() -> Table:
    return filled_table()[0]


@pytest.fixture
def operations() -> FakeOperations:
    return FakeOperations()


@pytest.fixture
async def ask(table: Table, operations: FakeOperations) -> Asker:
    return Asker(table, operations)


async def test_liveness_and_readiness_need_no_token_and_say_why_not(ask: Asker, operations: FakeOperations) -> None:
    assert (await ask("/healthz", Authorization="")).json() == {"live": True, "version": "0.1.0"}
    answer = await ask("/readyz", Authorization="")
    assert (answer.status_code, answer.json()["why_not_ready"]) == (503, ["panel: connection refused"])
    operations.current = replace(HEALTH, live=False, ready=True, why_not_ready=())
    assert (await ask("/healthz")).status_code == 503
    assert (await ask("/readyz")).status_code == 200


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer ü"]
)
@pytest.mark.parametrize("path", ["health", "tags", "tags/extruder-1.Status.Homed", "stream", "record", "events"])
async def test_everything_under_api_needs_the_token(ask: Asker, path: str, given: str) -> None:
    answer = await ask(f"/api/v1/{path}", Authorization=given.encode())
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json() == {"error": "unauthorized", "detail": "the admin token is missing or wrong"}


async def test_reload_needs_the_token(ask: Asker) -> None:
    assert (await ask("/api/v1/reload", "POST", Authorization="")).status_code == 401


def test_empty_token_is_no_token() -> None:
    with pytest.raises(ValueError, match="empty"):
        Guard(SecretStr(""), "127.0.0.1")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:99", "127.0.0.1", "127.1.2.3:8080", "[::1]:8080"])
async def test_host_on_loopback_is_served(ask: Asker, host: str) -> None:
    assert (await ask("/healthz", Host=host)).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "192.168.1.5", "[", "[::2]"]
)
async def test_foreign_host_is_refused_on_every_path(ask: Asker, host: str) -> None:
    for path in ("/healthz", "/readyz", "/metrics", "/api/v1/tags"):
        assert (await ask(path, Host=host)).status_code == 421


async def test_any_host_is_served_when_not_bound_to_loopback(table: Table, operations: FakeOperations) -> None:
    ask = Asker(table, operations, "0.0.0.0")
    assert (await ask("/healthz", Host="bridge.plant.example")).status_code == 200


async def test_no_answer_may_be_read_by_another_origin(ask: Asker) -> None:
    answer = await ask("/healthz", Origin="https://evil.example")
    assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert answer.headers["cache-control"] == "no-store"


async def test_health_tells_sources_and_faces(ask: Asker) -> None:
    body = (await ask("/api/v1/health")).json()
    assert body["sources"][0]["advice"] == "Is it on?"
    assert body["sources"][0]["last_update"] == "2026-03-04T05:06:07.089Z"
    assert body["faces"] == [{"name": "opcua", "running": True, "detail": ""}]


async def test_tags_carry_value_status_unit_range_and_addresses(ask: Asker, table: Table) -> None:
    tags = {tag["id"]: tag for tag in (await ask("/api/v1/tags")).json()["tags"]}
    assert len(tags) == sum(len(one.tags) for one in table.plant.everything())
    pressure = tags["extruder-1.Monitoring.Pressure"]
    assert pressure.pop("age") > 0
    assert pressure == {
        "id": "extruder-1.Monitoring.Pressure",
        "machine": "extruder-1",
        "name": "Monitoring/Pressure",
        "type": "Double",
        "unit": "bar",
        "range": [0, 350],
        "access": "read",
        "value": 12.5,
        "status": "Good",
        "reason": "",
        "since": None,
        "time": "2026-03-04T05:06:07.089Z",
        "addresses": {"opcua": "ns=2;s=extruder-1.Monitoring.Pressure"},
    }
    assert tags["extruder-1.Monitoring.Count"]["value"] == -(2**63)
    assert tags["extruder-1.Monitoring.Changed"]["value"] == "2026-03-03T05:06:07.089Z"
    assert tags["extruder-1.Setpoints.ScrewSpeed"]["access"] == "write"
    mode = tags["extruder-1.Setpoints.Mode"]
    assert (mode["status"], mode["since"]) == ("UncertainLastUsableValue", "2026-03-04T05:06:10.089Z")
    assert tags["winder-2.Monitoring.Plain"]["status"] == "BadWaitingForInitialData"


async def test_more_tags_than_one_portion_are_one_json(
    ask: Asker, monkeypatch: pytest.MonkeyPatch, table: Table
) -> None:
    monkeypatch.setattr("bridge.northbound.status.api.PORTION", 7)
    tags = (await ask("/api/v1/tags")).json()["tags"]
    assert len({tag["id"] for tag in tags}) == len(tags) == sum(len(one.tags) for one in table.plant.everything())


@pytest.mark.parametrize(
    ("glob", "count"),
    [
        ("PRESSURE", 2),
        ("*/Temperature/*", 2),
        ("extruder-1.Status.*", 3),
        ("bridge*", 3),
        ("nothing", 0),
        ("*.Plain", 2),
        ("plain&q=small", 4),
    ],
)
async def test_tags_are_found_by_glob(ask: Asker, glob: str, count: int) -> None:
    answer = await ask(f"/api/v1/tags?q={glob}")
    assert len(answer.json()["tags"]) == count


async def test_too_long_glob_is_refused(ask: Asker) -> None:
    assert (await ask(f"/api/v1/tags?q={'x' * 201}")).status_code == 400


def test_hostile_glob_is_quick() -> None:
    wanted = TagFilter("*a" * 90 + "b")
    [tag] = (tag for tag in machine(Slots()).tags if tag.name == "Monitoring/Pressure")
    assert not wanted(replace(tag, id="a" * 5000))


async def test_one_tag_is_explained(ask: Asker) -> None:
    body = (await ask("/api/v1/tags/extruder-1.Status.Homed")).json()
    assert body["value"] is False
    assert body["explain"] == {"rule": ["a", 1], "at": "2026-03-04T05:06:07.089Z", "status": 0, "odd": str(object)}


async def test_declarations_for_a_plc_are_text(ask: Asker) -> None:
    answer = await ask("/api/v1/machines/extruder-1/plc?dialect=st&command=Standby&command=SetPid/Front")
    assert (answer.status_code, answer.text) == (200, "// extruder-1 st Standby, SetPid/Front")
    assert answer.headers["Content-Type"].startswith("text/plain")


async def test_documents_of_the_plant_are_text(ask: Asker) -> None:
    answer = await ask("/api/v1/docs/ignition?connection=Line1")
    assert (answer.status_code, answer.text) == (200, "ignition of Line1")
    answer = await ask("/api/v1/docs/novel")
    assert (answer.status_code, answer.json()["detail"]) == (404, 'there is no document "novel"')


async def test_declarations_of_what_is_not_there_are_refused_with_words(ask: Asker) -> None:
    answer = await ask("/api/v1/machines/press/plc?dialect=st")
    assert (answer.status_code, answer.json()["detail"]) == (404, 'there is no machine "press"')


@pytest.mark.parametrize(
    ("path", "method", "status", "error"),
    [
        ("/api/v1/tags/no.such", "GET", 404, "not_found"),
        ("/nowhere", "GET", 404, "not_found"),
        ("/api/v1/reload", "GET", 405, "method_not_allowed"),
        ("/api/v1/events?limit=0", "GET", 400, "bad_request"),
        ("/api/v1/events?limit=99999999999", "GET", 400, "bad_request"),
        ("/api/v1/events?limit=x", "GET", 400, "bad_request"),
    ],
)
async def test_errors_are_json(ask: Asker, path: str, method: str, status: int, error: str) -> None:
    answer = await ask(path, method)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.json()["detail"]


async def test_bug_of_ours_shows_no_details(ask: Asker, operations: FakeOperations) -> None:
    def broken() -> Health:
        raise RuntimeError("password=hunter2")

    operations.health = broken  # type: ignore[method-assign]
    answer = await ask("/api/v1/health")
    assert (answer.status_code, answer.json()) == (500, {"error": "internal_server_error", "detail": "RuntimeError"})


async def test_events_are_limited(ask: Asker) -> None:
    body = (await ask("/api/v1/events?limit=2")).json()
    assert [event["id"] for event in body["events"]] == ["e0", "e1"]


async def test_reload_answers_with_the_faults_that_kept_it_from_being_taken(
    ask: Asker, operations: FakeOperations
) -> None:
    assert (await ask("/api/v1/reload", "POST")).json() == {"faults": []}
    operations.reload_faults = ["bridge.yaml:1:1: x"]
    answer = await ask("/api/v1/reload", "POST")
    assert (answer.status_code, answer.json()["faults"]) == (422, ["bridge.yaml:1:1: x"])


async def test_metrics_follow_the_exposition_format(ask: Asker) -> None:
    answer = await ask("/metrics", Authorization="")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = answer.text.splitlines()
    sample = re.compile(r'[a-z_:][a-z0-9_:]*(\{([a-z_]+="([^"\\]|\\.)*",?)*\})? [-+0-9.e]+')
    assert all(
        line.startswith(("# TYPE plantbridge_", "# HELP plantbridge_")) or sample.fullmatch(line) for line in lines
    )
    assert "plantbridge_updates_total 12" in lines
    assert 'plantbridge_polls_total{source="panel"} 3.5' in lines
    assert "# TYPE plantbridge_polls_total counter" in lines
    assert "plantbridge_odd_name 1" in lines
    assert "plantbridge_ready 0" in lines
    assert 'plantbridge_source_reconnects_total{source="panel"} 3' in lines


def test_labels_are_escaped() -> None:
    health = replace(HEALTH, version='1"\\\n', metrics={})
    assert 'version="1\\"\\\\\\n"' in exposition(health)


@asynccontextmanager
async def serving(table: Table, operations: FakeOperations, port: int = 0) -> AsyncIterator[tuple[StatusServer, str]]:
    server = StatusServer(StatusConfig(port=port), SecretStr(TOKEN), SystemClock())
    task = asyncio.create_task(server.run(table, None, operations))  # type: ignore[arg-type]
    try:
        yield server, await server.listening()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_real_socket_answers_and_can_be_served_again(table: Table, operations: FakeOperations) -> None:
    async with serving(table, operations) as (_, url), httpx.AsyncClient() as client:
        assert (await client.get(f"{url}/healthz")).status_code == 200
        port = httpx.URL(url).port
        assert port is not None
    async with serving(table, operations, port) as (_, again), httpx.AsyncClient() as client:
        assert again == url
        assert (await client.get(f"{again}/readyz")).status_code == 503


PIECES = {
    "nothing": b"",
    "half a request": b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n",
    "one and a half": b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /heal",
    "half a body": b"POST /api/v1/login HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\n"
    b"Content-Length: 9\r\n\r\n{",
}


@pytest.mark.parametrize("said", PIECES.values(), ids=PIECES.keys())
async def test_connection_on_which_no_request_comes_gives_up_its_place(
    table: Table, operations: FakeOperations, said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "SILENT_S", 0.05)
    monkeypatch.setattr(body_module, "PATIENCE_S", 0.05)
    async with serving(table, operations) as (_, url):
        reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(url).port)
        writer.write(said)
        heard = await asyncio.wait_for(reader.read(), 30)
        assert (b"408 Request Timeout" in heard) == said.startswith(b"POST")
        writer.close()


async def test_request_that_is_answered_for_long_is_let_be(
    table: Table, operations: FakeOperations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "SILENT_S", 0.02)
    async with (
        serving(table, operations) as (_, url),
        httpx.AsyncClient(headers=BEARER) as client,
        client.stream("GET", f"{url}/api/v1/stream?q=extruder-1.*") as answer,
    ):
        reader = Reader(answer.aiter_lines())
        await reader.until("ready")
        for number in range(3):
            tag = table.plant.find("extruder-1.Monitoring.Plain")
            assert tag
            table.update([(tag.slot, good(float(number)))])
            await reader.until("values")


async def test_browser_that_leaves_in_the_middle_is_nothing_to_log(
    table: Table, operations: FakeOperations, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(table, operations) as (_, url):
        _, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(url).port)
        writer.write(PIECES["half a body"])
        await writer.drain()
        writer.close()
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{url}/healthz")).status_code == 200
    assert caplog.records == []


async def test_taken_port_is_named(table: Table, operations: FakeOperations) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = StatusServer(StatusConfig(port=port), SecretStr(TOKEN), SystemClock())
        with pytest.raises(
            AddressTaken, match=f"the status page cannot listen on 127.0.0.1:{port}: address already in use"
        ):
            await server.run(table, None, operations)  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["203.0.113.1", "no such host", "x" * 64 + ".example"])
async def test_address_that_is_not_ours_is_named(table: Table, operations: FakeOperations, host: str) -> None:
    server = StatusServer(StatusConfig(host=host, port=0, unencrypted=True), SecretStr(TOKEN), SystemClock())
    with pytest.raises(AddressTaken, match=host):
        await server.run(table, None, operations)  # type: ignore[arg-type]


def test_configuration_refuses_unknown_keys() -> None:
    with pytest.raises(ValidationError):
        StatusConfig.model_validate({"prot": 1})


class Reader:
    """A reader of the stream, as a browser would read it."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines

    async def event(self) -> tuple[str, Any]:
        name = ""
        async for line in self._lines:
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                return name, json.loads(line.removeprefix("data: "))
            elif line.startswith(":"):
                return "comment", line
        return "end", None

    async def until(self, wanted: str, accept: Callable[[Any], bool] = lambda _: True) -> list[tuple[str, Any]]:
        seen = []
        while True:
            seen.append(await self.event())
            if seen[-1][0] == wanted and accept(seen[-1][1]):
                return seen


@asynccontextmanager
async def reading(url: str, query: str = "") -> AsyncIterator[Reader]:
    async with (
        httpx.AsyncClient(timeout=30) as client,
        client.stream("GET", f"{url}/api/v1/stream{query}", headers=BEARER) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Reader(answer.aiter_lines())


def good(value: float, at: datetime = NOW) -> DataValue:
    return DataValue(value, StatusCode.Good, at, at)


async def test_stream_gives_the_whole_plant_then_only_what_changes(table: Table, operations: FakeOperations) -> None:
    async with serving(table, operations) as (_, url), reading(url) as reader:
        first = await reader.until("ready")
        assert [machine["id"] for machine in first[0][1]["machines"]] == ["Bridge", "extruder-1", "winder-2"]
        tags = [tag["id"] for name, data in first if name == "tags" for tag in data["tags"]]
        assert len(tags) == len(set(tags)) == sum(len(one.tags) for one in table.plant.everything())
        pressure = table.plant.find("extruder-1.Monitoring.Pressure")
        assert pressure
        table.update([(pressure.slot, good(99.0, NOW + timedelta(seconds=1)))])
        name, data = await reader.event()
        assert (name, list(data)) == ("values", [pressure.id])
        assert (data[pressure.id]["value"], data[pressure.id]["time"]) == (99.0, "2026-03-04T05:06:08.089Z")


async def test_stream_merges_what_changes_faster_than_it_tells(table: Table, operations: FakeOperations) -> None:
    async with serving(table, operations) as (_, url), reading(url, "?q=pressure") as reader:
        await reader.until("ready")
        tag = table.plant.find("extruder-1.Monitoring.Pressure")
        assert tag
        for number in range(100):
            table.update([(tag.slot, good(float(number)))])
            await asyncio.sleep(0.001)
        values = [
            data[tag.id]["value"] for name, data in await reader.until("values", lambda d: d[tag.id]["value"] == 99)
        ]
        assert len(values) <= 3


async def test_stream_shows_only_tags_that_match(table: Table, operations: FakeOperations) -> None:
    async with serving(table, operations) as (_, url), reading(url, "?q=winder*.Plain") as reader:
        first = await reader.until("ready")
        assert [tag["id"] for name, data in first if name == "tags" for tag in data["tags"]] == [
            "winder-2.Monitoring.Plain"
        ]
        other = table.plant.find("extruder-1.Monitoring.Plain")
        mine = table.plant.find("winder-2.Monitoring.Plain")
        assert other
        assert mine
        table.update([(other.slot, good(1.0)), (mine.slot, good(2.0))])
        assert list((await reader.until("values"))[-1][1]) == [mine.id]


async def test_stream_tells_machines_that_come_and_go(operations: FakeOperations) -> None:
    slots = Slots()
    table = Table(plant(slots, machine(slots)), SystemClock(), NoEvents())  # type: ignore[arg-type]
    async with serving(table, operations) as (_, url), reading(url) as reader:
        await reader.until("ready")
        table.replace_plant(Plant(table.plant.bridge, {"late-1": machine(slots, "late-1")}))
        name, data = await reader.event()
        assert (name, data["gone"], [one["id"] for one in data["machines"]]) == (
            "plant",
            ["extruder-1"],
            ["Bridge", "late-1"],
        )
        name, data = await reader.event()
        assert name == "tags"
        assert {tag["machine"] for tag in data["tags"]} == {"late-1"}


async def test_silent_stream_sends_comments(
    table: Table, operations: FakeOperations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "HEARTBEAT_S", 0.02)
    async with serving(table, operations) as (_, url), reading(url) as reader:
        assert (await reader.until("comment"))[-1][1] == ": heart-beat"


async def test_reader_that_leaves_leaves_no_feed_behind(table: Table, operations: FakeOperations) -> None:
    async with serving(table, operations) as (_, url):
        async with reading(url) as reader:
            await reader.until("ready")
            assert table.readers == ("status-stream-1",)
        async with asyncio.timeout(30):
            while table.readers:  # noqa: ASYNC110 - the server has no event for it
                await asyncio.sleep(0.01)


async def test_streams_are_bounded(table: Table, operations: FakeOperations, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.northbound.status.api.MAX_STREAMS", 1)
    async with serving(table, operations) as (_, url), reading(url) as reader, httpx.AsyncClient() as client:
        await reader.until("ready")
        answer = await client.get(f"{url}/api/v1/stream", headers=BEARER)
        assert (answer.status_code, answer.json()["error"]) == (503, "service_unavailable")


async def test_stop_ends_streams_promptly_and_leaves_no_task(
    table: Table, operations: FakeOperations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.northbound.status.server.GOODBYE_S", 300)
    before = asyncio.all_tasks()
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(contextlib.AsyncExitStack())
        _, url = await server.enter_async_context(serving(table, operations))
        reader = await stack.enter_async_context(reading(url))
        await reader.until("ready")
        async with asyncio.timeout(30):
            await server.aclose()
        assert (await reader.until("end"))[-1] == ("end", None)
        assert table.readers == ()
    assert asyncio.all_tasks() == before


async def test_request_that_never_ends_does_not_hold_up_the_stop(table: Table, operations: FakeOperations) -> None:
    async def endless() -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    operations.reload = endless  # type: ignore[method-assign]
    before = asyncio.all_tasks()
    async with contextlib.AsyncExitStack() as server:
        _, url = await server.enter_async_context(serving(table, operations))
        async with httpx.AsyncClient(timeout=30) as client:
            asking = asyncio.create_task(client.post(f"{url}/api/v1/reload", headers=BEARER))
            async with asyncio.timeout(30):
                while len(asyncio.all_tasks() - before) < 3:  # noqa: ASYNC110 - the server has no event for it
                    await asyncio.sleep(0.01)
            await server.aclose()
            with contextlib.suppress(httpx.HTTPError):
                await asking
    assert asyncio.all_tasks() == before


async def test_a_recording_is_streamed_as_it_was_asked_for(ask: Asker) -> None:
    answer = await ask("/api/v1/record?source=panel&machine=m-1&machine=m-2&anonymous=true&keep_hosts=yes")
    wish = RecordingWish(("panel",), ("m-1", "m-2"), keep_hosts=False, anonymous=True)
    assert answer.text.splitlines() == [str(wish), "{}"]
    assert answer.headers["content-type"] == "application/x-ndjson"
    refused = await ask("/api/v1/record?source=none")
    assert (refused.status_code, refused.json()["detail"]) == (404, "there is no source 'none'")
    assert (await ask("/api/v1/record", Authorization="")).status_code == 401
