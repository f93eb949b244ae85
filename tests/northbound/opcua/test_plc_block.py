"""The handshake block of both dialects, run against the handshake itself, as a PLC with a slow client runs it."""

from types import SimpleNamespace
from typing import Any

import pytest

from bridge.model.command import Outcome, Result
from bridge.model.status import StatusCode
from bridge.model.value import Value
from bridge.northbound.opcua.handshake import Handshake, Run
from bridge.northbound.opcua.plc.dialect import Dialect, Server, declarations
from bridge.northbound.opcua.plc.sheet import ANSWER
from bridge.transport.clock import VirtualClock
from tests.northbound.opcua.plc_block import Block
from tests.one_of_everything import filled_table

PLC = "plc@10.0.0.5"
SERVER = Server("press", "opc.tcp://press:4840/", "urn:plantbridge:press:instances", 2, "1.2.3")
DONE = Outcome(Result.CONFIRMED, StatusCode.Good, "The machine shows it")
REFUSED = Outcome(Result.REFUSED, StatusCode.BadInvalidState, "The door is open", vendor_code=409)
TIMEOUT_S = 30.0


class Rig:
    """A PLC whose client writes the order and reads the answer, in turns, and a bridge that may be restarted."""

    def __init__(self, dialect: Dialect) -> None:
        table, _ = filled_table()
        self.source = declarations(table.plant.machines["extruder-1"], SERVER, dialect)
        self.clock = VirtualClock()
        self.block = Block(self.source, self.clock)
        self.argument: Value = 1.5
        self.start = False
        self.is_linked = True
        self.runs: list[Run] = []
        self.answer = SimpleNamespace(**dict.fromkeys((name.rpartition("/")[2] for name in ANSWER), 0))
        self.restart_bridge()

    def restart_bridge(self) -> None:
        self.handshake = Handshake({"Speed": None}, self.clock)

    def restart_plc(self) -> None:
        self.block = Block(self.source, self.clock)

    def transfer(self) -> None:
        """One turn of the client: the list that is written, in its order, then the one that is read."""
        self.handshake.write("Args/Speed", self.argument, PLC)
        self.handshake.write("RequestId", self.block.RequestId, PLC)
        answer = self.handshake.execute(self.block.Execute, PLC)
        if answer.run is not None:
            self.handshake.accept(answer.run)
            self.runs.append(answer.run)
        self.handshake.tick()
        shown: dict[str, Any] = {**self.handshake.inputs(), **self.handshake.shown()}
        self.answer = SimpleNamespace(**{name.rpartition("/")[2]: shown[name] for name in ANSWER})

    async def turn(self, times: int = 1, *, seconds: float = 0.2) -> None:
        """The PLC is faster than its client: some cycles for each turn."""
        for _ in range(times):
            if self.is_linked:
                self.transfer()
            for _ in range(3):
                self.block.cycle(self.answer, Start=self.start, Linked=self.is_linked, Timeout=TIMEOUT_S)
            await self.clock.advance(seconds)

    async def begin(self, runs: int = 1) -> Run:
        """Start, and come as far as Busy."""
        self.start = True
        await self.turn(4)
        assert len(self.runs) == runs
        return self.runs[-1]

    def end(self, outcome: Outcome = DONE) -> None:
        self.handshake.finish(self.runs[-1], outcome)

    @property
    def bits(self) -> tuple[bool, bool, bool]:
        return self.block.Busy, self.block.Done, self.block.Error


@pytest.fixture(params=list(Dialect))
def rig(request: pytest.FixtureRequest) -> Rig:
    return Rig(request.param)


async def test_a_command_runs_once_with_its_arguments_and_its_result_is_held_until_start_goes(rig: Rig) -> None:
    await rig.turn(3)
    assert rig.runs == []
    run = await rig.begin()
    assert (run.arguments, run.request_id) == ({"Speed": 1.5}, 1)
    assert rig.bits == (True, False, False)
    rig.end()
    await rig.turn(20)
    assert rig.bits == (False, True, False)
    assert (rig.block.Result, rig.block.ErrorCode, rig.block.Unknown) == ("confirmed", 0, False)
    assert rig.answer.State == 0  # Execute was given back
    rig.start = False
    await rig.turn()
    assert rig.bits == (False, False, False)
    assert len(rig.runs) == 1


