"""Write commands, replayed from what the vendor's agent was sent and answered."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest

from bridge.sim.iotistica.plant import Agent, Device, Point
from bridge.sim.iotistica.write_commands import WriteCommands
from tests.sim.iotistica.vendor import FOLDER, NOON

CONTENT = json.loads((FOLDER / "commands" / "exchanges.json").read_text())
EXCHANGES = {exchange["name"]: exchange for exchange in CONTENT["exchanges"]}
NOW = NOON.timestamp()
# Sentences that are a library's, not the vendor's.
FREE = {"write_refused_by_device"}


def commands(mode: str = "accept", queue: int = 1000) -> WriteCommands:
    """The agent of the recording."""
    written = ("setpoint", "stuck", "refused")
    points = [Point(name, "float" if name == "setpoint" else "int", writable=True) for name in written]
    first = Device(
        "9d3e4c10-77aa-4a0e-9c2b-5b1e2a3c0001", "1f0c9f5e-0a53-4b51-8f4a-6a0d6f0e0001", "extruder-1", "modbus",
        [Point("barrel_temp"), *points], write_mode=mode,
    )  # fmt: skip
    absent = Device(
        "9d3e4c10-77aa-4a0e-9c2b-5b1e2a3c0003", "1f0c9f5e-0a53-4b51-8f4a-6a0d6f0e0003", "dryer-3", "modbus",
        [Point("screw_speed"), Point("speed_sp", "int", writable=True)], lost=[(0.0, math.inf)],
    )  # fmt: skip
    return WriteCommands(Agent(CONTENT["agent"], "a", [first, absent], datetime.now(UTC), "f"), queue)


def sent(exchange: dict[str, Any]) -> bytes:
    command = exchange["command"]
    if isinstance(command, str):
        if command.endswith("bytes)"):
            return (
                b"x" * 70_000 if command.startswith("xxx") else json.dumps({**base(), "value": "x" * 66_000}).encode()
            )
        return command.encode()
    return json.dumps(command).encode()


def base() -> dict[str, Any]:
    return dict(EXCHANGES["succeeded_number"]["command"])


def moment(exchange: dict[str, Any]) -> float:
    """When the vendor's agent received it."""
    for result in exchange["results"]:
        return datetime.fromisoformat(result["payload"]["receivedAt"]).timestamp()
    command = exchange["command"]
    issued = command.get("issuedAt") if isinstance(command, dict) else base()["issuedAt"]
    return datetime.fromisoformat(issued).timestamp() + 0.01


def answers(taker: WriteCommands, payload: bytes, now: float, retained: bool = False) -> list[dict[str, Any]]:
    at_once = taker.take(payload, retained, now)
    return [*at_once, *taker.due(now), *taker.due(now + 6)]


MODES = {"write_refused_by_device": "reject", "write_timeout_by_driver": "driver-timeout", "write_timeout": "hang"}
SKIPPED = (
    "duplicate", "expired_again", "in_flight", "queue_of", "retained",
    "too_large_valid",  # its answer hangs on an id of its own; below
)  # fmt: skip


@pytest.mark.parametrize("name", [name for name in EXCHANGES if not any(word in name for word in SKIPPED)])
def test_answer_is_the_vendors(name: str) -> None:
    exchange = EXCHANGES[name]
    mine = answers(commands(MODES.get(name, "accept")), sent(exchange), moment(exchange))
    theirs = [result["payload"] for result in exchange["results"]]
    assert len(mine) == len(theirs)
    for ours, vendors in zip(mine, theirs, strict=True):
        for key in ("version", "commandId", "type", "status", "deviceUuid", "pointName", "requestedValue"):
            assert ours.get(key) == vendors.get(key), key
        assert (ours.get("error") or {}).get("code") == (vendors.get("error") or {}).get("code")
        if "error" in vendors and name not in FREE and "not valid JSON" not in vendors["error"]["message"]:
            assert ours["error"]["message"] == vendors["error"]["message"]


def test_payload_too_large_with_a_readable_id_is_answered() -> None:
    (answer,) = answers(commands(), sent(EXCHANGES["payload_too_large_valid_json"]), NOW)
    assert answer["error"]["code"] == "PAYLOAD_TOO_LARGE"
    assert EXCHANGES["payload_too_large_valid_json"]["results"][0]["payload"]["error"]["code"] == "PAYLOAD_TOO_LARGE"


def test_duplicate_gets_the_stored_result_whatever_it_says() -> None:
    exchange, taker = EXCHANGES["succeeded_number"], commands()
    now = moment(exchange)
    (first,) = answers(taker, sent(exchange), now)
    assert answers(taker, json.dumps({**base(), "value": 9}).encode(), now + 1) == [first]
    assert answers(taker, sent(exchange), now + 299) == [first]
    (later,) = answers(taker, sent(exchange), now + 310)
    assert later["status"] == "expired", "it was forgotten, and is too late"


def test_refusal_is_stored_as_well() -> None:
    exchange, taker = EXCHANGES["device_not_connected_writable"], commands()
    now = moment(exchange)
    (first,) = answers(taker, sent(exchange), now)
    taker.agent.devices[1].lost.clear()
    assert answers(taker, sent(exchange), now + 1) == [first]


def test_repeat_in_flight_is_silent() -> None:
    exchange, taker = EXCHANGES["write_timeout"], commands("hang")
    now = moment(exchange)
    assert taker.take(sent(exchange), False, now) == []
    assert taker.due(now) == []
    assert taker.take(sent(exchange), False, now + 1) == []
    (result,) = taker.due(now + 5)
    assert result["error"]["code"] == "WRITE_TIMEOUT"
    assert taker.due(now + 60) == []


def test_retained_command_is_dropped_in_silence() -> None:
    exchange = EXCHANGES["succeeded_number"]
    assert answers(commands(), sent(exchange), moment(exchange), retained=True) == []


def test_queue_that_is_full_refuses_at_once_and_the_rest_is_late() -> None:
    exchange, taker = EXCHANGES["write_timeout"], commands("hang", queue=2)
    now = moment(exchange)
    codes = []
    for number in range(5):
        payload = json.dumps({**exchange["command"], "commandId": f"q{number}"}).encode()
        codes += [result["error"]["code"] for result in taker.take(payload, False, now)]
        taker.due(now)
    assert codes == ["COMMAND_QUEUE_FULL"] * 2
    assert len(EXCHANGES["queue_of_two_is_full"]["results"]) == 3
    late = [result for second in range(1, 40) for result in taker.due(now + second)]
    assert [result["commandId"] for result in late] == ["q0", "q1", "q2"]
    assert late[-1]["error"]["code"] in ("WRITE_TIMEOUT", "COMMAND_EXPIRED")


def test_driver_timeout_was_taken_by_the_device() -> None:
    exchange, taker = EXCHANGES["write_timeout_by_driver"], commands("driver-timeout")
    answers(taker, sent(exchange), moment(exchange))
    point = taker.agent.devices[0].point("stuck")
    assert point is not None
    assert [value for _, value in point.written] == [1]
