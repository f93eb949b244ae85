"""A bridge that books steps with a vendor that fails, dies at any moment, and what must be true of every booking then.

    chain: [schedule: faults, an outage, starts and finishes, perhaps a kill -> all faults end -> settle -> check] -> …

One chain is one state directory and one organisation; both run on one virtual clock, which passes as fast as the loop
goes round. A kill leaves of a bridge what is on disk at that moment, as kill -9 does, and the next one begins from it.
Requests that left go on at the vendor. Whatever happened:

1. The vendor has each step at most once, with the times it was booked with.
2. Every command the journal took has an end, or is a dead letter; the same id gets the same end.
3. Confirmed is there. Rejected, refused, unreached, expired and superseded is not.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.commands.journal import Entry, State
from bridge.model.command import Command, Door, Outcome, Result, Role
from bridge.runtime.bridge import Bridge
from bridge.sim.http_faults import Planned
from bridge.sim.trackmymachines import Behaviour, Event, TrackMyMachines, VirtualClock
from tests.flow.plantfloor import HEAD, until
from tests.sites import make_site

if TYPE_CHECKING:
    from aiohttp import web

SITE = """
sources:
  tmm:
    type: trackmymachines
    events_url: "{app}"
    step_events_url: "{com}"
    api_key: "{key}"
    period: 5s
    requests_per_minute: 6000
    request_timeout: 1s
    writes: true
    allow: {{part: "PART[0-9]+"}}
    user_email: operator@example.com
    when_running: {when_running}
machines:
  - {{id: mill-1, source: tmm, machine: {{foreign_id: MACHINE_001, display_name: Machine 1, number: 6}}}}
  - {{id: mill-2, source: tmm, machine: {{foreign_id: MACHINE_002, display_name: Machine 2, number: 7}}}}
northbound:
  opcua: {{enabled: false}}
  sparkplug: {{enabled: false}}
  uns: {{enabled: false}}
  status: {{port: 0}}
"""
MACHINES = {"mill-1": 6, "mill-2": 7}
NOON = datetime(2025, 5, 27, 12, tzinfo=UTC)
TICK_S = 0.5
"""Virtual seconds that pass while the loop goes round once, and 2 ms."""

LATE_FEED_S = 20.0
"""The feed's delay stays within `reconcile_within` (30 s): later than that nobody can tell a late step from none."""

WAYS = (
    ("refuse", {"when_active": "auto-finish"}),
    ("finish_first", {"when_active": "auto-finish", "selection": "start-in-window"}),
    ("overlap", {"when_active": "overlap"}),
    ("finish_first", {"when_active": "422", "not_found_status": "422", "created_status": "200"}),
)
"""What the bridge does about a step that runs, and what the vendor's pages leave open."""

STEPS = tuple((state, when) for state in State if state is not State.DEAD for when in ("before", "after"))
"""Steps of the journal at which a bridge dies."""

AT_VENDOR = ("received", "committed")
NOT_DONE = (Result.REJECTED, Result.REFUSED, Result.UNREACHED, Result.EXPIRED, Result.SUPERSEDED)


class Fate(NamedTuple):
    """Where a life ends."""

    where: State | str
    """A step of the journal's; "received" or "committed" by the vendor; "any time"."""
    when: str = ""
    """Of the journal: before or after."""

    @property
    def name(self) -> str:
        return f"{self.when} {self.where.value}" if isinstance(self.where, State) else self.where


@dataclass(eq=False)
class Asked:
    """A start or a finish, and what was answered."""

    command: Command
    part: str
    quantity: float | None
    """Of a finish: by which it is known."""
    is_taken: bool = False
    answers: list[Outcome] = field(default_factory=list)

    @property
    def id(self) -> str:
        return self.command.id

    def of(self, events: list[Event]) -> list[Event]:
        """What the vendor has of it."""
        if self.quantity is None:
            return [one for one in events if one.type == "step" and one.label == self.part]
        return [one for one in events if one.metadata.get("quantity_made") == self.quantity]