async def test_a_start_that_is_held_does_not_start_again(rig: Rig) -> None:
    await rig.begin()
    rig.end()
    await rig.turn(50)
    assert len(rig.runs) == 1


async def test_a_second_command_has_the_next_number(rig: Rig) -> None:
    for number in (1, 2, 3):
        rig.argument = float(number)
        run = await rig.begin(number)
        assert (run.request_id, run.arguments) == (number, {"Speed": float(number)})
        rig.end()
        await rig.turn(2)
        rig.start = False
        await rig.turn(10)


async def test_a_refusal_is_an_error_with_its_words(rig: Rig) -> None:
    await rig.begin()
    rig.end(REFUSED)
    await rig.turn(2)
    assert rig.bits == (False, False, True)
    assert (rig.block.ErrorCode, rig.block.VendorCode) == (int(StatusCode.BadInvalidState), 409)
    assert (rig.block.ErrorText, rig.block.Result, rig.block.Unknown) == ("The door is open", "refused", False)


async def test_an_argument_that_was_refused_is_an_error_and_nothing_runs(rig: Rig) -> None:
    rig.argument = None
    rig.start = True
    await rig.turn(5)
    assert rig.bits == (False, False, True)
    assert "Args/Speed" in rig.block.ErrorText
    assert rig.runs == []


async def test_an_outcome_nobody_knows_is_told_as_unknown(rig: Rig) -> None:
    await rig.begin()
    rig.end(Outcome(Result.UNKNOWN, StatusCode.BadTimeout, "No readback in time"))
    await rig.turn(2)
    assert (rig.bits, rig.block.Unknown) == ((False, False, True), True)


async def test_a_plc_that_lost_its_memory_does_not_take_an_old_result_for_its_own(rig: Rig) -> None:
    await rig.begin()
    rig.end()
    await rig.turn(2)
    rig.start = False
    await rig.turn(10)
    rig.restart_plc()
    run = await rig.begin(2)
    assert run.request_id == 2
    assert rig.bits == (True, False, False)
    rig.end(REFUSED)
    await rig.turn(2)
    assert rig.bits == (False, False, True)


async def test_a_plc_that_restarts_under_way_waits_for_the_old_command_and_starts_its_own(rig: Rig) -> None:
    await rig.begin()
    rig.restart_plc()
    await rig.turn(10)
    assert len(rig.runs) == 1
    assert rig.bits == (True, False, False)
    rig.end()
    await rig.turn(20)
    assert len(rig.runs) == 2


async def test_a_bridge_that_was_restarted_is_given_false_first(rig: Rig) -> None:
    await rig.turn(5)
    rig.restart_bridge()
    await rig.begin()
    rig.end()
    await rig.turn(2)
    assert rig.bits == (False, True, False)


async def test_a_restart_of_the_bridge_under_way_is_unknown_and_nothing_runs_twice(rig: Rig) -> None:
    await rig.begin()
    rig.restart_bridge()
    await rig.turn(200)
    assert rig.bits == (False, False, True)
    assert (rig.block.Unknown, rig.block.ErrorCode) == (True, int(StatusCode.BadTimeout))
    assert len(rig.runs) == 1
    rig.start = False
    await rig.turn(10)
    await rig.begin(2)


async def test_without_a_connection_nothing_is_started_and_that_is_certain(rig: Rig) -> None:
    rig.is_linked = False
    rig.start = True
    await rig.turn(200)
    assert rig.bits == (False, False, True)
    assert not rig.block.Unknown
    rig.is_linked = True
    await rig.turn(50)
    assert rig.runs == []


async def test_a_connection_that_breaks_under_way_and_returns_brings_the_result(rig: Rig) -> None:
    await rig.begin()
    rig.is_linked = False
    await rig.turn(20)
    rig.end()
    rig.is_linked = True
    await rig.turn(2)
    assert rig.bits == (False, True, False)


async def test_the_number_after_the_last_is_one(rig: Rig) -> None:
    rig.handshake.write("Args/Speed", 1.0, "hmi")
    rig.handshake.write("RequestId", 2**32 - 1, "hmi")
    rig.handshake.execute(False, "hmi")
    run = rig.handshake.execute(True, "hmi").run
    assert run is not None
    rig.handshake.accept(run)
    rig.handshake.finish(run, DONE)
    rig.handshake.execute(False, "hmi")
    await rig.clock.advance(2)
    assert (await rig.begin()).request_id == 1
