"""A plant whose MQTT broker fails in every way, and what must be true of each face, host and reader when it is back.

    simulators -> bridge -> road (may be closed, slow, silent, elsewhere) -> mosquitto -> an observer and a commander

The observer reads everything and is a Sparkplug host; the commander books steps until each is answered. They stand at
the broker itself: they are back before the bridge is let in, so that what the bridge says once cannot be missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import signal
import subprocess
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from bridge.errors import LinkError
from bridge.model.command import Result
from bridge.northbound.sparkplug import node as sparkplug_node
from bridge.northbound.sparkplug.session import REBIRTH
from bridge.northbound.uns import publisher as uns_publisher
from bridge.runtime.bridge import Bridge
from bridge.sim.qitech.panel import Panel, SimulatedMachine
from bridge.sim.trackmymachines import Behaviour, TrackMyMachines
from bridge.transport.clock import SystemClock
from bridge.transport.mqtt import BrokerConfig, Link, Message
from tests.broker import Mosquitto, free_port
from tests.flow.plantfloor import HEAD, expected_sparkplug, expected_uns, until
from tests.northbound.sparkplug.host import Host
from tests.northbound.sparkplug.schema import encode
from tests.road import Name, Road
from tests.sites import make_site

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    import pytest

    from bridge.model.tag import Tag

EXTRUDER = SimulatedMachine("extruder_v1", 57922)
WORDS = {"bridge": "word of the bridge", "observer": "word of the observer"}
HOST_NAME = "broker.plant.test"
FACES = ("Sparkplug", "UNS")
SPARKPLUG, UNS = "spBv1.0/acme:essen", "acme/essen/a"
BOOLEAN = 11
KEEP_ALIVE_S = 5.0
STALE = 99.0
"""A screw speed that is only asked for by commands from the past."""
ONLINE = "acme/essen/_bridge/bridge-1/online"
SPEED, START = f"{UNS}/extruder-1/cmd/Setpoints/ScrewSpeed", f"{UNS}/mill-1/cmd/StartStep"
END = "acme/end"
RESTING = ("Setpoints", "Identification", "Alarms", "Connection", "Sources")
"""Groups whose values do not change at every moment."""

SITE = """
sources:
  panel: {{type: qitech, url: "{panel}", poll_period: 200ms, writes: true, allow_hazards: [motion]}}
  tmm: {{type: trackmymachines, events_url: "{app}", step_events_url: "{com}", api_key: "{key}", period: 5s,
         requests_per_minute: 6000, writes: true, allow: {{part: "PART[0-9]+"}}, user_email: operator@example.com,
         when_running: finish_first}}
machines:
  - {{id: extruder-1, area: a, source: panel, machine: {{slug: extruder_v1, serial: 57922}}}}
  - {{id: mill-1, area: a, source: tmm, machine: {{foreign_id: MACHINE_001, display_name: Machine 1, number: 6}}}}
northbound:
  opcua: {{enabled: false}}
  sparkplug:
    publish_interval: 100ms
    commands: {{enabled: true}}
    broker: &broker
      {{host: {name}, port: {port}, protocol: "{protocol}", keep_alive: {keep_alive:g}, username: bridge,
       password: "${{file:{secret}}}"}}
  uns: {{publish_interval: 100ms, commands: {{enabled: true}}, broker: *broker}}
  status: {{port: 0}}
