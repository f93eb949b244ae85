"""How commands ended, as events of the log."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bridge.model.command import Command, Door, Outcome, Result
from bridge.model.event import Event
from bridge.model.status import StatusCode
from bridge.runtime import command_events
from bridge.runtime.command_events import FAILED_PAUSE_S, CommandEvents
from bridge.transport.clock import VirtualClock
from tests.one_of_everything import NOW

DONE = Outcome(Result.CONFIRMED, StatusCode.Good, "")
REFUSED = Outcome(Result.REFUSED, StatusCode.BadInvalidState, "The panel says no to anna@example.com")
COMMAND = Command(
    "opcua:1",
    "extruder-1.Setpoints.ScrewSpeed",
    {"value": 30.0},
    Door.OPCUA_WRITE,
    "anna@10.0.0.1",
    NOW,
    NOW + timedelta(seconds=30),
)


class Log:
    def __init__(self) -> None:
        self.clock = VirtualClock(NOW)
        self.events: list[Event] = []
        self.told = CommandEvents(self.clock, self.events.append)

    def end(self, command: Command = COMMAND, outcome: Outcome = DONE) -> None:
        self.told.tell(command, "extruder-1", outcome)


def test_who_asked_for_what_and_how_it_ended() -> None:
    log = Log()
    log.end()
    [event] = log.events
    assert (event.kind, event.machine, event.severity) == ("CommandEnded", "extruder-1", 300)
    assert event.message == "anna@10.0.0.1: extruder-1.Setpoints.ScrewSpeed (value=30.0): confirmed"
    assert event.data["door"] == "opcua-write"
    assert event.data["done"] is True


def test_no_secret_and_no_address_and_claims_are_called_so() -> None:
    log = Log()
    who = replace(COMMAND, door=Door.UNS, requester="eva@example.com", arguments={"password": "hunter22", "n": 1})
    log.end(who, REFUSED)
    [event] = log.events
    said = f"{event.message} {dict(event.data)}"
    assert "example.com" not in said
    assert "hunter22" not in said
    assert str(event.data["requester"]).startswith("claimed ")
    assert (event.severity, event.data["done"]) == (500, False)


@pytest.mark.parametrize(("outcome", "pause"), [(DONE, 1.0), (REFUSED, FAILED_PAUSE_S)])
async def test_a_cyclic_writer_does_not_fill_the_log(outcome: Outcome, pause: float) -> None:
    log = Log()
    for number in range(5):
        log.end(replace(COMMAND, id=f"opcua:{number}"), outcome)
    log.end(replace(COMMAND, id="opcua:x", requester="bert@10.0.0.2"), outcome)
    assert [event.data["id"] for event in log.events] == ["opcua:0", "opcua:x"]
    await log.clock.advance(pause)
    log.end(replace(COMMAND, id="opcua:9"), outcome)
    assert (log.events[-1].data["id"], log.events[-1].data["like_it_before"]) == ("opcua:9", 4)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_events, "MAX_KNOWN", 3)
    log = Log()
    for number in range(10):
        log.end(replace(COMMAND, target=f"extruder-1.Setpoints.S{number}"))
    assert len(log.told._told) == 3
    assert len(log.events) == 10
