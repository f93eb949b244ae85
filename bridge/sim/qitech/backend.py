"""The control process behind the panel's door: machines, their queues, the ticker, the Socket.IO queue.

One object is one life of the process. It dies of a panic, is thrown away, and a new one boots with the same machines.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Any

from bridge.ports import Clock
from bridge.sim.qitech import packets
from bridge.sim.qitech.catalogue import VENDOR, Identity, Release
from bridge.sim.qitech.emitter import Emitter
from bridge.sim.qitech.load import LoadTemplate
from bridge.sim.qitech.machines.base import Machine, Stream
from bridge.sim.qitech.mailbox import Died, Mailbox
from bridge.sim.qitech.serde import Ignored, Panic

_LOG = logging.getLogger(__name__)

NOMINAL_RATE_HZ = 30.0
MIN_TICK_S = 0.004
"""Streams due within one tick go out together, so that 3 000 events a second cost 250 wake-ups, not 3 000."""
PHYSICS_RATE_HZ = 30.0
PANIC_EXIT_S = 0.07
"""From a panic to the end of the process, as recorded: the answer to the deadly request gets out before."""


@dataclass
class Settings:
    """What of a panel can be set, and what faults change while it runs. Shared by all lives of the process."""

    live_rate_hz: float = NOMINAL_RATE_HZ
    load: bool = False
    clock_offset_s: float = 0.0
    reply_delay_s: float = 0.0
    reply_window_s: float = 0.005
    """Between a GET's message to the machine and its reply: on 2.x a client that goes away in it kills the process."""
    drop_states: int = 0
    """So many StateEvents to come are lost."""
    boot_s: float = 0.2
    """From open port to all machines listed and MachinesEvent."""


@dataclass
class _Mutation:
    data: Any


@dataclass
class _Question:
    reply: asyncio.Future[dict[str, Any]]


@dataclass(order=True)
class _Due:
    at: float
    order: int
    machine: Machine = field(compare=False)
    stream: Stream | None = field(compare=False)
    """None: time passes for the machine."""


