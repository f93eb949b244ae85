"""The handshake of a command for clients that only read and write variables: pure, no await.

             Execute False -> True                 the desk answers
    Idle ------------------------------> Busy ------------------------> Done | Error
     ^                                                                     |
     +---- Execute is False, and the result has been shown for 1 s --------+

Rules (for a PLC that writes every cycle, is rebooted at any moment, and never looks at a write's status):
1. Only a rising edge starts, and only one that was given here: after a start of the bridge the first True is refused
   until Execute was written False, so that a PLC that still holds True does not start anything.
2. Every edge is used up, also a refused one, and each client's line is watched for itself: who wrote True starts
   nothing again before writing False, whatever others wrote meanwhile.
3. The arguments are taken at the edge. A write of an argument that is refused leaves it without a value, so that the
   next edge is refused too: nothing ever runs with an argument that was meant to be another.
4. Done and Error stay until Execute is False and at least 1 s, then Idle. A new edge in that second starts at once:
   shown Busy, a client cannot take the old result for the new one.
5. Execute going False while Busy cancels nothing.
6. The same RequestId, not 0, with the same arguments as the last accepted edge, within 10 minutes: that one's result is
   shown again and nothing is done. With other arguments: refused. What was accepted before a start of the bridge is
   told by `remember`: the desk, which has what was asked, then judges the edge, under the id of that command.
7. `shown` lists State, Done and Error last: whoever applies it in that order, at once, never shows Done with old
   results.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING

from bridge.model.command import Outcome, Result
from bridge.model.status import StatusCode

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from bridge.model.value import Value
    from bridge.ports import Clock

HOLD_S = 1.0
"""A result is shown at least so long: two publishing cycles of a usual client."""
SAME_REQUEST_S = 600.0
TEXT_BYTES = 254
"""What a PLC's STRING holds."""
REQUEST_ID = "RequestId"
ARGS = "Args/"
MAX_HOLDING = 100
"""Clients whose line is remembered to be True."""


class State(IntEnum):
    """What the object is doing."""

    Idle = 0
    Busy = 1
    Done = 2
    Error = 3


@dataclass(eq=False, slots=True)
class Run:
    """One edge that started something: what it was given, and how it ended."""

    request_id: int
    arguments: Mapping[str, Value]
    requester: str
    others: frozenset[str]
    """Who else wrote arguments for it."""
    edge: float
    started: datetime
    finished: datetime | None = None
    outcome: Outcome | None = None
    command_id: str = ""
    """Of a command that was accepted before the bridge started: the same is asked about, nothing new."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a write of Execute is answered; with a `run`, that is to be submitted now."""

    status: StatusCode = StatusCode.Good
    run: Run | None = None


GOOD, _BUSY = Answer(), Answer(StatusCode.BadInvalidState)
_NOTHING = Outcome(Result.CONFIRMED, StatusCode.Good, "")


