"""Writes to an agent that answers as Iotistica's own does (facts 1.13; recorded/iotistica/commands)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest

from bridge.errors import LinkLost
from bridge.model.action import Action
from bridge.model.command import Outcome, Result
from bridge.model.status import StatusCode
from bridge.sources.iotistica.mqtt.executor import WriteExecutor
from bridge.sources.iotistica.mqtt.outcomes import CODES, outcome_of
from bridge.sources.iotistica.mqtt.write import NotWritable, Write, command_id, device_of
from bridge.transport.clock import VirtualClock
from bridge.transport.mqtt import Message
from bridge.transport.mqtt_refusals import Refusals
from tests.sources.iotistica import recorded
from tests.sources.iotistica.rig import AGENT, START, Rig, config

DEVICE = "9d3e4c10-77aa-4a0e-9c2b-5b1e2a3c0001"
KEPT = 300.0
"""Seconds for which an agent keeps an answer."""


class Agent:
    """Takes commands as the vendor's code does: ids first, then times; what it has is answered again."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.skew = timedelta()
        self.delay: float | None = 0.0
        """Seconds until an answer; None: it never comes, though what is written is written."""
        self.is_deaf = False
        self.error: dict[str, str] | None = None
        self.written: list[Any] = []
        self.commands: list[dict[str, Any]] = []
        self.kept: dict[str, dict[str, Any] | None] = {}
        self.answer: Callable[[Message], object] = lambda message: None

    def take(self, payload: bytes) -> None:
        told = json.loads(payload)
        self.commands.append(told)
        if self.is_deaf:
            return
        known = self.kept.get(told["commandId"], "new")
        if known == "new":
            known = self.kept[told["commandId"]] = self._done(told)
        if isinstance(known, dict) and self.delay is not None:
            asyncio.get_running_loop().create_task(self._say(known, self.delay))

    def _done(self, told: dict[str, Any]) -> dict[str, Any]:
        now = self.clock.now() + self.skew
        answer = {"version": 1, "commandId": told["commandId"], "type": "device.write.result"}
        expires = datetime.fromisoformat(told["expiresAt"])
        if now > expires:
            error = {"code": "COMMAND_EXPIRED", "message": f"Command expired at {told['expiresAt']}"}
            return {**answer, "status": "expired", "error": error}
        if self.error is not None:
            return {**answer, "status": "failed", "error": self.error}
        self.written.append(told["value"])
        return {**answer, "status": "succeeded", "deviceUuid": told["deviceUuid"], "requestedValue": told["value"]}

    async def _say(self, answer: dict[str, Any], delay: float) -> None:
        await self.clock.sleep(delay)
        self.answer(Message(f"{AGENT}/cmd/result", json.dumps(answer).encode(), 1))


