"""A bridge that is killed again and again beside a panel that is not, and what must be true of every command then.

    chain: [life: take over what the last one left -> check it, ask again -> new commands -> killed] -> [life …] -> …

One chain is one state directory, one panel, one broker. Each life is a process (see mortal.py). A life is killed at a
step of the journal, at a moment of the panel's (it has the request; it has done it and not answered), or at any time.
What must be true, whatever happened:

1. The panel did a command at most once, also when its id is published again.
2. Every command the journal took has an end, and the same id gets it as its answer.
3. Confirmed was done. Unreached, refused, superseded, expired, rejected was not. Only what nobody can know is dead.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import httpx
import psutil
from aiohttp import web

from bridge.sim.qitech.machines.base import Machine
from bridge.sim.qitech.panel import Panel, SimulatedMachine
from bridge.transport.mqtt import Link, Message
from tests.broker import broker
from tests.flow.plantfloor import HEAD, until

ROOT = Path(__file__).parents[2]
MACHINES = {f"extruder-{number}": SimulatedMachine("extruder_v1", number) for number in (1, 2, 3)}
MACHINES["winder-1"] = SimulatedMachine("winder_v1", 4)
TUNED = "extruder-3"
"""The machine that extrudes by pressure, so that its controller can be tuned."""

SITE = """
sources:
  panel-1:
    type: qitech
    url: "{url}"
    poll_period: 200ms
    writes: true
    allow_hazards: [heat, motion, power, protection, loses_data, loses_tension]
machines:
{machines}
northbound:
  opcua: {opcua}
  sparkplug: {{enabled: false}}
  uns:
    publish_interval: 500ms
    commands: {{enabled: true, role: Engineer}}
    broker: {{host: 127.0.0.1, port: {mqtt}}}
  status: {{port: 0}}
"""


class Kind(NamedTuple):
    """What can be asked. `wire` makes the mutation and the MQTT payload of a number from 0 to 1."""

    name: str
    machines: tuple[str, ...]
    wire: Callable[[float], tuple[Any, dict[str, Any]]]
    is_distinct: bool = True
    """Each one can be told from the others of its kind by its value."""
    is_knowable: bool = True
    """A readback tells whether this very command was done."""


def _set_point(mutation: str, high: float) -> Callable[[float], tuple[Any, dict[str, Any]]]:
    def wire(share: float) -> tuple[Any, dict[str, Any]]:
        value = round(share * high, 4)
        return {mutation: value}, {"value": value}

    return wire


def _bare(mutation: Any) -> Callable[[float], tuple[Any, dict[str, Any]]]:
    return lambda _: (mutation, {"args": {}})


def _pid(share: float) -> tuple[Any, dict[str, Any]]:
    gain = round(share * 50, 4)
    sent = {"kp": gain, "ki": 0.5, "kd": 0.25, "zone": "front"}
    return {"SetTemperaturePidSettings": sent}, {"args": {"Kp": gain, "Ki": 0.5, "Kd": 0.25}}


def _tuning(share: float) -> tuple[Any, dict[str, Any]]:
    swing = round(0.1 + share * 4, 4)
    sent = {"tune_delta": swing, "frequency_step_hz": 2.5}
    return {"StartPressurePidAutoTune": sent}, {"args": {"TuneDelta": swing, "FrequencyStep": 2.5}}


EXTRUDERS, WINDER = ("extruder-1", "extruder-2"), ("winder-1",)
KINDS = (
    Kind("Setpoints/ScrewSpeed", EXTRUDERS, _set_point("SetInverterTargetRpm", 44)),
    Kind("Setpoints/Temperature/Front", EXTRUDERS, _set_point("SetFrontHeatingTargetTemperature", 300)),
    Kind("Setpoints/PressureLimit", EXTRUDERS, _set_point("SetExtruderPressureLimit", 350)),
    Kind("SetPid/Front", EXTRUDERS, _pid),
    Kind("ResetInverter", EXTRUDERS, _bare({"ResetInverter": True}), is_distinct=False, is_knowable=False),
    Kind("StartPressureAutotune", (TUNED,), _tuning, is_knowable=False),
    Kind("GoHome", WINDER, _bare("GotoTraverseHome"), is_distinct=False, is_knowable=False),
    Kind("ZeroTensionArm", WINDER, _bare("ZeroTensionArmAngle"), is_distinct=False, is_knowable=False),
    Kind("ResetSpoolProgress", WINDER, _bare("ResetSpoolProgress"), is_distinct=False, is_knowable=False),
)


class Effect(NamedTuple):
    """What a machine was made to do."""

    serial: int
    mutation: str


def effect_of(serial: int, data: Any) -> Effect:
    return Effect(serial, json.dumps(data, sort_keys=True))


@dataclass(eq=False)
class Asked:
    """A command of a test's, and what it was answered."""

    id: str
    kind: Kind
    topic: str
    payload: bytes
    effect: Effect
    before: int
    """How often the panel had done the like."""
    crashes: int
    """How often the panel had crashed."""
    answers: list[dict[str, Any]] = field(default_factory=list)