@dataclass
class Tally:
    """What happened in a soak."""

    schedules: int = 0
    asked: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)

    def told(self) -> str:
        parts = [f"{self.schedules} schedules, {self.asked} commands"]
        for name in ("faults", "kills", "answers", "outcomes"):
            counts: Counter[str] = getattr(self, name)
            parts.append(f"  {name}: " + ", ".join(f"{what} {count}" for what, count in sorted(counts.items())))
        return "\n".join(parts)


class Life:
    """One bridge, until it is killed."""

    def __init__(self, chain: Chain, fate: Fate | None) -> None:
        self.fate = fate
        self.is_dead = False
        self._chain = chain
        self._state = chain.folder / "state"
        self._left = chain.folder / "left"
        self._asking: set[asyncio.Task[None]] = set()

    async def begin(self) -> None:
        """Start it; everything is open when this returns, though the vendor may be away."""
        chain = self._chain
        self.bridge = Bridge(chain.site, chain.clock)
        self._task = asyncio.create_task(self.bridge.run())
        await until(lambda: self.bridge.listening.is_set() or self._task.done())
        journal: Any = self.bridge.journal
        for name in ("begin", "mark", "finish"):
            setattr(journal, name, self._mortal(getattr(journal, name), _STATE_OF[name]))

    def _mortal(self, write: Callable[..., Any], state_of: Callable[..., State]) -> Callable[..., Any]:
        async def written(*arguments: Any, **options: Any) -> None:
            await self._at(state_of(*arguments), "before")
            await write(*arguments, **options)
            await self._at(state_of(*arguments), "after")

        return written

    async def _at(self, state: State, when: str) -> None:
        if self.fate == (state, when):
            self.kill()
        if self.is_dead:
            raise asyncio.CancelledError  # nothing is sent any more, and no cleaning up may wait here for ever

    def kill(self) -> None:
        """Keep what is on disk now; nothing more is done."""
        if self.is_dead or self.fate is None:
            return
        self.is_dead = True
        self._chain.tally.kills[self.fate.name] += 1
        self._left.mkdir()
        for file in self._state.rglob("*"):
            copy = self._left / file.relative_to(self._state)
            if file.is_dir():
                copy.mkdir(parents=True, exist_ok=True)
            elif file.suffix == ".db":
                _copy_database(file, copy)
            elif not file.name.endswith(("-wal", "-shm")):
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)
        self._task.cancel()

    async def end(self) -> None:
        """Wait until nothing is left of it; one that was not killed is stopped."""
        for task in self._asking:
            task.cancel()
        self.bridge.stop()
        await over(self._task, *self._asking)
        if self.is_dead:
            shutil.rmtree(self._state)
            self._left.rename(self._state)
        elif (error := self._task.exception()) is not None:
            raise error

    def ask(self, one: Asked) -> None:
        """Ask for it, and note what is answered while it lives."""
        self._asking.add(asyncio.create_task(self._ask(one)))

    async def _ask(self, one: Asked) -> None:
        ticket = self.bridge.desk.submit(one.command)
        if await ticket.accepted is None and not self.is_dead:
            one.is_taken = True
        outcome = await ticket.result
        if not self.is_dead:
            one.answers.append(outcome)

    @property
    def is_idle(self) -> bool:
        """Everybody was answered."""
        return all(task.done() for task in self._asking)

    async def is_settled(self) -> bool:
        """And nothing is under way, or kept."""
        return self.is_idle and not self.bridge.desk.bookings and not await self.bridge.journal.unfinished()


async def over(*tasks: asyncio.Task[Any]) -> None:
    """Wait for their ends; where one does not come, say what everybody waits for."""
    _, late = await asyncio.wait(tasks, timeout=60)
    assert not late, "\n".join(waiting())


def waiting() -> Iterator[str]:
    """Every task, and where it waits."""
    for task in asyncio.all_tasks():
        places, awaited = [], task.get_coro()
        while awaited is not None:
            frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "ag_frame", None)
            if frame is not None:
                places.append(f"{frame.f_code.co_qualname}:{frame.f_lineno}")
            awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "ag_await", None)
        yield f"{task.get_name()}: {' > '.join(places)}"


