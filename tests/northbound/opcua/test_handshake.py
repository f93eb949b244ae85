"""The handshake's rules, without a server: the clock is moved by hand."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from bridge.model.command import Outcome, Result
from bridge.model.status import StatusCode
from bridge.northbound.opcua.handshake import Handshake, Run, State, shortened
from bridge.northbound.opcua.orders import handshake_id, request_id_of
from bridge.transport.clock import VirtualClock

PLC, HMI = "plc@10.0.0.5", "hmi@10.0.0.9"
DONE = Outcome(Result.CONFIRMED, StatusCode.Good, "The machine shows it")
REFUSED = Outcome(Result.REFUSED, StatusCode.BadInvalidState, "The door is open", vendor_code=409)


class Plc:
    """A handshake with its clock, as a PLC drives it."""

    def __init__(self, *arguments: str, armed: bool = True) -> None:
        self.clock = VirtualClock()
        self.handshake = Handshake(dict.fromkeys(arguments), self.clock)
        if armed:
            self.execute(False)

    def execute(self, level: bool, who: str = PLC) -> StatusCode:
        answer = self.handshake.execute(level, who)
        self.started = answer.run
        return answer.status

    def write(self, who: str = PLC, **arguments: Any) -> None:
        for name, value in arguments.items():
            self.handshake.write(name if name == "RequestId" else f"Args/{name}", value, who)

    def edge(self, who: str = PLC, **arguments: Any) -> Run:
        self.write(who, **arguments)
        self.execute(False, who)
        assert self.execute(True, who) is StatusCode.Good
        assert self.started is not None
        self.handshake.accept(self.started)
        return self.started

    def run(self, outcome: Outcome = DONE, **arguments: Any) -> Run:
        run = self.edge(**arguments)
        self.handshake.finish(run, outcome)
        return run

    @property
    def shown(self) -> Mapping[str, Any]:
        return self.handshake.shown()

    @property
    def bits(self) -> tuple[bool, bool, bool]:
        return self.shown["Busy"], self.shown["Done"], self.shown["Error"]

    async def wait(self, seconds: float) -> None:
        await self.clock.advance(seconds)
        self.handshake.tick()


def test_rising_edge_starts_and_shows_busy_at_once() -> None:
    plc = Plc("Speed")
    run = plc.edge(Speed=3.0, RequestId=7)
    assert (run.arguments, run.request_id) == ({"Speed": 3.0}, 7)
    assert (plc.handshake.state, plc.bits) == (State.Busy, (True, False, False))
    assert plc.shown["ExecutionCount"] == 1
    assert plc.shown["StartedAt"] == plc.clock.now()
    assert plc.shown["FinishedAt"] is None


@pytest.mark.parametrize(("outcome", "bits"), [(DONE, (False, True, False)), (REFUSED, (False, False, True))])
def test_result_is_shown_with_the_id_it_belongs_to(outcome: Outcome, bits: tuple[bool, bool, bool]) -> None:
    plc = Plc()
    plc.run(outcome, RequestId=7)
    assert plc.bits == bits
    shown = plc.shown
    assert (shown["ErrorCode"], shown["AckRequestId"]) == (int(outcome.status), 7)
    assert (shown["VendorCode"], shown["Results/Result"]) == (outcome.vendor_code, outcome.result.value)
    assert shown["ErrorText"] == ("" if outcome.status is StatusCode.Good else "The door is open")


def test_changed_is_done_and_says_what_was_taken_instead() -> None:
    plc = Plc()
    plc.run(Outcome(Result.CHANGED, StatusCode.GoodClamped, "It took 25", actual=25.0))
    assert plc.bits == (False, True, False)
    assert (plc.shown["Results/Actual"], plc.shown["ErrorText"]) == ("25.0", "It took 25")


def test_state_changes_after_everything_that_explains_it() -> None:
    order = list(Plc().shown)
    results = ("ErrorCode", "VendorCode", "ErrorText", "AckRequestId")
    results += ("Results/Result", "Results/Actual", "Results/VendorText")
    assert max(order.index(name) for name in results) < min(order.index(one) for one in ("State", "Done", "Error"))


def test_level_that_stays_true_starts_nothing_again() -> None:
    plc = Plc()
    plc.run()
    for _ in range(5):
        assert plc.execute(True) is StatusCode.Good
        assert plc.started is None
    assert plc.shown["ExecutionCount"] == 1


async def test_result_stays_until_execute_is_false() -> None:
    plc = Plc()
    plc.run()
    await plc.wait(3600)
    assert plc.handshake.state is State.Done
    plc.execute(False)
    assert plc.handshake.state is State.Idle


async def test_result_stays_for_a_second_at_least() -> None:
    plc = Plc()
    plc.run()
    plc.execute(False)
    await plc.wait(0.999)
    assert plc.handshake.state is State.Done
    await plc.wait(0.001)
    assert plc.handshake.state is State.Idle
    assert plc.shown["ErrorCode"] == 0


async def test_new_edge_during_that_second_starts() -> None:
    plc = Plc()
    plc.run(REFUSED, RequestId=1)
    plc.edge(RequestId=2)
    assert plc.bits == (True, False, False)
    assert (plc.shown["ErrorText"], plc.shown["AckRequestId"]) == ("", 0)
    await plc.wait(5)
    assert plc.handshake.state is State.Busy


def test_execute_going_false_cancels_nothing() -> None:
    plc = Plc()
    run = plc.edge()
    assert plc.execute(False) is StatusCode.Good
    assert plc.handshake.state is State.Busy
    plc.handshake.finish(run, DONE)
    assert plc.handshake.state is State.Done


def test_edge_while_busy_is_refused_and_used_up() -> None:
    plc = Plc()
    run = plc.edge()
    plc.execute(False)
    assert plc.execute(True) is StatusCode.BadInvalidState
    plc.handshake.finish(run, DONE)
    assert plc.execute(True) is StatusCode.Good
    assert plc.started is None
    assert plc.edge() is not run


def test_arguments_are_taken_at_the_edge() -> None:
    plc = Plc("Speed")
    run = plc.edge(Speed=3.0)
    plc.write(Speed=99.0)
    assert run.arguments == {"Speed": 3.0}


def test_missing_argument_is_an_error_with_its_name() -> None:
    plc = Plc("Speed", "Part")
    plc.write(Speed=3.0)
    assert plc.execute(True) is StatusCode.BadInvalidArgument
    assert plc.started is None
    assert plc.bits == (False, False, True)
    assert "Part" in plc.shown["ErrorText"]
    assert plc.shown["ErrorCode"] == StatusCode.BadInvalidArgument
    assert plc.shown["ExecutionCount"] == 0


def test_argument_whose_write_was_refused_is_missing_from_then_on() -> None:
    plc = Plc("Speed")
    plc.run(Speed=3.0)
    plc.write(Speed=None)
    plc.execute(False)
    assert plc.execute(True) is StatusCode.BadInvalidArgument
    assert plc.edge(Speed=4.0).arguments == {"Speed": 4.0}


def test_request_id_whose_write_was_refused_is_missing_too() -> None:
    plc = Plc()
    plc.run(RequestId=1)
    plc.write(RequestId=None)
    plc.execute(False)
    assert plc.execute(True) is StatusCode.BadInvalidArgument
    assert "RequestId" in plc.shown["ErrorText"]


def test_after_a_start_of_the_bridge_a_level_that_is_still_true_starts_nothing() -> None:
    plc = Plc(armed=False)
    for _ in range(3):
        assert plc.execute(True) is StatusCode.BadInvalidState
        assert plc.started is None
    assert (plc.shown["Execute"], plc.handshake.state) == (False, State.Idle)
    assert "False" in plc.shown["ErrorText"]
    assert plc.edge()


def test_level_that_is_still_true_starts_nothing_when_somebody_else_wrote_false() -> None:
    plc = Plc(armed=False)
    plc.execute(True)
    plc.execute(False, HMI)
    assert plc.execute(True) is StatusCode.BadInvalidState
    assert plc.started is None
    assert plc.edge()


def test_somebody_elses_true_is_not_taken_for_the_same_level() -> None:
    plc = Plc()
    plc.edge()
    assert plc.execute(True, HMI) is StatusCode.BadInvalidState
    assert plc.execute(True) is StatusCode.Good


def test_who_else_wrote_arguments_is_known() -> None:
    plc = Plc("Speed", "Part")
    plc.write(HMI, Speed=1.0)
    run = plc.edge(Part="x")
    assert run.others == {HMI}
    plc.handshake.finish(run, DONE)
    assert plc.edge().others == frozenset()


@pytest.mark.parametrize("outcome", [DONE, REFUSED])
async def test_same_request_again_shows_its_result_and_does_nothing(outcome: Outcome) -> None:
    plc = Plc("Part")
    plc.run(outcome, Part="bolt", RequestId=1)
    before = plc.shown
    plc.execute(False)
    await plc.wait(10)
    assert plc.handshake.state is State.Idle
    assert plc.execute(True) is StatusCode.Good
    assert plc.started is None
    assert plc.shown == before


async def test_same_request_id_with_other_arguments_is_never_answered_with_the_old_result() -> None:
    plc = Plc("Part")
    plc.run(Part="bolt", RequestId=1)
    plc.execute(False)
    await plc.wait(10)
    plc.write(Part="nut")
    assert plc.execute(True) is StatusCode.BadInvalidArgument
    assert plc.started is None
    assert plc.bits == (False, False, True)
    assert "other arguments" in plc.shown["ErrorText"]
    assert "The machine shows it" in plc.shown["ErrorText"]


@pytest.mark.parametrize(("seconds", "repeated"), [(599.0, True), (600.0, False)])
async def test_request_id_is_remembered_for_ten_minutes(seconds: float, repeated: bool) -> None:
    plc = Plc()
    plc.run(RequestId=1)
    plc.execute(False)
    await plc.wait(seconds)
    assert plc.execute(True) is StatusCode.Good
    assert (plc.started is None) is repeated


def test_request_id_counts_against_the_last_accepted_only() -> None:
    plc = Plc()
    plc.run(RequestId=1)
    plc.run(RequestId=2)
    assert plc.edge(RequestId=1)


def test_refused_by_the_desk_is_not_remembered() -> None:
    plc = Plc()
    plc.write(RequestId=1)
    plc.execute(True)
    assert plc.started is not None
    plc.handshake.finish(plc.started, REFUSED)
    assert plc.bits == (False, False, True)
    assert plc.shown["ExecutionCount"] == 0
    assert plc.edge(RequestId=1)


def test_argument_may_be_called_as_the_objects_own_variables_are() -> None:
    plc = Plc("RequestId", "Execute")
    plc.handshake.write("Args/RequestId", "r", PLC)
    plc.handshake.write("Args/Execute", 1.0, PLC)
    plc.execute(True)
    assert plc.started is not None
    assert (plc.started.arguments, plc.started.request_id) == ({"RequestId": "r", "Execute": 1.0}, 0)


def test_request_id_zero_is_no_id() -> None:
    plc = Plc()
    plc.run(RequestId=0)
    assert plc.edge(RequestId=0)


async def test_late_answer_is_not_shown_but_told_to_who_asks_again() -> None:
    plc = Plc()
    unknown = Outcome(Result.UNKNOWN, StatusCode.BadTimeout, "No answer")
    run = plc.run(unknown, RequestId=1)
    plc.handshake.finish(run, DONE)
    assert plc.shown["ErrorCode"] == StatusCode.BadTimeout
    plc.execute(False)
    plc.execute(True)
    assert plc.started is None
    assert plc.bits == (False, True, False)


def test_late_answer_does_not_end_the_next_command() -> None:
    plc = Plc()
    first = plc.run(Outcome(Result.UNKNOWN, StatusCode.BadTimeout, "No answer"), RequestId=1)
    plc.edge(RequestId=2)
    plc.handshake.finish(first, DONE)
    assert plc.handshake.state is State.Busy


def test_clients_that_hold_true_are_bounded() -> None:
    plc = Plc()
    for number in range(1000):
        plc.execute(True, f"user@10.0.{number // 256}.{number % 256}")
    assert len(plc.handshake._holding) <= 100


@pytest.mark.parametrize("text", ["x" * 500, "ü" * 300, "€" * 200])
def test_text_fits_a_string_of_254_bytes_and_is_not_cut_inside_a_character(text: str) -> None:
    short = shortened(text)
    assert text.startswith(short)
    assert 251 <= len(short.encode()) <= 254


ID = "ua:7:4711"


async def plc_with_memory(age_s: float) -> Plc:
    """A handshake after a start of the bridge; before it RequestId 7 was accepted."""
    plc = Plc("Part", armed=False)
    await plc.clock.advance(1)
    plc.handshake.remember(ID, 7, plc.clock.now() - timedelta(seconds=age_s))
    assert (plc.handshake.state, plc.shown["AckRequestId"]) == (State.Idle, 7), "a PLC counts on from there"
    plc.execute(False)
    return plc


async def test_an_edge_from_before_the_start_is_asked_about_under_its_own_id() -> None:
    plc = await plc_with_memory(9)
    run = plc.edge(Part="bolt", RequestId=7)
    assert (run.command_id, run.arguments, plc.bits) == (ID, {"Part": "bolt"}, (True, False, False))
    plc.handshake.finish(run, REFUSED)
    assert (plc.bits, plc.shown["AckRequestId"], plc.shown["ExecutionCount"]) == ((False, False, True), 7, 0)
    await plc.wait(5)
    plc.execute(False)
    assert (plc.execute(True), plc.started, plc.shown["ErrorText"]) == (StatusCode.Good, None, "The door is open")


async def test_what_the_desk_refuses_of_it_leaves_the_memory_as_it_is() -> None:
    plc = await plc_with_memory(9)
    plc.write(Part="nut", RequestId=7)
    plc.execute(True)
    run = plc.started
    assert run is not None
    plc.handshake.finish(run, Outcome(Result.REJECTED, StatusCode.BadInvalidArgument, "with other values"))
    assert plc.edge(Part="bolt", RequestId=7).command_id == ID


@pytest.mark.parametrize(("age_s", "request_id"), [(600, 7), (9, 8), (9, 0)])
async def test_another_edge_or_a_late_one_is_a_new_command(age_s: float, request_id: int) -> None:
    plc = await plc_with_memory(age_s)
    assert plc.edge(Part="bolt", RequestId=request_id).command_id == ""
    assert plc.shown["ExecutionCount"] == 1


@pytest.mark.parametrize(
    ("command_id", "request_id"),
    [pytest.param(handshake_id(7), 7, id="handshake"), ("ua:4711-aa", 0), ("uns:-:7", 0)],
)
def test_a_command_id_tells_its_request_id(command_id: str, request_id: int) -> None:
    assert request_id_of(command_id) == request_id