class Kept(NamedTuple):
    """A command as the journal's file has it."""

    state: str
    result: str | None
    sentence: str
    is_rejected: bool
    steps: tuple[str, ...]
    old: Any
    """What the set point read before it was sent; None where the bridge had not read it."""

    @property
    def is_over(self) -> bool:
        return self.state in ("finished", "dead")


class Fate(NamedTuple):
    """Where a life ends: at a step of the journal's, or at the panel. `of` is the command it depends on."""

    of: Asked | None
    where: str
    """A state of the journal's, "received", "applied", or "any time"."""
    moment: str
    """Of the journal: before or after; of a request: dropped or late; of any time: seconds."""

    @property
    def name(self) -> str:
        return "any time" if self.where == "any time" else f"{self.moment} {self.where}"


STEPS = tuple(
    (state, moment) for state in ("accepted", "sending", "answered", "finished") for moment in ("before", "after")
)
HERE = ("received", "applied")
AT_PANEL = (("received", "dropped"), ("received", "late"), ("applied", "when"))


WENT_AWAY = "the client went away before the reply"
"""Why a 2.x panel crashes when the bridge is killed while it reads a machine: nothing the bridge can do about."""


class CountingPanel(Panel):
    """A panel that counts what its machines really did, and where a life may end."""

    def __init__(self, random: Random, **options: Any) -> None:
        super().__init__([*MACHINES.values()], live_rate_hz=5.0, **options)
        self.effects: Counter[Effect] = Counter()
        self.random = random
        self.fate: Fate | None = None
        self.kill: Callable[[], None] = lambda: None
        self.late: set[asyncio.Task[web.StreamResponse]] = set()
        for machine in self.known.values():
            machine.mutate = partial(self._mutate, machine, machine.mutate)  # type: ignore[method-assign]
        tuned = self.machine("extruder_v1", MACHINES[TUNED].serial)
        self._prepare = {tuned: [{"SetInverterRegulation": False}, {"SetExtruderMode": "Extrude"}]}
        self._prepare[self.machine("winder_v1", 4)] = [{"SetMode": "Hold"}]
        self.restart_delay_s = 1.0

    def prepare(self) -> None:
        """Somebody at the panel leaves Standby, where the machines are after a start."""
        for machine, mutations in self._prepare.items():
            for mutation in mutations if machine.mode == "Standby" else ():  # type: ignore[attr-defined]
                machine.mutate(mutation)

    def _mutate(self, machine: Machine, really: Callable[[Any], None], data: Any) -> None:
        really(data)
        self.effects[effect_of(machine.identity.serial, data)] += 1

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        if request.method != "POST" or not request.path.endswith("/mutate"):
            return await super()._forward(request)
        content = json.loads(await request.read())
        effect = effect_of(content["machine_identification_unique"]["serial"], content["data"])
        fate = self.fate
        if fate is not None and fate.where in HERE and fate.of is not None and fate.of.effect == effect:
            return await self._fatal(request, fate, effect)
        await asyncio.sleep(self.random.uniform(0.0, 0.03))
        response = await super()._forward(request)
        await asyncio.sleep(self.random.uniform(0.0, 0.03))
        return response

    async def _fatal(self, request: web.Request, fate: Fate, effect: Effect) -> web.StreamResponse:
        self.fate = None
        if fate.where == "applied":
            before = self.effects[effect]
            response = await super()._forward(request)
            await until(lambda: self.effects[effect] > before)
            self.kill()
            return response
        self.kill()
        if fate.moment == "dropped":
            await asyncio.sleep(60)  # the client is gone: the handler is cancelled
        task = asyncio.create_task(self._forward_late(request))
        self.late.add(task)
        task.add_done_callback(self.late.discard)
        return await asyncio.shield(task)

    async def _forward_late(self, request: web.Request) -> web.StreamResponse:
        """The request was in the panel's hands; it gets to it although nobody waits for the answer any more."""
        await asyncio.sleep(self.random.uniform(0.0, 3.0))
        return await super()._forward(request)