"""


class MoodyMosquitto(Mosquitto):
    """mosquitto with passwords, and a memory on disk that may be lost."""

    def __init__(self, folder: Path) -> None:
        self._passwords, self._memory = folder / "passwords", folder / "mosquitto.db"
        super().__init__(
            (
                *("allow_anonymous false", f"password_file {self._passwords}"),
                *("persistence true", f"persistence_location {folder}/", "max_inflight_messages 0"),
            )
        )
        self.know(**WORDS)

    def know(self, **words: str) -> None:
        """Whom it lets in, from its next start or SIGHUP on."""
        self._passwords.write_text("".join(f"{user}:{word}\n" for user, word in words.items()))
        self._passwords.chmod(0o600)
        subprocess.run(["mosquitto_passwd", "-U", str(self._passwords)], check=True)

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    async def end(self) -> None:
        """As an administrator does, so that it writes down what it holds."""
        process = self._process
        assert process is not None
        process.terminate()
        await process.wait()
        await self.stop()

    async def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            await super().stop()

    def forget(self) -> None:
        self._memory.unlink(missing_ok=True)

    def limit(self, connections: int | None) -> None:
        """How many clients it takes, from its next start on."""
        self._lines = tuple(line for line in self._lines if not line.startswith("max_connections"))
        if connections is not None:
            self._lines = (self._lines[0], f"max_connections {connections}", *self._lines[1:])

    def config_of(self, user: str, protocol: str) -> BrokerConfig:
        told = {"protocol": protocol, "username": user, "password": SecretStr(WORDS[user]), "keep_alive": 3600}
        return self.config.model_copy(update=told)


class Ear(logging.Handler):
    """Keeps what the bridge logs."""

    def __init__(self, said: list[logging.LogRecord]) -> None:
        super().__init__(logging.INFO)
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append(record)


@contextlib.contextmanager
def listening(said: list[logging.LogRecord]) -> Iterator[None]:
    logger, ear = logging.getLogger("bridge"), Ear(said)
    before = logger.level
    logger.addHandler(ear)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(ear)
        logger.setLevel(before)


class Observer:
    """Reads everything over as many connections as it takes, and is a host that asks for births it has missed."""

    def __init__(self, broker: MoodyMosquitto, protocol: str) -> None:
        self.host = Host()
        self.is_there = False
        self.connections = 0
        self.events: dict[str, int] = {}
        """How often each was heard."""
        self.answers: dict[str, dict[str, Any]] = {}
        """By the id that was asked."""
        self.broken: list[str] = []
        self._broker = broker
        self._protocol = protocol
        self._is_following = False

    async def run(self) -> None:
        while True:
            with contextlib.suppress(LinkError):
                async with Link.connect(self._broker.config_of("observer", self._protocol), "observer") as link:
                    await link.subscribe("spBv1.0/#")
                    await link.subscribe("acme/#")
                    self._start_anew()
                    self.is_there = True
                    self.connections += 1
                    link.publish(Message(f"{SPARKPLUG}/NCMD/bridge-1", encode((REBIRTH, BOOLEAN, True))))
                    link.publish(Message(SPEED, b'{"value": 99}', 1, retain=True))
                    async for message in link.messages():
                        self._hear(message)
            self.is_there = False
            await asyncio.sleep(0.02)

    def _start_anew(self) -> None:
        self.broken += self.host.broken
        self.host, self._is_following = Host(), False

    def _hear(self, message: Message) -> None:
        levels = message.topic.split("/")
        if levels[0] == "spBv1.0":
            self._follow(levels[2], message)
        elif "event" in levels:
            identifier = json.loads(message.payload)["id"]
            self.events[identifier] = self.events.get(identifier, 0) + 1
        elif levels[-1] == "result" and message.payload:
            answer = json.loads(message.payload)
            self.answers[str(answer.get("id"))] = answer

    def _follow(self, kind: str, message: Message) -> None:
        if kind.endswith("CMD"):
            return
        self._is_following |= kind == "NBIRTH"
        if self._is_following:
            self.host.hear(message.topic, message.payload, message.qos, message.retain)


class Chaos:
    """Everything there is. `faults` are the ways in which the broker fails, by name."""

    def __init__(self, broker: MoodyMosquitto, road: Road, name: Name, protocol: str) -> None:
        self.broker = broker
        self.road = road
        self.name = name
        self.protocol = protocol
        self.observer = Observer(broker, protocol)
        self.bridge: Bridge
        self.panel: Panel
        self.vendor: TrackMyMachines
        self.booked: list[str] = []
        self.expired: list[str] = []
        self._said: list[logging.LogRecord] = []
        self._earlier: set[str] = set()
        self._turns = 0

    # -- the ways to fail ---------------------------------------------------------------------------------------------

    @property
    def faults(self) -> dict[str, Callable[[float], Awaitable[None]]]:
        return {
            "kill": self.kill,
            "restart": self.restart,
            "lose_memory": self.lose_memory,
            "freeze": self.freeze,
            "slow": self.slow,
            "wrong_password": self.wrong_password,
            "full": self.full,
            "port_closed": self.port_closed,
            "no_name": self.no_name,
            "move": self.move,
            "silence": self.silence,
        }

    async def kill(self, seconds: float) -> None:
        await self._without_broker(seconds, self.broker.stop)

    async def restart(self, seconds: float) -> None:
        await self._without_broker(seconds, self.broker.end)

    async def lose_memory(self, seconds: float) -> None:
        await self._without_broker(seconds, self.broker.stop, self.broker.forget)

    async def freeze(self, seconds: float) -> None:
        """The process stands still; what is asked of it meanwhile comes late."""
        self.broker.signal(signal.SIGSTOP)
        try:
            await self.ask_late(seconds)
        finally:
            self.broker.signal(signal.SIGCONT)

    async def slow(self, seconds: float) -> None:
        """Too slow for all that is to be said at the beginning of a session."""
        self.road.rate = 4000
        await self.road.cut()
        await asyncio.sleep(seconds)
        self.road.rate = None

    async def wrong_password(self, seconds: float) -> None:
        self.broker.know(**{**WORDS, "bridge": "another"})
        await self._without_broker(0, self.broker.stop)
        await asyncio.sleep(seconds)
        self.broker.know(**WORDS)
        self.broker.signal(signal.SIGHUP)

    async def full(self, seconds: float) -> None:
        """The observer, and nobody else."""
        self.broker.limit(1)
        await self._without_broker(0, self.broker.stop)
        await asyncio.sleep(seconds)
        self.broker.limit(None)
        await self._without_broker(0, self.broker.stop)

    async def port_closed(self, seconds: float) -> None:
        await self.road.close()
        await asyncio.sleep(seconds)
        await self.road.open(self.name.address or "")

    async def no_name(self, seconds: float) -> None:
        address, self.name.address = self.name.address, None
        await self.road.cut()
        await asyncio.sleep(seconds)
        self.name.address = address

    async def move(self, seconds: float) -> None:
        """To another address, and what it held stays behind."""
        await self.road.close()
        await self.lose_memory(seconds)
        await self.road.close()
        self.name.address = "127.0.0.2" if self.name.address == "127.0.0.1" else "127.0.0.1"
        await self.road.open(self.name.address)

    async def silence(self, seconds: float) -> None:
        """Nothing comes through, and nobody is told: only the keep-alive tells."""
        self.road.is_silent = True
        await asyncio.sleep(seconds)
        self.road.is_silent = False

    async def _without_broker(self, seconds: float, *end: Callable[[], Any]) -> None:
        """The bridge is let in when those are there who must not miss anything."""
        before = self.observer.connections
        await self.road.close()
        for act in end:
            done = act()
            if done is not None:
                await done
        await asyncio.sleep(seconds)
        await self.broker.start()
        await until(lambda: self.observer.connections > before)
        await self.road.open(self.name.address or "")

    # -- what goes on meanwhile ---------------------------------------------------------------------------------------

    async def change_at_machine(self) -> None:
        """Somebody turns a knob: an event."""
        self._turns += 1
        identity = self.panel.machine(EXTRUDER.slug, EXTRUDER.serial).identity
        await self.panel.backend.send(identity, {"SetInverterTargetRpm": 10.0 + self._turns % 50})

    async def book(self) -> None:
        """Start a step, and ask again with the same id until it is answered."""
        number = len(self.booked) + 1
        part, identifier = f"PART{number}", f"booking-{number}"
        self.booked.append(part)
        document = {"args": {"PartUniqueIdentifier": part, "StepNumber": "10"}, "id": identifier}
        while identifier not in self.observer.answers:
            with contextlib.suppress(LinkError, TimeoutError):
                async with Link.connect(self.broker.config_of("observer", self.protocol), "commander") as link:
                    link.publish(Message(START, json.dumps(document).encode(), 1))
                    await until(lambda: identifier in self.observer.answers, 0.7)
            await asyncio.sleep(0.05)

    async def ask_late(self, seconds: float) -> None:
        """A command that the broker hands on when its time is over."""
        identifier = f"late-{len(self.expired) + 1}"
        ends = SystemClock().now().timestamp() + seconds / 2
        document = {"value": STALE, "id": identifier, "expires": datetime.fromtimestamp(ends, UTC).isoformat()}
        asking = asyncio.create_task(self._ask(json.dumps(document).encode()))
        self.expired.append(identifier)
        await asyncio.sleep(seconds)
        self._asking = asking

    async def _ask(self, content: bytes) -> None:
        """Over a socket of its own, made while the broker stands still: the system takes it in its place."""
        with contextlib.suppress(LinkError):
            async with Link.connect(self.broker.config_of("observer", self.protocol), "late") as link:
                link.publish(Message(SPEED, content, 1))
                await link.flush(10)

    # -- what must be true --------------------------------------------------------------------------------------------

    async def settle(self, *said: bool) -> None:
        """Wait until everybody holds what the table holds; each face has `said` lines: down (False) and up (True)."""
        with contextlib.suppress(TimeoutError):
            await until(lambda: self._is_over(said) and not self.wrong(), 40)
        for _ in range(100):
            if not (wrong := await self.wrong_retained()):
                break
            await asyncio.sleep(0.1)
        assert not (wrong := self.wrong() + wrong), wrong
        lines = self.lines()
        self._said.clear()
        for face in FACES:
            states = [is_up for who, is_up, _ in lines if who == face]
            assert states in (list(said), [False, True] * (len(states) // 2)), lines
            assert len(states) <= max(2, len(said)), lines
        others = [line for who, _, line in lines if who == ""]
        assert not others, others

    def _is_over(self, said: tuple[bool, ...]) -> bool:
        """What is to be noticed was."""
        lines = self.lines()
        return all(is_up in [one for who, one, _ in lines if who == face] for face in FACES for is_up in said)

    def lines(self) -> list[tuple[str, bool, str]]:
        """What the bridge logged: the face (or "" for something else that is a warning), up or down, the line."""
        found = []
        for record in self._said:
            line = record.getMessage()
            if re.search("online again|is there again", line):
                found.append(("Sparkplug" if "Sparkplug" in line else "UNS", True, line))
            elif re.search("is not connected to|cannot be used", line):
                found.append(("Sparkplug" if "Sparkplug" in line else "UNS", False, line))
            elif record.levelno >= logging.WARNING and record.name.startswith("bridge."):
                found.append(("", False, line))
        return found

    def tags(self) -> list[Tag]:
        """Those that rest."""
        plant = self.bridge.table.plant
        tags = [tag for machine in plant.everything() for tag in machine.tags]
        return [tag for tag in tags if tag.group in RESTING and tag.name.split("/")[-1] not in ("Age", "LastUpdate")]

    def wrong(self) -> list[str]:
        """How the host's picture differs from the table."""
        faces, host = self.bridge.faces, self.observer.host
        found = [f"{name}: {trouble}" for name in ("sparkplug", "uns") if (trouble := faces[name].trouble)]  # type: ignore[attr-defined]
        if not host.is_online:
            return [*found, "the host sees no node"]
        if host.broken or self.observer.broken:
            raise AssertionError((self.observer.broken, host.broken, host.said[-20:]))
        if host.bd_seq != faces["sparkplug"].session._bd_seq:  # type: ignore[attr-defined]
            found.append(f"bdSeq {host.bd_seq}")
        for tag in self.tags():
            wanted, device = expected_sparkplug(tag, self.bridge.table.read(tag)), self._device(tag)
            known = host.tags.get(device, {}).get(tag.name)
            if known is None or device in host.dead:
                found.append(f"{tag.id} is not born")
            elif (known.value, known.quality) != (wanted["value"], wanted["quality"]):
                found.append(f"{tag.id} is {known.value} {known.quality}, not {wanted}")
        return found

    def _device(self, tag: Tag) -> str:
        return "" if tag.machine == self.bridge.table.plant.bridge.id else tag.machine

    async def wrong_retained(self) -> list[str]:
        """How what the broker keeps differs from the table."""
        kept: dict[str, bytes] = {}
        async with Link.connect(self.broker.config_of("observer", self.protocol), "late reader") as link:
            await link.subscribe("acme/#")
            link.publish(Message(END, b""))  # comes after all that is retained
            async for message in link.messages():
                if message.topic == END:
                    break
                if message.retain:
                    kept[message.topic] = message.payload
        found = [] if json.loads(kept.get(ONLINE, b"{}")).get("online") else ["UNS is not online"]
        address = self.bridge.faces["uns"].address
        for tag in self.tags():
            wanted = expected_uns(tag, self.bridge.table.read(tag))
            document = json.loads(kept.get(address(tag)) or b"{}")
            if (document.get("value"), document.get("quality")) != (wanted["value"], wanted["quality"]):
                found.append(f"{address(tag)}: {document} instead of {wanted}")
        return found

    async def check_all(self) -> None:
        """Nothing was lost, and nothing came from the past."""
        for identifier in self.expired:
            answer = self.observer.answers.get(identifier)
            assert answer is None or answer["result"] == Result.EXPIRED.value, answer
        log = {event.id: event.kind for event in await self.bridge.log.newest(5000) if event.id not in self._earlier}
        with contextlib.suppress(TimeoutError):
            await until(lambda: log.keys() <= self.observer.events.keys())
        lost = {identifier: kind for identifier, kind in log.items() if identifier not in self.observer.events}
        assert not lost, lost
        labels = [event.label for event in self.vendor.organisation.events if event.type == "step"]
        assert sorted(labels) == sorted(self.booked), labels
        rates = [
            json.loads(one.body)["data"].get("SetInverterTargetRpm")
            for one in self.panel.journal
            if one.method == "POST"
        ]
        assert STALE not in rates