_STATE_OF: dict[str, Callable[..., State]] = {
    "begin": lambda *_: State.ACCEPTED,
    "mark": lambda _, state, *__: state,
    "finish": lambda *_: State.FINISHED,
}


def _copy_database(file: Path, copy: Path) -> None:
    with contextlib.closing(sqlite3.connect(file)) as source, contextlib.closing(sqlite3.connect(copy)) as target:
        source.backup(target)


class Chain:
    """Lives of one bridge beside one organisation. Everything random comes from `random`."""

    def __init__(self, folder: Path, vendor: TrackMyMachines, random: Random, when_running: str, tally: Tally) -> None:
        self.folder, self.vendor, self.random, self.tally = folder, vendor, random, tally
        self.clock = vendor.clock
        key = vendor.secret("rw")
        text = SITE.format(app=vendor.app_url, com=vendor.com_url, key=key, when_running=when_running)
        self.site = make_site(folder, HEAD + text)
        self._asked: list[Asked] = []
        self._life: Life | None = None
        self._number = 0

    # -- one schedule

    async def schedule(self) -> None:
        """Something goes wrong, something is asked, something dies; then all is well again, and must be right."""
        life = await self._living(self._fate())
        if self.random.random() < 0.7:
            await self._passes(lambda: life.bridge.desk.is_connected("tmm"))
        for _ in range(self.random.choice((0, 1, 1, 1, 2, 3))):
            self._plan_fault()
        self.vendor.behave({"feed_delay_s": self.random.choice((0.0, 5.0, 5.0, LATE_FEED_S))})
        asked = []
        for _ in range(self.random.randint(1, 4)):
            if not life.is_dead:
                asked.append(self._make())
                life.ask(asked[-1])
                await self._meanwhile(life)
        await self._passes(lambda: life.is_idle or life.is_dead, 90)
        if life.is_dead:
            await self._over()
        await self._mend()
        life = await self._living(None)
        again = [one for one in asked if one.is_taken and self.random.random() < 0.5]
        for one in again:
            life.ask(one)
        await self._settle(life)
        for one in asked:
            await self._check(life, one)
        await self._tidy()
        self.tally.schedules += 1

    async def _living(self, fate: Fate | None) -> Life:
        """The bridge that lives; it dies of this next."""
        if self._life is None:
            self._life = Life(self, fate)
            await self._life.begin()
        life = self._life
        life.fate = fate
        if fate is not None and fate.where in AT_VENDOR:
            self._plan_kill(life, str(fate.where))
        return life

    async def _over(self) -> None:
        if self._life is not None:
            await self._life.end()
            self._life = None

    def _fate(self) -> Fate | None:
        dice = self.random.random()
        if dice < 0.35:
            return None
        if dice < 0.5:
            return Fate("any time")
        if dice < 0.7:
            return Fate(self.random.choice(AT_VENDOR))
        return Fate(*self.random.choice(STEPS))

    def _plan_kill(self, life: Life, where: str) -> None:
        """The bridge dies while the vendor has its request: before the vendor's commit, or after."""
        pause = self.random.choice((0.0, 0.01, 0.03))

        async def act(request: web.Request, answer: web.Response | None) -> None:
            life.kill()
            await asyncio.sleep(pause)  # what is in the vendor's hands is done, though nobody waits for it any more

        for method in ("POST", "PATCH"):
            self.vendor.plan.add(Planned("kill", act, where == "committed", method, "", 0, 1))

    def _plan_fault(self) -> None:
        faults, random = self.vendor.faults, self.random
        where: dict[str, Any] = {
            "method": random.choice(("POST", "POST", "POST", "PATCH", "PATCH", "GET")),
            "skip": random.choice((0, 0, 0, 1)),
            "count": random.choice((1, 1, 1, 2, 4)),
        }
        late = bool(random.getrandbits(1))
        kinds: dict[str, Callable[[], None]] = {
            "latency": lambda: faults.latency(random.choice((0.01, 0.03)), after_commit=late, **where),
            "time-out": lambda: faults.latency(1.02, after_commit=late, **{**where, "count": 1}),
            "reset": lambda: faults.reset(after_commit=late, **where),
            "status": lambda: faults.status(random.choice((500, 502, 503, 504)), after_commit=late, **where),
            "truncated": lambda: faults.truncate(**where),
            "malformed": lambda: faults.malformed(**where),
            "no content": lambda: faults.no_content(**where),
            "429": lambda: faults.throttle(random.choice((None, 1, 5)), **where),
            "401": lambda: faults.status(401, '{"error": "Invalid"}', "application/json", **where),
        }
        weights = [1 if kind == "time-out" else 8 for kind in kinds]
        kind = random.choices(list(kinds), weights)[0]
        kinds[kind]()
        self.tally.faults[f"{kind}{' after commit' if late and kind in _EITHER else ''}"] += 1

    async def _meanwhile(self, life: Life) -> None:
        """Between two commands: time passes, and somebody pulls a plug or makes a key invalid."""
        event = self.random.choices(("nothing", "refuse", "accept", "revoke", "restore"), (28, 2, 3, 1, 2))[0]
        if event == "refuse":
            await self.vendor.faults.refuse()
        elif event == "accept":
            await self.vendor.faults.accept()
        elif event in ("revoke", "restore"):
            self.vendor.faults.revoke_key("rw", event == "revoke")
        if event != "nothing":
            self.tally.faults[event] += 1
        pause = self.random.choice((0.0, 0.5, 2.0, 2.0, 20.0, 60.0))
        end = self.clock.monotonic() + pause
        if life.fate is not None and life.fate.where == "any time" and self.random.random() < 0.4:
            end = self.clock.monotonic() + self.random.uniform(0.0, 5.0)
            await self._passes(lambda: self.clock.monotonic() >= end)
            life.kill()
        await self._passes(lambda: self.clock.monotonic() >= end or life.is_dead)

    def _make(self) -> Asked:
        """A start of a part that nobody else has, or a finish of so many pieces."""
        self._number += 1
        machine, now = self.random.choice(list(MACHINES)), self.clock.now()
        is_start = self.random.random() < 0.55
        parts = [one for one in self._asked if one.quantity is None and one.command.target.startswith(machine)]
        part, quantity = f"PART{self._number}", None
        arguments: dict[str, Any] = {"PartUniqueIdentifier": part, "StepNumber": "10", "WorkOrder": "WO-1"}
        if not is_start:
            quantity = float(1000 + self._number)
            part = parts[-1].part if parts and self.random.random() < 0.5 else ""
            arguments = {"QtyMade": quantity, "ExpectPart": part}
        name = "StartStep" if is_start else "FinishStep"
        target = f"{machine}.Commands.{name}"
        expires = now + timedelta(days=1)
        command = Command(f"soak:{self._number}", target, arguments, Door.UNS, "anna", now, expires, role=Role.OPERATOR)
        one = Asked(command, part, quantity)
        self._asked.append(one)
        self.tally.asked += 1
        return one

    # -- all is well again

    async def _mend(self) -> None:
        self.vendor.faults.clear()
        self.vendor.faults.revoke_key("rw", False)
        await self.vendor.faults.accept()

    async def _settle(self, life: Life) -> None:
        end = self.clock.monotonic() + 3600
        while not await life.is_settled():
            assert self.clock.monotonic() < end, await self._unsettled(life)
            await asyncio.sleep(0.005)
        end = self.clock.monotonic() + LATE_FEED_S + 5
        await self._passes(lambda: self.clock.monotonic() > end)

    async def _unsettled(self, life: Life) -> str:
        left = [f"{one.command.id} {one.state.value} {one.history}" for one in await life.bridge.journal.unfinished()]
        return f"after an hour there are {left}, {len(life.bridge.desk.bookings)} bookings; idle: {life.is_idle}"

    async def _tidy(self) -> None:
        """A person ends what runs where it is more than one, and sometimes the one; not in the second of a finish."""
        for number in MACHINES.values():
            steps = [e for e in self.vendor.organisation.events if e.type == "step" and e.end is None]
            running = [e for e in steps if e.machine.number == number]
            if len(running) > 1 or (running and self.random.random() < 0.2):
                for event in running:
                    self.vendor.faults.close(event.id)
        end = self.clock.monotonic() + 5
        await self._passes(lambda: self.clock.monotonic() > end)

    async def _passes(self, condition: Callable[[], object], seconds: float = 300) -> None:
        """Until something is so, or virtual seconds have passed."""
        end = self.clock.monotonic() + seconds
        while not condition() and self.clock.monotonic() < end:  # noqa: ASYNC110 - any condition; there is no one event
            await asyncio.sleep(0.002)

    # -- what must be true

    async def _check(self, life: Life, one: Asked) -> None:
        kept = await life.bridge.journal.get(one.id)
        wrong = list(self._faults_of(one, kept))
        assert not wrong, f"{one.command.target} {one.id}: {'; '.join(wrong)}\n{one}\n{kept}"
        outcome = kept.outcome if kept is not None else None
        name = "lost" if kept is None or outcome is None else outcome.result.value
        self.tally.outcomes[f"dead {name}" if kept is not None and kept.state is State.DEAD else name] += 1
        self.tally.answers.update(answer.result.value for answer in one.answers)

    def _faults_of(self, one: Asked, kept: Entry | None) -> list[str]:
        there = one.of(self.vendor.organisation.events)
        wrong = [f"the vendor has it {len(there)} times"] if len(there) > 1 else []
        if kept is None or kept.outcome is None:
            wrong += ["it was taken and has no end"] if one.is_taken or kept is not None else []
            return wrong + (["the journal does not know of it, and it was done"] if there else [])
        result = kept.outcome.result
        if result in (Result.CONFIRMED, Result.CHANGED) and not there:
            wrong.append(f"it is {result.value}, and is not there")
        if result in NOT_DONE and there:
            wrong.append(f"it is {result.value}, and is there")
        if result is Result.UNKNOWN and kept.state is not State.DEAD:
            wrong.append("nobody knows, and no person is told")
        if result in (Result.QUEUED, Result.ACCEPTED):
            wrong.append(f"it ended as {result.value}")
        wrong += [f"its time is {event.start}, {event.end}" for event in there if not _has_its_time(event, kept)]
        for answer in one.answers[1:]:
            if answer.result not in (Result.QUEUED, Result.UNKNOWN, result):
                wrong.append(f"it was answered {answer.result.value}")
        return wrong

    def check_all(self) -> None:
        """At the end: what was there once is there once."""
        for one in self._asked:
            assert len(one.of(self.vendor.organisation.events)) <= 1, one

    async def end(self) -> None:
        await self._mend()
        await self._over()