class Handshake:
    """One command object. Inputs are "RequestId" and "Args/<name>"; `write` is given values of their own types.

    `arguments` gives what each is before anybody writes it; None for what must be written first.
    """

    def __init__(self, arguments: Mapping[str, Value], clock: Clock) -> None:
        self._clock = clock
        self._state = State.Idle
        self._execute = False
        self._armed = False
        self._holding: OrderedDict[str, None] = OrderedDict()
        self._inputs: dict[str, Value] = {
            REQUEST_ID: 0,
            **{f"{ARGS}{argument}": value for argument, value in arguments.items()},
        }
        self._writers: set[str] = set()
        self._run: Run | None = None
        self._last: Run | None = None
        self._count = 0
        self._since = 0.0
        self._shown_run: Run | None = None
        self._outcome = _NOTHING

    @property
    def state(self) -> State:
        """Idle, Busy, Done or Error."""
        return self._state

    def inputs(self) -> Mapping[str, Value]:
        """What was written, by its path; None where there is no value."""
        return self._inputs

    def write(self, path: str, value: Value, requester: str) -> None:
        """An input; None for a value that was refused. No side effect."""
        self._inputs[path] = value
        self._writers.add(requester)

    def remember(self, command_id: str, request_id: int, accepted: datetime) -> None:
        """The last edge that was accepted before the bridge started.

        Its number is shown, so that a PLC which counts on from what it reads gives its next command another.
        """
        age = max(0.0, (self._clock.now() - accepted).total_seconds())
        edge = self._clock.monotonic() - age
        self._last = Run(request_id, {}, "", frozenset(), edge, accepted, command_id=command_id)

    def execute(self, level: bool, requester: str) -> Answer:
        """Execute is written."""
        if not level:
            self._execute, self._armed = False, True
            self._holding.pop(requester, None)
            self.tick()
            return GOOD
        if requester in self._holding:
            return GOOD if self._execute else _BUSY
        self._hold(requester)
        if self._execute:
            return _BUSY
        if not self._armed:
            self._outcome = _refusal(StatusCode.BadInvalidState, "Nothing was started: write Execute False, then True")
            return _BUSY
        self._execute = True
        return _BUSY if self._state is State.Busy else self._edge(requester)

    def _hold(self, requester: str) -> None:
        self._holding[requester] = None
        if len(self._holding) > MAX_HOLDING:
            self._holding.popitem(last=False)

    def _edge(self, requester: str) -> Answer:
        request_id = self._inputs[REQUEST_ID]
        arguments = {path[len(ARGS) :]: value for path, value in self._inputs.items() if path.startswith(ARGS)}
        missing = [path for path, value in self._inputs.items() if value is None]
        others, self._writers = frozenset(self._writers - {requester}), set()
        if missing or not isinstance(request_id, int):
            return self._refuse(f"{', '.join(missing)}: no value was written, or it was refused")
        earlier = self._last
        if earlier is not None and self._is_repeated(earlier, request_id):
            if earlier.command_id and earlier.outcome is None:
                return self._start(replace(earlier, arguments=arguments, requester=requester, others=others))
            return self._again(earlier, arguments)
        return self._start(Run(request_id, arguments, requester, others, self._clock.monotonic(), self._clock.now()))

    def _start(self, run: Run) -> Answer:
        self._run = self._shown_run = run
        self._state, self._outcome = State.Busy, _NOTHING
        return Answer(run=run)

    def _is_repeated(self, earlier: Run, request_id: int) -> bool:
        return request_id == earlier.request_id != 0 and self._clock.monotonic() - earlier.edge < SAME_REQUEST_S

    def _again(self, earlier: Run, arguments: Mapping[str, Value]) -> Answer:
        if arguments == earlier.arguments and earlier.outcome is not None:
            self._show(earlier, earlier.outcome)
            return GOOD
        words = earlier.outcome.sentence if earlier.outcome else ""
        return self._refuse(
            f"RequestId {earlier.request_id} was used at {earlier.started:%H:%M:%S} UTC with other arguments. {words}"
        )

    def _refuse(self, sentence: str) -> Answer:
        now, request_id = self._clock.now(), self._inputs[REQUEST_ID]
        acknowledged = request_id if isinstance(request_id, int) else 0
        refused = Run(acknowledged, {}, "", frozenset(), self._clock.monotonic(), now, now)
        self._show(refused, _refusal(StatusCode.BadInvalidArgument, sentence))
        return Answer(StatusCode.BadInvalidArgument)

    def _show(self, run: Run, outcome: Outcome) -> None:
        self._shown_run, self._outcome = run, outcome
        self._state = State.Done if outcome.status.is_good else State.Error
        self._since = self._clock.monotonic()

    def accept(self, run: Run) -> None:
        """The desk took it."""
        self._last = run
        if not run.command_id:
            self._count = (self._count + 1) % 2**32

    def finish(self, run: Run, outcome: Outcome) -> None:
        """How it ended; said again, later and better, it is kept for a repeated RequestId but no longer shown."""
        run.outcome = outcome
        if run is self._run:
            run.finished = self._clock.now()
            self._run = None
            self._show(run, outcome)

    def rest_s(self) -> float | None:
        """Seconds until `tick` may bring Idle; None while nothing but a write can."""
        if self._execute or self._state not in (State.Done, State.Error):
            return None
        return max(0.0, self._since + HOLD_S - self._clock.monotonic())

    def tick(self) -> None:
        """Time has passed."""
        if self.rest_s() == 0.0:
            self._state = State.Idle

    def _acknowledged(self) -> int:
        run = self._shown_run or self._last
        return run.request_id if run and self._state is not State.Busy else 0

    def shown(self) -> dict[str, Value]:
        """Every variable that is not an argument, in the order in which they must change."""
        run, outcome = self._shown_run, self._outcome
        is_plain = outcome.status is StatusCode.Good
        return {
            "ErrorCode": int(outcome.status),
            "VendorCode": outcome.vendor_code,
            "ErrorText": "" if is_plain else shortened(outcome.sentence),
            "Results/Result": "" if outcome is _NOTHING else outcome.result.value,
            "Results/Actual": "" if outcome.actual is None else shortened(str(outcome.actual)),
            "Results/VendorText": shortened(outcome.vendor_text),
            "AckRequestId": self._acknowledged(),
            "ExecutionCount": self._count,
            "StartedAt": run.started if run else None,
            "FinishedAt": run.finished if run else None,
            "Execute": self._execute,
            "Busy": self._state is State.Busy,
            "Done": self._state is State.Done,
            "Error": self._state is State.Error,
            "State": int(self._state),
        }


def _refusal(status: StatusCode, sentence: str) -> Outcome:
    return Outcome(Result.REJECTED, status, sentence)


def shortened(text: str) -> str:
    """What a PLC's STRING holds of a text: whole characters, 254 bytes of UTF-8."""
    return text.encode("utf-8", "replace")[:TEXT_BYTES].decode("utf-8", "ignore")