class Wire:
    """As much of a link as an executor uses."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.refusals = Refusals()
        self.refuse = ""
        self.is_lost = False
        self.published: list[Message] = []

    def publish(self, message: Message) -> bool:
        if self.is_lost:
            raise LinkLost("the connection broke")
        self.published.append(message)
        if self.refuse:
            self.refusals.note(message.topic, self.refuse)
        else:
            self.agent.take(message.payload)
        return True


class Bench:
    """An executor and its agent on one clock."""

    def __init__(self, **said: Any) -> None:
        self.clock = VirtualClock(START)
        self.agent = Agent(self.clock)
        self.wire = Wire(self.agent)
        self.rig = Rig()
        told = config(writes=True, **said)
        assert told.mqtt is not None
        self.executor = WriteExecutor(told, told.mqtt, self.clock, self.rig.intake)
        self.agent.answer = self.executor.take

    @contextmanager
    def up(self, unheard: str = "") -> Any:
        with self.executor.connected(self.wire, unheard):  # type: ignore[arg-type]
            yield

    async def ends(self, work: Any, seconds: float = 20.0) -> Outcome:
        """What it gives, however long it takes on the clock."""
        task = asyncio.ensure_future(work)
        await self.clock.advance(seconds)
        await asyncio.sleep(0)
        assert task.done()
        outcome: Outcome = task.result()
        return outcome


def write(value: Any = 4.5, command: str = "uns:1", device: str = DEVICE, point: str = "setpoint") -> Action:
    payload = {"device_write": {"device": device, "point": point, "value": value}}
    return Action("edge", AGENT, payload, command=command)


async def test_a_write_that_the_device_took_is_accepted_and_done_once() -> None:
    bench = Bench()
    with bench.up():
        outcome = await bench.ends(bench.executor.execute(write(), 0))
    assert (outcome.result, outcome.status) == (Result.ACCEPTED, StatusCode.GoodCompletesAsynchronously)
    assert bench.agent.written == [4.5]
    (message,) = bench.wire.published
    assert (message.topic, message.qos, message.retain) == (f"{AGENT}/cmd/write", 1, False)
    told = json.loads(message.payload)
    assert (told["commandId"], told["deviceUuid"], told["pointName"], told["version"]) == (
        "uns:1",
        DEVICE,
        "setpoint",
        1,
    )
    assert told["issuedAt"] == "2026-11-21T22:00:00.000Z"
    assert told["expiresAt"] == "2026-11-21T22:00:10.000Z"


async def test_an_answer_that_is_lost_is_asked_for_and_nothing_is_written_twice() -> None:
    bench = Bench()
    bench.agent.delay = None
    with bench.up():
        task = asyncio.ensure_future(bench.executor.execute(write(), 0))
        await bench.clock.advance(6.5)
        assert not task.done()
        assert [one["commandId"] for one in bench.agent.commands] == ["uns:1", "uns:1"]
        bench.agent.delay = 0.1
        bench.agent.take(json.dumps(bench.agent.commands[-1]).encode())
        outcome = await bench.ends(task)
    assert outcome.result is Result.ACCEPTED
    assert bench.agent.written == [4.5]


async def test_an_agent_that_never_answers_is_unknown_after_eight_seconds() -> None:
    bench = Bench()
    bench.agent.is_deaf = True
    with bench.up():
        task = asyncio.ensure_future(bench.executor.execute(write(), 0))
        await bench.clock.advance(7.9)
        assert not task.done()
        outcome = await bench.ends(task, 0.2)
    assert (outcome.result, outcome.status) == (Result.UNKNOWN, StatusCode.BadTimeout)
    assert "did not answer within 8 s" in outcome.sentence


async def test_the_question_can_never_write_whatever_the_agents_clock_says() -> None:
    """The first message is lost on the way; the agent is minutes behind."""
    bench = Bench()
    bench.agent.is_deaf = True
    bench.agent.skew = timedelta(minutes=-5)
    with bench.up():
        task = asyncio.ensure_future(bench.executor.execute(write(), 0))
        await bench.clock.advance(5.9)
        bench.agent.is_deaf = False
        outcome = await bench.ends(task)
        assert outcome.result is Result.UNKNOWN
        assert "does not know the command" in outcome.sentence
        bench.agent.take(bench.wire.published[0].payload)  # what was lost comes after all: it is known as expired
    assert bench.agent.written == []


async def test_a_clock_that_is_ahead_is_told() -> None:
    bench = Bench()
    bench.agent.skew = timedelta(minutes=1)
    with bench.up():
        outcome = await bench.ends(bench.executor.execute(write(), 0))
    assert (outcome.result, bench.agent.written) == (Result.EXPIRED, [])
    assert "clock" in outcome.sentence


async def test_late_answers_and_answers_to_others_find_nobody() -> None:
    bench = Bench()
    bench.agent.delay = 30.0
    with bench.up():
        outcome = await bench.ends(bench.executor.execute(write(), 0))
        assert outcome.result is Result.UNKNOWN
        await bench.clock.advance(60)
        for payload in (b"\x00", b"[]", b'{"commandId": 7}', b'{"commandId": "of somebody else"}'):
            assert bench.executor.take(Message(f"{AGENT}/cmd/result", payload, 1))
        assert not bench.executor.take(Message("i/x/a/y/state", b"{}", 1))
    assert bench.executor.late == 6


async def test_a_session_that_breaks_ends_the_waiting() -> None:
    bench = Bench()
    bench.agent.is_deaf = True
    with bench.up():
        task = asyncio.ensure_future(bench.executor.execute(write(), 0))
        await bench.clock.advance(1)
    outcome = await bench.ends(task, 1)
    assert outcome.result is Result.UNKNOWN


async def test_what_is_certainly_not_sent_is_unreached() -> None:
    bench = Bench()
    assert (await bench.ends(bench.executor.execute(write(), 0))).result is Result.UNREACHED
    with bench.up("the broker refuses the subscription to +/cmd/result"):
        told = await bench.ends(bench.executor.execute(write(), 0))
        assert (told.result, "could not be heard" in told.sentence) == (Result.UNREACHED, True)
    with bench.up():
        bench.wire.is_lost = True
        assert (await bench.ends(bench.executor.execute(write(), 0))).result is Result.UNREACHED
        bench.wire.is_lost = False
        bench.wire.refuse = "Not authorized"
        told = await bench.ends(bench.executor.execute(write(), 0))
        assert (told.result, "Not authorized" in told.sentence) == (Result.UNREACHED, True)
        bench.rig.take("agent/broker", b"offline")
        told = await bench.ends(bench.executor.execute(write(), 0))
        assert (told.result, "The agent is gone" in told.sentence) == (Result.UNREACHED, True)
    assert bench.agent.written == []


async def test_without_writes_nothing_is_sent() -> None:
    bench = Bench()
    told = config()
    assert told.mqtt is not None
    bench.executor = WriteExecutor(told, told.mqtt, bench.clock, bench.rig.intake)
    with bench.up():
        outcome = await bench.ends(bench.executor.execute(write(), 0))
    assert (outcome.result, outcome.status) == (Result.REJECTED, StatusCode.BadNotWritable)
    assert bench.wire.published == []


@pytest.mark.parametrize(
    ("action", "sentence"),
    [
        (write(float("nan")), "finite"),
        (write(2**53 + 2), "exactly"),
        (write("x" * 4097), "longer than 4096"),
        (write(None), "neither"),
        (write(device=""), "device"),
        (write(point="x" * 257), "point"),
        (Action("edge", AGENT, {"device_write": {"device": "d"}}, command="c"), "is not {device_write"),
        (Action("edge", AGENT, {"other": {}}, command="c"), "is not {device_write"),
        (write(point="other"), "not among what may be written"),
    ],
)
async def test_what_must_not_be_sent_is_not(action: Action, sentence: str) -> None:
    bench = Bench(allow=[f"{DEVICE}/set.*", "d/.*"])
    told = bench.executor.validate(action)
    assert told is not None
    assert sentence in told
    with bench.up():
        outcome = await bench.ends(bench.executor.execute(action, 0))
    assert (outcome.result, bench.wire.published) == (Result.REJECTED, [])


def test_a_device_is_named_as_the_agents_commands_know_it() -> None:
    rig = Rig()
    told = ((DEVICE, "e-1", "press"), ("u-2", "e-2", "x"), ("u-3", "e-2", "y"))
    rows = [{"uuid": uuid, "endpoint_uuid": endpoint, "name": name} for uuid, endpoint, name in told]
    rig.take("state", {AGENT: {"apps": {}, "devices": rows}})
    state = rig.intake.state(AGENT)
    for given, named in ((DEVICE, DEVICE), ("e-1", DEVICE), ("press", DEVICE), ("e-2", "e-2"), ("nobody", "nobody")):
        assert device_of(Write(given, "p", 1), state) == named
    assert device_of(Write("e-1", "p", 1), None) == "e-1"


def test_ids_that_are_too_long_for_an_agent_stay_themselves() -> None:
    assert command_id("uns:1") == "uns:1"
    one, other = command_id("x" * 200), command_id("x" * 201)
    assert len(one) <= 128
    assert one != other
    assert one == command_id("x" * 200)


# -- after a crash


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (None, Result.CONFIRMED),
        ({"code": "NODE_NOT_ALLOWED", "message": "Register not found: x"}, Result.REFUSED),
        ({"code": "WRITE_TIMEOUT", "message": "Write timed out"}, Result.UNKNOWN),
    ],
)
async def test_what_became_of_a_command_is_what_the_agent_has_kept(error: Any, result: Result) -> None:
    bench = Bench()
    bench.agent.error, bench.agent.delay = error, None
    with bench.up():
        bench.agent.take(write_message())
    bench.agent.delay = 0.0
    before = list(bench.agent.written)
    with bench.up():
        assert bench.executor.can_reconcile(write())
        outcome = await bench.ends(bench.executor.reconcile(write()))
    assert outcome.result is result
    assert bench.agent.written == before


def write_message() -> bytes:
    return Write(DEVICE, "setpoint", 4.5).message("uns:1", DEVICE, START, START + timedelta(seconds=10))


async def test_an_agent_that_knows_nothing_of_it_tells_nothing() -> None:
    bench = Bench()
    assert "cannot be found out" in (await bench.ends(bench.executor.reconcile(write()))).sentence
    with bench.up():
        outcome = await bench.ends(bench.executor.reconcile(write()))
        assert (outcome.result, bench.agent.written) == (Result.UNKNOWN, [])
        bench.agent.is_deaf = True
        outcome = await bench.ends(bench.executor.reconcile(write()))
        assert outcome.result is Result.UNKNOWN
    assert not bench.executor.can_reconcile(write(command=""))


# -- what answers mean

VENDORS_CODES = {
    "INVALID_JSON", "INVALID_SCHEMA", "UNSUPPORTED_VERSION", "UNSUPPORTED_COMMAND_TYPE", "COMMAND_EXPIRED",
    "COMMAND_TOO_OLD", "DUPLICATE_COMMAND", "NODE_NOT_ALLOWED", "DEVICE_NOT_CONNECTED", "WRITE_REJECTED",
    "WRITE_TIMEOUT",
    "RETAINED_COMMAND_REJECTED", "PAYLOAD_TOO_LARGE", "COMMAND_QUEUE_FULL", "INTERNAL_ERROR",
}  # fmt: skip


def test_every_code_of_the_agent_has_a_meaning() -> None:
    assert set(CODES) == VENDORS_CODES
    for code, meaning in CODES.items():
        outcome = outcome_of({"status": "failed", "error": {"code": code, "message": "words"}})
        assert (outcome.result, outcome.status) == (meaning.result, meaning.status)
        assert not outcome.status.is_good, "an error is never Good"
        assert outcome.vendor_text == f"{code}: words"


EXPECTED = {
    "succeeded_number": (Result.ACCEPTED, StatusCode.GoodCompletesAsynchronously),
    "boolean_to_a_float_register": (Result.REFUSED, StatusCode.BadInvalidState),
    "not_writable_register": (Result.REFUSED, StatusCode.BadNotWritable),
    "unknown_point": (Result.REFUSED, StatusCode.BadNotFound),
    "unknown_device": (Result.REFUSED, StatusCode.BadNotFound),
    "device_not_connected_writable": (Result.UNREACHED, StatusCode.BadNotConnected),
    "write_refused_by_device": (Result.REFUSED, StatusCode.BadInvalidState),
    "schema_without_value": (Result.REFUSED, StatusCode.BadInvalidArgument),
    "version_2": (Result.REFUSED, StatusCode.BadNotSupported),
    "type_other": (Result.REFUSED, StatusCode.BadNotSupported),
    "expired": (Result.EXPIRED, StatusCode.BadTimeout),
    "too_old": (Result.EXPIRED, StatusCode.BadTimeout),
    "payload_too_large_valid_json": (Result.REFUSED, StatusCode.BadInvalidArgument),
    "write_timeout_by_driver": (Result.UNKNOWN, StatusCode.BadTimeout),
    "write_timeout": (Result.UNKNOWN, StatusCode.BadTimeout),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_what_the_agent_really_answered_is_understood(name: str) -> None:
    (exchange,) = [one for one in recorded.exchanges()["exchanges"] if one["name"] == name]
    outcome = outcome_of(exchange["results"][0]["payload"])
    assert (outcome.result, outcome.status) == EXPECTED[name]


@pytest.mark.parametrize("answer", [{}, {"status": "duplicate"}, {"status": "odd", "error": 7}, {"error": {"code": 1}}])
def test_an_answer_nobody_knows_is_unknown(answer: dict[str, Any]) -> None:
    assert outcome_of(answer).result is Result.UNKNOWN


def test_a_rejection_nobody_knows_is_refused() -> None:
    assert outcome_of({"status": "rejected", "error": {"code": "NEW", "message": "x"}}).result is Result.REFUSED


def test_impossible_writes_are_told() -> None:
    with pytest.raises(NotWritable):
        Write.of(write([1]))


@pytest.mark.parametrize(
    "words", ["read ECONNRESET", "write EPIPE", "Connection closed", "BadSessionClosed (0x80260000)"]
)
def test_a_connection_that_broke_while_it_was_written_is_no_refusal(words: str) -> None:
    """Whatever a driver fails with is WRITE_REJECTED in the agent's code."""
    outcome = outcome_of({"status": "failed", "error": {"code": "WRITE_REJECTED", "message": words}})
    assert outcome.result is Result.UNKNOWN