_EITHER = ("latency", "time-out", "reset", "status")


def _has_its_time(event: Event, kept: Entry) -> bool:
    """The vendor has it with the time it was booked with, in whole seconds."""
    payload = (kept.action or {})["payload"]
    if "start_step" in payload:
        return bool(event.start == payload["start_step"]["start"].replace(microsecond=0))
    return bool(event.end == payload["finish_step"]["end"].replace(microsecond=0))


@contextlib.asynccontextmanager
async def chain(folder: Path, seed: str, way: int, tally: Tally | None = None) -> AsyncIterator[Chain]:
    """An organisation, a folder, and time that passes."""
    folder.mkdir()  # noqa: ASYNC240
    when_running, behaviour = WAYS[way % len(WAYS)]
    clock = VirtualClock(NOON, 0)
    async with TrackMyMachines(clock=clock, behaviour=Behaviour(**behaviour)) as vendor:
        vendor.faults.insert("MACHINE_001", "cycle", "2025-05-27T11:58:00Z", "2025-05-27T11:59:00Z", "1")
        vendor.faults.insert("MACHINE_002", "cycle", "2025-05-27T11:58:00Z", "2025-05-27T11:59:00Z", "1")
        one = Chain(folder, vendor, Random(seed), when_running, tally or Tally())
        passing = asyncio.create_task(_pass(clock))
        try:
            yield one
        finally:
            try:
                await one.end()
            finally:
                passing.cancel()
                await asyncio.gather(passing, return_exceptions=True)


async def _pass(clock: VirtualClock) -> None:
    while True:
        clock.advance(TICK_S)
        await asyncio.sleep(0.002)
