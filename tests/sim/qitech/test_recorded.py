"""The simulated panel answers as the vendor's own 2.17.0 server did."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from bridge.sim.clock import VirtualClock
from bridge.sim.qitech import Panel
from tests.sim.qitech.client import connected, until
from tests.sim.qitech.recorded import MACHINES, event, recording, rest_recordings, shape

PLAIN = rest_recordings("error_", "v1_", "v2_", "cors_", "metrics_", "machine_list", "engineio_error", "engineio_open")
SKIPPED = {
    "machine_list_partial_at_start": "an instant of the start; see test_lifecycle",
    "v1_mutate_body_over_2_MiB": "its body is not recorded; see test_body_above_two_mebibytes",
    "engineio_open_websocket": "an upgrade",
    "v1_mutate_array_body": "serde's reading of structs from arrays; 422 either way",
}


@pytest.fixture
async def panel() -> AsyncIterator[Panel]:
    async with Panel(MACHINES) as panel:
        yield panel


def _body(request_body: Any) -> bytes | None:
    if request_body is None:
        return None
    return request_body.encode() if isinstance(request_body, str) else json.dumps(request_body).encode()


@pytest.mark.parametrize("name", [name for name in PLAIN if name not in SKIPPED])
async def test_answer_is_as_recorded(panel: Panel, name: str) -> None:
    expected = recording(name)
    method, path = expected["request"].split()
    headers = dict(expected.get("request_headers") or {})
    async with (
        aiohttp.ClientSession(skip_auto_headers=["Content-Type"]) as session,
        session.request(method, panel.url + path, data=_body(expected.get("request_body")), headers=headers) as answer,
    ):
        text = await answer.text()
    assert answer.status == expected["status"]
    assert answer.headers.get("Content-Type") == expected["headers"].get("content-type")
    if "allow_header" in expected:
        assert answer.headers["Allow"] == expected["allow_header"]
    _compare(text, expected["body"])


def _compare(text: str, body: Any) -> None:
    if not isinstance(body, str):
        assert shape(json.loads(text)) == shape(body)
        if "error" in (body or {}) or "error_not_found" in (body or {}):
            assert json.loads(text) == body
    elif body.startswith("0{"):
        assert shape(json.loads(text[1:])) == shape(json.loads(body[1:]))
    elif body.startswith("Failed to parse"):
        # serde's place and word for a syntax error are its own; what must be told is that it is one
        assert text.startswith("Failed to parse the request body as JSON: ")
    elif body.startswith("Failed to deserialize"):
        assert text.split(" at line ")[0] == body.split(" at line ")[0]
    else:
        assert text == body


async def test_body_above_two_mebibytes_is_refused(panel: Panel) -> None:
    expected = recording("v1_mutate_body_over_2_MiB")
    data = io.BytesIO(b'{"a":"' + b"x" * (2 * 1024 * 1024) + b'"}')
    headers = {"Content-Type": "application/json"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{panel.url}/api/v1/machine/mutate", data=data, headers=headers) as answer,
    ):
        assert (answer.status, await answer.text()) == (expected["status"], expected["body"])


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("machine_get_mock", "mock/57922"),
        ("machine_get_extruder_v1", "extruder_v1/57922"),
        ("machine_get_wago_power_v1", "wago_power_v1/48879"),
        ("machine_get_wago_power_v1_before_first_read", "wago_power_v1/48879"),
    ],
)
async def test_machine_has_the_recorded_fields(panel: Panel, name: str, path: str) -> None:
    if "before" not in name:
        await until(lambda: panel.machine("wago_power_v1", 48879).uptime > 0.1)
    async with aiohttp.ClientSession() as session, session.get(f"{panel.url}/api/v2/machine/{path}") as answer:
        got = await answer.json()
    assert shape(got) == shape(recording(name)["body"])


async def test_winder_has_the_recorded_fields_but_an_unknown_position(panel: Panel) -> None:
    url = f"{panel.url}/api/v2/machine/winder_v1/57922"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        got = await answer.json()
    expected = shape(recording("machine_get_winder_v1")["body"])
    expected["live_values"]["traverse_position"] = "NoneType"  # the vendor's mock claims 0.0 without homing
    assert shape(got) == expected


@pytest.mark.parametrize(
    ("name", "namespace", "state", "live"),
    [
        ("socketio_machine_mock", "/machine/1/7/57922", "StateEvent", "LiveValuesEvent"),
        ("socketio_machine_extruder_v1", "/machine/1/4/57922", "StateEvent", "LiveValuesEvent"),
        ("socketio_machine_wago_power_v1", "/machine/1/10/48879", "State", "LiveValues"),
    ],
)
async def test_events_have_the_recorded_keys_in_order(
    panel: Panel, name: str, namespace: str, state: str, live: str
) -> None:
    await until(lambda: panel.machine("wago_power_v1", 48879).uptime > 0.1)
    async with connected(panel, namespace) as client:
        for event_name in (state, live):
            got = await client.event(event_name)
            assert json.dumps(shape(got["data"])) == json.dumps(shape(event(name, event_name)))
            assert list(got) == ["name", "data", "ts"]


@pytest.mark.parametrize(
    "name",
    [
        "socketio_connect_root",
        "socketio_connect_unknown_namespace",
        "socketio_connect_no_leading_slash",
        "socketio_connect_machine_too_short",
        "socketio_connect_machine_too_long",
    ],
)
async def test_unregistered_namespace_is_refused_as_recorded(panel: Panel, name: str) -> None:
    content = recording(name)["body"]["frames"]
    namespace = next(frame["decoded"]["nsp"] for frame in content if frame["dir"] == "out" and "decoded" in frame)
    refusal = next(frame["decoded"] for frame in content if frame["dir"] == "in" and "decoded" in frame)
    async with connected(panel) as client:
        assert await client.connect(namespace) == refusal


@pytest.mark.parametrize("number", ["not_existing", "not_numeric", "serial_too_big"])
async def test_namespace_of_no_machine_connects_and_stays_silent(panel: Panel, number: str) -> None:
    content = recording(f"socketio_connect_machine_{number}")["body"]["frames"]
    namespace = next(frame["decoded"]["nsp"] for frame in content if frame["dir"] == "out" and "decoded" in frame)
    async with connected(panel, namespace, "/machine/1/7/57922") as client:
        await until(lambda: client.names().count("LiveValuesEvent") >= 3)
    assert {packet["type"] for packet in client.packets if packet["nsp"] == namespace} == {0}


async def test_leading_zero_is_another_name_of_the_machine(panel: Panel) -> None:
    async with connected(panel, "/machine/01/4/57922") as client:
        await client.event("LiveValuesEvent")


async def test_joining_twice_doubles_every_event() -> None:
    namespace, clock = "/machine/1/7/57922", VirtualClock(speed=0)
    async with Panel(MACHINES, clock=clock) as panel, connected(panel, namespace, namespace) as client:
        after = 4
        while len(client.packets) < after + 8:
            clock.advance(0.001)
            await asyncio.sleep(0.001)
    stamps = [packet["data"][1]["ts"] for packet in client.packets[after : after + 8]]
    assert max(stamps.count(stamp) for stamp in stamps) == 2


@pytest.mark.parametrize("what", ["garbage", "json", "event before connect", "leave without join"])
async def test_what_is_no_proper_packet_ends_the_connection_without_close_frame(panel: Panel, what: str) -> None:
    async with connected(panel) as client:
        if what == "garbage":
            await client.socket.send_bytes(b"\xc1\xff")
        elif what == "json":
            await client.socket.send_str("40/main,")
        else:
            await client.send(2 if what == "event before connect" else 1, "/main", data=["event", {}])
        await asyncio.wait_for(client.closed.wait(), 30)
        assert client.socket.close_code == 1006