@asynccontextmanager
async def chaos(folder: Path, monkeypatch: pytest.MonkeyPatch, protocol: str) -> AsyncIterator[Chaos]:
    """A bridge that is up, with a broker that is to fail."""
    for module in (sparkplug_node, uns_publisher):
        monkeypatch.setattr(module, "BACK_OFF_S", (0.05, 0.3))
    secret = folder / "password"
    secret.write_text(WORDS["bridge"])
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        server = MoodyMosquitto(folder)
        await enter(server)
        road = await enter(Road(server.port))
        one = Chaos(server, road, Name(HOST_NAME, monkeypatch), protocol)
        stack.enter_context(listening(one._said))
        one.panel = await enter(Panel([EXTRUDER], release="3.0", port=free_port()))
        one.vendor = await enter(TrackMyMachines(behaviour=Behaviour(feed_delay_s=0), floor=False))
        now = SystemClock().now()
        cycle = [(now - timedelta(seconds=age)).isoformat() for age in (60, 30)]
        one.vendor.faults.insert("MACHINE_001", "cycle", *cycle)
        watching = asyncio.create_task(one.observer.run())
        await until(lambda: one.observer.is_there)
        rest = SITE.format(
            panel=one.panel.url,
            app=one.vendor.app_url,
            com=one.vendor.com_url,
            key=one.vendor.secret("rw"),
            name=HOST_NAME,
            port=road.port,
            protocol=protocol,
            secret=secret,
            keep_alive=KEEP_ALIVE_S,
        )
        one.bridge = Bridge(make_site(folder, HEAD + rest), SystemClock())
        task = asyncio.create_task(one.bridge.run())
        try:
            await until(lambda: one.bridge.listening.is_set() or task.done())
            await one.settle()
            one._earlier = {event.id for event in await one.bridge.log.newest(100)}  # a reader begins at the present
            yield one
        finally:
            one.bridge.stop()
            await task
            watching.cancel()
            await asyncio.wait([watching])