class Backend:
    """One life of the control process."""

    def __init__(
        self,
        machines: list[Machine],
        release: Release,
        clock: Clock,
        settings: Settings,
        rng: Random,
        on_death: Callable[[str], None],
    ) -> None:
        self.release = release
        self.clock = clock
        self.settings = settings
        self.emitter = Emitter(release.event_capacity)
        self.machines: dict[Identity, Machine] = {}
        """Those that are listed."""
        self.channels: dict[Identity, Mailbox] = {}
        """Command channels. 3.x keeps the channel of a machine that is gone; what is sent there is lost."""
        self._main: dict[str, bytes] = {}
        """/main events, last of each kind."""
        self._rng = rng
        self.alive = True
        self._panicking = False
        self._present = machines
        self._on_death = on_death
        self._unanswered: set[asyncio.Future[dict[str, Any]]] = set()
        """GETs whose reply is still to come."""
        self._templates: dict[tuple[Identity, str, str], LoadTemplate] = {}
        self._schedule: list[_Due] = []
        self._order = itertools.count()
        self._last: dict[Identity, float] = {}

    # -- life and death

    def begin(self, booted: bool) -> None:
        """The first instant. `booted`: as if it had been running for long.

        Otherwise the list of a 2.x panel grows while machines are added, and neither release announces any machine
        before EtherCAT has reached OP.
        """
        for machine in self._present:
            machine.boot()
        if booted:
            self._complete()
            return
        for machine in self._present[: len(self._present) // 2 if self.release.major == 2 else None]:
            self.add(machine)
        self._emit_main("EthercatInterfaceDiscoveryEvent", {"Discovering": True})

    async def run(self) -> None:
        """Boot to the end, then tick, until cancelled."""
        if "MachinesEvent" not in self._main:
            await self.clock.sleep(self.settings.boot_s)
            self._complete()
        await self._tick()

    def _complete(self) -> None:
        for machine in self._present:
            self.add(machine)
        self.announce_machines()

    def panic(self, reason: str) -> None:
        """The control loop panics: nothing moves any more, and a moment later the process exits."""
        if not self.alive or self._panicking:
            return
        self._panicking = True
        for channel in self.channels.values():
            channel.stall(True)
        asyncio.get_running_loop().call_later(PANIC_EXIT_S, self.die, reason)

    def die(self, reason: str) -> None:
        """The process exits by itself: everything in flight is lost."""
        if self.alive:
            self.stop()
            self._on_death(reason)

    def stop(self) -> None:
        """The process is stopped."""
        self.alive = False
        self.emitter.close()
        for channel in self.channels.values():
            channel.close()
        for reply in list(self._unanswered):
            if not reply.done():
                reply.set_exception(Died())

    def require_alive(self) -> None:
        """Raises Died when the process is gone."""
        if not self.alive:
            raise Died

    # -- machines

    def add(self, machine: Machine) -> None:
        """The machine was found; does nothing if it is there already."""
        if machine.identity in self.machines:
            return
        self.machines[machine.identity] = machine
        machine.neighbours = lambda: set(self.machines)
        self.channels[machine.identity] = Mailbox(
            self.release.queue_capacity, lambda message: self._act(machine, message), machine.drains
        )
        self._last[machine.identity] = self.clock.monotonic()
        machine.advance(1 / PHYSICS_RATE_HZ)  # one cycle: without it nothing has been measured yet
        machine.outbox.clear()
        self._enter_schedule(machine)

    def remove(self, identity: Identity) -> None:
        """The machine is gone from the list."""
        machine = self.machines.pop(identity, None)
        if machine is None:
            return
        machine.namespace = None
        self._schedule = [due for due in self._schedule if due.machine is not machine]
        heapq.heapify(self._schedule)
        _lose(self.channels.pop(identity).close())
        if self.release.major >= 3:
            self.channels[identity] = Mailbox(self.release.queue_capacity, lambda _: None, drains=True)

    def find(self, machine: int, serial: int) -> Machine | None:
        """A listed machine that has no error."""
        found = self.machines.get(Identity(machine, serial))
        return found if found is not None and found.error is None else None

    def listing(self) -> list[dict[str, Any]]:
        """/api/v2/machine. Panics where a machine has no slug."""
        for machine in self.machines.values():
            if not self.release.has_slug(machine.slug):
                raise Panic(f"no slug for machine {machine.identity}")
        return [describe(machine) for machine in self.machines.values()]

    async def send(self, identity: Identity, data: Any) -> None:
        """Queue a mutation. Raises KeyError for an unknown machine, Died."""
        await self.channels[identity].put(_Mutation(data))

    async def ask(self, machine: Machine) -> dict[str, Any]:
        """State and live values of one instant. A caller that goes away before the reply kills a 2.x process."""
        reply: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._unanswered.add(reply)
        try:
            await self.channels[machine.identity].put(_Question(reply))
            return await reply
        finally:
            self._unanswered.discard(reply)

    def _act(self, machine: Machine, message: _Mutation | _Question) -> None:
        if isinstance(message, _Question):
            self._answer(machine, message.reply)
            return
        try:
            machine.mutate(message.data)
        except Ignored as why:
            _LOG.debug("Machine %s ignores a mutation: %s", machine.identity, why)
        except Panic as panic:
            self.panic(str(panic))
            return
        self._send_outbox(machine)

    def _answer(self, machine: Machine, reply: asyncio.Future[dict[str, Any]]) -> None:
        answer = {"state": machine.shown_rest_state(), "live_values": machine.shown_live_values()}
        delay = self.settings.reply_window_s + self.settings.reply_delay_s
        asyncio.get_running_loop().call_later(delay, self._reply, machine, reply, answer)

    def _reply(self, machine: Machine, reply: asyncio.Future[dict[str, Any]], answer: dict[str, Any]) -> None:
        if not self.alive or self._panicking:
            return
        if reply.cancelled():
            self.panic(f"{machine.slug}: Failed to send values: the client went away before the reply")
        elif not reply.done():
            reply.set_result(answer)

    # -- events

    def timestamp(self) -> int:
        """The panel's clock in milliseconds since the epoch."""
        moment = self.clock.now() + timedelta(seconds=self.settings.clock_offset_s)
        return int(moment.timestamp() * 1000)

    def announce_machines(self) -> None:
        """MachinesEvent, and the EtherCAT events that come with it."""
        machines = [
            {"machine_identification_unique": machine.identity.as_json(), "error": machine.error}
            for machine in self.machines.values()
        ]
        self._emit_main("MachinesEvent", {"machines": machines})
        self._emit_main("EthercatDevicesEvent", {"Done": {"devices": []}})
        if self.release.major >= 3:
            self._emit_main("EthercatStateEvent", {"State": "op"})
        self._emit_main("EthercatInterfaceDiscoveryEvent", {"Done": "eno1"})

    def _emit_main(self, name: str, data: Any) -> None:
        frame = packets.binary_frame(packets.event("/main", name, data, self.timestamp()))
        self._main[name] = frame
        self.emitter.emit("/main", frame)

    def replay(self) -> list[bytes]:
        """What who connects to /main gets: the last event of each kind, in no particular order, as recorded."""
        frames = list(self._main.values())
        self._rng.shuffle(frames)
        return [] if self.emitter.closed else frames

    def emit(self, machine: Machine, name: str, data: Any) -> None:
        """Send one event of a machine to whoever listens."""
        if machine.namespace is None:
            return
        if name == machine.state_name and self.settings.drop_states > 0:
            self.settings.drop_states -= 1
            self.emitter.dropped += 1
            return
        frame = packets.event(machine.namespace, name, data, self.timestamp())
        self.emitter.emit(machine.namespace, packets.binary_frame(frame))

    def subscribe(self, namespace: str, identity: Identity) -> None:
        """Somebody connected to the machine's namespace: everybody in it hears the machine (again)."""
        machine = self.machines.get(identity)
        if machine is None or machine.error is not None or self._panicking:
            return
        machine.namespace = namespace
        machine.announce()
        self._send_outbox(machine)

    def unsubscribe(self, identity: Identity) -> None:
        """Somebody left: nobody hears the machine any more. On 2.x a laser takes the whole queue with it."""
        machine = self.machines.get(identity)
        if machine is None:
            return
        if machine.slug == "laser_v1" and self.release.major == 2:
            if machine.namespace is None:
                self.panic("laser_v1: not yet implemented: unsubscribe without a namespace")
                return
            self.emitter.close()
        machine.namespace = None

    def _send_outbox(self, machine: Machine) -> None:
        for name, data in machine.outbox:
            self.emit(machine, name, data)
        machine.outbox.clear()

    # -- time

    def _enter_schedule(self, machine: Machine) -> None:
        now = self.clock.monotonic()
        streams: list[Stream | None] = [*machine.streams(), None]
        for stream in streams:
            # Spread over the period, so that a hundred machines do not all speak in the same millisecond.
            order = next(self._order)
            delay = self._period(stream) * ((order * 0.618034) % 1.0)
            heapq.heappush(self._schedule, _Due(now + delay, order, machine, stream))

    def _period(self, stream: Stream | None) -> float:
        if stream is None:
            return 1 / PHYSICS_RATE_HZ if not self.settings.load else 1.0
        return NOMINAL_RATE_HZ / (stream.rate_hz * self.settings.live_rate_hz)

    async def _tick(self) -> None:
        while not self._panicking:
            now = self.clock.monotonic()
            while self._schedule and self._schedule[0].at <= now:
                due = self._schedule[0]
                self._happen(due, now)
                due.at = max(due.at + self._period(due.stream), now - 0.1)
                if self._schedule and self._schedule[0] is due:
                    heapq.heapreplace(self._schedule, due)
            wait = self._schedule[0].at - self.clock.monotonic() if self._schedule else 0.05
            await self.clock.sleep(max(MIN_TICK_S, wait))

    def _happen(self, due: _Due, now: float) -> None:
        machine = due.machine
        if due.stream is None:
            machine.advance(max(0.0, now - self._last[machine.identity]))
            self._last[machine.identity] = now
            self._send_outbox(machine)
        elif machine.error is None and machine.namespace is not None:
            self._send_stream(machine, due.stream)

    def _send_stream(self, machine: Machine, stream: Stream) -> None:
        if not self.settings.load:
            self.emit(machine, stream.name, stream.data())
            return
        namespace = machine.namespace or ""
        key = (machine.identity, namespace, stream.name)
        template = self._templates.get(key)
        if template is None:
            template = self._templates[key] = LoadTemplate(namespace, stream.name, stream.data())
        self.emitter.emit(namespace, template.frame(self.timestamp()))


def _lose(messages: list[_Mutation | _Question]) -> None:
    for message in messages:
        if isinstance(message, _Question) and not message.reply.done():
            message.reply.set_exception(Died())


def describe(machine: Machine) -> dict[str, Any]:
    """A machine as /api/v2 names it."""
    return {
        "legacy_id": machine.identity.as_json(),
        "serial": machine.identity.serial,
        "vendor": VENDOR,
        "slug": machine.slug,
        "error": machine.error,
    }