class Nursery:
    """Where bridges are forked."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._turn = asyncio.Lock()

    async def bear(self, site: Path, kill: dict[str, str] | None) -> int:
        """A new bridge's process id."""
        assert self._process.stdin is not None and self._process.stdout is not None
        order = {"site": str(site), "log": str(site.parent / "log"), "kill": kill}
        async with self._turn:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            return int(await self._process.stdout.readline())


class CommandLine:
    """Bridges started as a person does; they do not kill themselves."""

    async def bear(self, site: Path, kill: dict[str, str] | None) -> int:
        """A new bridge's process id."""
        assert kill is None
        with (site.parent / "log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bridge", "run", str(site), cwd=ROOT, stdout=log, stderr=log
            )
        return process.pid


@contextlib.asynccontextmanager
async def nursery() -> AsyncIterator[Nursery]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.flow.mortal",
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Nursery(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


@dataclass
class Tally:
    """What happened in a soak."""

    schedules: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    """In which state a life left a command."""
    outcomes: Counter[str] = field(default_factory=Counter)
    asked: int = 0
    panel_crashes: int = 0
    """Of 2.x panels whose machine was being read when the bridge was killed."""

    def told(self) -> str:
        parts = [f"{self.schedules} schedules, {self.asked} commands, {self.panel_crashes} panel crashes"]
        for name, counts in (("killed", self.kills), ("left", self.found), ("ended", self.outcomes)):
            parts.append(f"  {name}: " + ", ".join(f"{what} {count}" for what, count in sorted(counts.items())))
        return "\n".join(parts)


class Chain:
    """Lives of one bridge. Everything random comes from `random`."""

    def __init__(self, folder: Path, panel: CountingPanel, link: Link, random: Random, tally: Tally) -> None:
        self.folder, self.panel, self.random, self.tally = folder, panel, random, tally
        self.site = folder / "bridge.yaml"
        self._link = link
        self._pid = 0
        self._count = 0
        self._asked: dict[str, Asked] = {}
        self._unchecked: list[Asked] = []
        self._is_online = False
        panel.kill = self.kill

    # -- lives

    async def begin(self, nursery: Nursery | CommandLine, fate: Fate | None = None) -> None:
        """A new life; it ends by itself where its fate is a step of the journal's."""
        kill = None
        if fate is not None and fate.of is not None and (fate.where, fate.moment) in STEPS:
            kill = {"id": f":{fate.of.id}", "state": fate.where, "moment": fate.moment}
        self.panel.fate = fate
        self._is_online = False
        self._pid = await nursery.bear(self.site, kill)

    def kill(self) -> None:
        """SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            if self._pid:
                os.kill(self._pid, signal.SIGKILL)

    @property
    def is_dead(self) -> bool:
        return not psutil.pid_exists(self._pid)

    async def end(self) -> None:
        self.kill()
        await until(lambda: self.is_dead)
        self._pid = 0

    async def online(self) -> None:
        """It takes commands by topic."""
        await self._reaches(lambda: self._is_online)

    async def connected(self) -> None:
        """It takes commands and its panel is there."""
        await self.online()
        file = self.folder / "state" / "admin.json"
        async with asyncio.timeout(120), httpx.AsyncClient() as http:
            while True:
                self._still_lives()
                admin = json.loads(file.read_text())
                if admin["pid"] == self._pid and (await http.get(f"{admin['url']}/readyz")).status_code == 200:
                    return
                await asyncio.sleep(0.05)

    async def recovered(self) -> None:
        """Everything that was taken has an end."""
        await self._reaches(lambda: all(kept.is_over for kept in self.journal().values()), 180)

    async def _reaches(self, condition: Callable[[], bool], timeout_s: float = 120.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._still_lives()
                await asyncio.sleep(0.05)

    def _still_lives(self) -> None:
        if self.is_dead:
            raise AssertionError(f"the bridge ended by itself: {(self.folder / 'log').read_text()[-2000:]}")

    # -- commands

    def command(self, kind: Kind, machine: str = "") -> Asked:
        """A command that was never asked before."""
        self._count += 1
        machine = machine or self.random.choice(kind.machines)
        mutation, payload = kind.wire(self._count * 0.6180339887 % 1.0)  # far from its neighbours
        effect = effect_of(MACHINES[machine].serial, mutation)
        identifier = f"k{self._count}"
        asked = Asked(
            identifier,
            kind,
            f"acme/essen/a/{machine}/cmd/{kind.name}",
            json.dumps({**payload, "id": identifier}).encode(),
            effect,
            self.panel.effects[effect],
            len(self.panel.crashes),
        )
        self._asked[identifier] = asked
        return asked

    def commands(self, count: int) -> list[Asked]:
        """Some commands; of those that cannot be told apart never two that are open."""
        taken = {one.effect for one in self._unchecked if not one.kind.is_distinct}
        some = []
        for _ in range(count):
            one = self.command(self.random.choice(KINDS))
            if one.effect not in taken:
                some.append(one)
            if not one.kind.is_distinct:
                taken.add(one.effect)
        return some or [self.command(KINDS[0])]

    def publish(self, asked: Asked) -> None:
        """Ask for it, perhaps again."""
        if asked not in self._unchecked:
            self._unchecked.append(asked)
        self._link.publish(Message(asked.topic, asked.payload, qos=1))

    async def listen(self) -> None:
        """Take in what the bridge says, for ever."""
        async for message in self._link.messages():
            if message.topic.endswith("/online"):
                self._is_online = json.loads(message.payload)["online"]
            elif message.topic.endswith("/result"):
                answer = json.loads(message.payload)
                self._asked[answer["id"]].answers.append(answer)

    def journal(self) -> dict[str, Kept]:
        """Every command of the journal by the test's id; what got in hides what was only rejected."""
        file = self.folder / "state" / "journal.db"
        with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            rows = database.execute(
                "SELECT id, state, rejected, progress FROM command ORDER BY rejected DESC, position"
            )
            return {row[0].rpartition(":")[2]: _kept(*row[1:]) for row in rows}

    # -- one schedule

    async def doomed(self, some: list[Asked], fate: Fate) -> None:
        """Ask, until the life ends as it must; one whose fate is never met ends when everything is answered."""
        self.panel.prepare()
        for one in some:
            self.publish(one)
            await asyncio.sleep(self.random.choice((0.0, 0.0, 0.02)))
        if fate.where == "any time":
            await asyncio.sleep(float(fate.moment))
            self.kill()
        met = True
        async with asyncio.timeout(120):
            while not self.is_dead:
                if all(one.answers for one in some):
                    met = self.is_dead
                    self.kill()
                await asyncio.sleep(0.02)
        self._pid = 0
        self.tally.schedules += 1
        self.tally.asked += len(some)
        self.tally.kills[fate.name if met else "never met: after every answer"] += 1
        left = self.journal()
        for one in some:
            kept = left.get(one.id)
            self.tally.found[kept.state if kept else "nothing"] += 1

    async def settle(self) -> None:
        """Check what earlier lives left, and ask for all of it again."""
        await self.recovered()
        await self._wait_for_the_late()
        left = self.journal()
        for one in self._unchecked:
            self._judge(one, left.get(one.id))
        heard = {one: len(one.answers) for one in self._unchecked}
        for one in self._unchecked:
            self.publish(one)
        await self._reaches(lambda: all(len(one.answers) > count for one, count in heard.items()))
        now = self.journal()
        for one in self._unchecked:
            self._judge(one, now.get(one.id))
            self._compare(one, left.get(one.id), one.answers[-1])
            self.tally.outcomes[_name(now.get(one.id))] += 1
        self._unchecked.clear()

    async def _wait_for_the_late(self) -> None:
        if self.panel.late:
            await asyncio.wait({*self.panel.late})
        await asyncio.sleep(0.05)  # 3.x and 2.x do a mutation one cycle after they took it

    def _judge(self, one: Asked, kept: Kept | None) -> None:
        for fault in self._faults(one, kept):
            raise AssertionError(f"{one.id} {one.topic} {one.payload.decode()}: {fault}; {kept}; answers {one.answers}")

    def _faults(self, one: Asked, kept: Kept | None) -> Iterator[str]:
        done = self.panel.effects[one.effect] - one.before
        if done > 1:
            yield f"the panel did it {done} times"
        if kept is None:
            if done:
                yield "the panel did it, and the journal knows nothing of it"
            return
        if not kept.is_over:
            yield "it has no end"
        if kept.result in ("confirmed", "accepted") and not done:
            yield "it was never done"
        is_lost = len(self.panel.crashes) > one.crashes  # and with it perhaps what had been done
        if kept.result in ("unreached", "superseded", "expired", "rejected") and done:
            yield "it was done"
        if kept.result == "refused" and done and not is_lost:
            yield "it was done"
        if kept.result in ("changed", "queued"):
            yield "nothing made it so"
        if kept.state == "dead" and one.kind.is_knowable and not is_lost and self._was_known(one, kept):
            yield "it is left to a person, and reading would have told"
        for answer in one.answers:
            # who is rejected is told at once, and a kill may come before that is written: then the id means nothing yet
            if answer["result"] not in ("rejected", kept.result):
                yield f"it was answered {answer['result']}"

    def _was_known(self, one: Asked, kept: Kept) -> bool:
        """What a set point was before it was sent: the bridge had read it, or saw what the last one there made it."""
        if kept.old is not None or not one.kind.name.startswith("Setpoints/"):
            return True
        journal = self.journal()
        earlier = takewhile(lambda other: other is not one, self._asked.values())
        kept_earlier = [(other, journal.get(other.id)) for other in earlier if other.topic == one.topic]
        sent = [(other, end.result) for other, end in kept_earlier if end is not None and "sending" in end.steps]
        effective = [(other, result) for other, result in sent if result not in ("refused", "unreached")]
        if not effective:
            return False
        last, result = effective[-1]
        return result == "confirmed" and last.crashes == len(self.panel.crashes)

    def _compare(self, one: Asked, kept: Kept | None, answer: dict[str, Any]) -> None:
        if kept is not None and (answer["result"], answer["sentence"]) != (kept.result, kept.sentence):
            raise AssertionError(f"{one.id}: the journal says {kept}, and the same id is answered {answer}")

    def check_all(self) -> None:
        """At the end: nothing was done twice, ever; what cannot be told apart not oftener than it was asked."""
        asked = Counter(one.effect for one in self._asked.values())
        for effect, count in asked.items():
            assert self.panel.effects[effect] <= count, f"{effect} was done {self.panel.effects[effect]} times"
        assert self.panel.forbidden_requests == 0
        self.tally.panel_crashes += len(self.panel.crashes)
        assert {reason for reason in self.panel.crashes if not reason.endswith(WENT_AWAY)} == set()


def _kept(state: str, is_rejected: int, told: str) -> Kept:
    progress = json.loads(told)
    steps = tuple(step for step, _, _ in progress["history"])
    return Kept(state, progress.get("result"), progress.get("sentence", ""), bool(is_rejected), steps, progress["old"])


def _name(kept: Kept | None) -> str:
    if kept is None:
        return "lost"
    return "dead letter" if kept.state == "dead" else str(kept.result)


@contextlib.asynccontextmanager
async def chain(
    folder: Path, seed: str, *, release: str, opcua: str = "{enabled: false}", tally: Tally | None = None
) -> AsyncIterator[Chain]:
    """A panel, a broker and a folder, for one life after the other."""
    folder.mkdir(exist_ok=True)  # noqa: ASYNC240
    random = Random(seed)
    async with contextlib.AsyncExitStack() as stack:
        mqtt = await stack.enter_async_context(broker())
        panel = await stack.enter_async_context(CountingPanel(random, release=release))
        link = await stack.enter_async_context(Link.connect(mqtt.config, "commander"))
        machines = "\n".join(
            f"  - {{id: {name}, area: a, source: panel-1, machine: {{slug: {one.slug}, serial: {one.serial}}}}}"
            for name, one in MACHINES.items()
        )
        text = HEAD + SITE.format(url=panel.url, machines=machines, mqtt=mqtt.port, opcua=opcua)
        (folder / "bridge.yaml").write_text(text)
        one = Chain(folder, panel, link, random, tally or Tally())
        await link.subscribe("acme/essen/_bridge/bridge-1/online", 1)
        await link.subscribe("acme/essen/a/+/cmd/#", 1)
        listening = asyncio.create_task(one.listen())
        try:
            yield one
        finally:
            await one.end()
            listening.cancel()
            await asyncio.gather(listening, *panel.late, return_exceptions=True)


async def both(*work: Awaitable[None]) -> None:
    """Side by side; the first failure ends the others."""
    async with asyncio.TaskGroup() as group:
        for one in work:
            group.create_task(_awaited(one))


async def _awaited(work: Awaitable[None]) -> None:
    await work
