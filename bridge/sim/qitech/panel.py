"""A simulated QiTech panel: the door, the control process behind it, and what restarts it.

    client -> Front (port, TLS, Basic auth) -> Rest | SocketServer -> Backend -> Mailbox -> Machine
                                                                        |
                                                      Emitter (one queue) -> every Socket.IO client

The process dies of what kills the real one; after `restart_delay_s` it is back with every set point at its default.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import secrets
import ssl
import tempfile
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any

from aiohttp import web

from bridge.ports import Clock
from bridge.sim.control import Control
from bridge.sim.front import Front
from bridge.sim.qitech import certificate
from bridge.sim.qitech.backend import Backend, Settings
from bridge.sim.qitech.body import read_body
from bridge.sim.qitech.caddy import Gatekeeper, bad_gateway, own_headers
from bridge.sim.qitech.catalogue import MACHINE_IDS, Identity, Release
from bridge.sim.qitech.engine import SocketServer
from bridge.sim.qitech.faults import Faults
from bridge.sim.qitech.machines import build
from bridge.sim.qitech.machines.base import Machine
from bridge.sim.qitech.mailbox import Died
from bridge.sim.qitech.rest import Rest
from bridge.sim.qitech.sessions import EngineTimes
from bridge.sim.request_journal import Request, RequestJournal
from bridge.transport.clock import SystemClock

_LOG = logging.getLogger(__name__)

MAX_CRASHES = 100
RESTART_DELAY_S = 10.0
"""systemd's RestartSec on the panel."""
USERNAME = "machine"


@dataclass(frozen=True, slots=True)
class SimulatedMachine:
    """A machine at the panel: slug of the catalogue, serial 0..65535. The vendor is always 1."""

    slug: str
    serial: int


DEFAULT_MACHINES = (
    SimulatedMachine("extruder_v1", 57922),
    SimulatedMachine("winder_v1", 57923),
    SimulatedMachine("laser_v1", 1),
    SimulatedMachine("aquapath_v1", 57924),
)
"""A believable line: extruder, water cooling, diameter gauge, winder."""


def new_password() -> str:
    """24 base64 characters of 18 random bytes, with a plus and a slash among them, as credentials.sh may make them."""
    while True:
        password = base64.b64encode(secrets.token_bytes(18)).decode()
        if "+" in password and "/" in password:
            return password


class Panel:
    """A panel to be entered with `async with`.

    Args:
        machines: What is plugged in.
        release: "2.14" to "2.17" or "3.0".
        host: Address to listen on.
        port: 0 takes a free one.
        username: Basic auth; the vendor's is always "machine". None: no authentication.
        password: Made at random when a user name is given without one; `password` tells it.
        tls: Serve https with a throw-away authority, whose root is at `ca_file`.
        live_rate_hz: Rate of LiveValuesEvent; other periodic events scale with it.
        clock: Of the plant: physics, event stamps, restart delay.
        seed: Measurement noise is the same for the same seed.
        control_port: Loopback port of the fault switches (`/_sim/...`); 0 takes a free one, None means none.
        load: Benchmark mode: every live value changes in every event, from packed templates.

    Raises:
        ValueError: A machine no panel could have, or an unknown release.
        AddressTaken: On entering, when a port is in use.
    """

    def __init__(
        self,
        machines: Sequence[SimulatedMachine] = DEFAULT_MACHINES,
        *,
        release: str = "2.17",
        host: str = "127.0.0.1",
        port: int = 0,
        username: str | None = None,
        password: str | None = None,
        tls: bool = False,
        live_rate_hz: float = 30.0,
        clock: Clock | None = None,
        seed: int = 1,
        control_port: int | None = None,
        load: bool = False,
    ) -> None:
        self.release = Release.parse(release)
        self.clock: Clock = clock or SystemClock()
        self.settings = Settings(live_rate_hz=live_rate_hz, load=load)
        self.engine = EngineTimes()
        self.restart_delay_s = RESTART_DELAY_S
        self.gatekeeper = Gatekeeper(username, (password or new_password()) if username is not None else None)
        self.journal = RequestJournal()
        self.forbidden_requests = 0
        """Requests no client may ever send: per-machine routes of 3.x, writing device identifications."""
        self.crashes: list[str] = []
        """Why the process died, by itself or by the `crash` fault; a restart asked for is none."""
        self.faults = Faults(self)
        self.ca_file: Path | None = None
        self.control: Control | None = self._control(control_port)
        self.known = {machine.identity: machine for machine in self._build(machines, seed)}
        """Every machine, plugged in or not."""
        self.plugged = set(self.known)
        self._rng = Random(seed)
        self._host = host
        self._port = port
        self._tls = tls
        self._front: Front | None = None
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._backend: Backend | None = None
        self._rest: Rest | None = None
        self._sockets: SocketServer | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._process: asyncio.Task[None] | None = None
        self._restart: asyncio.Task[None] | None = None
        self._refusing: asyncio.Task[None] | None = None

    def _control(self, port: int | None) -> Control | None:
        views = {"status": self._status, "journal": self.journal.as_json}
        return None if port is None else Control("QiTech simulator's control port", self.faults, views, port)

    def _build(self, machines: Sequence[SimulatedMachine], seed: int) -> list[Machine]:
        built = [build(machine.slug, machine.serial, self.release, seed) for machine in machines]
        if len({machine.identity for machine in built}) != len(built):
            raise ValueError("two machines of the panel have the same id and serial")
        return built

    # -- what a test sees

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        port = self._front.port if self._front is not None else self._port
        return f"{'https' if self._tls else 'http'}://{self._host}:{port}"

    @property
    def username(self) -> str | None:
        """Of Basic auth."""
        return self.gatekeeper.username

    @property
    def password(self) -> str | None:
        """Of Basic auth, as it is now."""
        return self.gatekeeper.password

    @property
    def running(self) -> bool:
        """The control process is up and its port open."""
        return self.alive and self._front is not None and self._front.listening

    @property
    def alive(self) -> bool:
        """The control process is up; its port may be about to open."""
        return self._backend is not None and self._backend.alive

    @property
    def backend(self) -> Backend:
        """The control process. Raises RuntimeError while it is down."""
        if self._backend is None or not self._backend.alive:
            raise RuntimeError("the panel's control process is down")
        return self._backend

    def machine(self, slug: str, serial: int) -> Machine:
        """The machine itself, plugged in or not; it survives restarts. Raises KeyError."""
        return self.known[Identity(MACHINE_IDS[slug], serial)]

    def _status(self) -> dict[str, Any]:
        return {
            "url": self.url,
            "release": str(self.release),
            "running": self.running,
            "crashes": list(self.crashes),
            "forbidden_requests": self.forbidden_requests,
            "machines": [
                {"slug": machine.slug, "serial": identity.serial, "plugged": identity in self.plugged}
                for identity, machine in self.known.items()
            ],
        }

    # -- what faults do

    def rotate_password(self, password: str | None) -> str | None:
        """Change the password of Basic auth; without authentication there is none to change."""
        if self.gatekeeper.username is not None:
            self.gatekeeper.password = password or new_password()
        return self.gatekeeper.password

    def unplug(self, machine: Machine) -> None:
        """Take a machine off the panel, also while the process is down."""
        self.plugged.discard(machine.identity)
        if self.alive:
            self.backend.remove(machine.identity)
            self.backend.announce_machines()

    def plug(self, machine: Machine) -> None:
        """Put a machine back, with its defaults."""
        if machine.identity in self.plugged:
            return
        self.plugged.add(machine.identity)
        if self.alive:
            machine.boot()
            self.backend.add(machine)
            self.backend.announce_machines()

    def set_error(self, machine: Machine, error: str | None) -> None:
        """List the machine with an error text, or without."""
        machine.error = error
        machine.namespace = None
        if self.alive:
            self.backend.announce_machines()

    # -- start and stop

    async def __aenter__(self) -> Panel:
        context = self._certify() if self._tls else None
        front = Front("QiTech simulator", self._host, self._port, self._serve, context, own_headers)
        try:
            await front.start()
            self._front = front
            if self.control is not None:
                await self.control.start()
        except BaseException:
            await self._stop()
            raise
        self._boot(booted=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stop()

    async def _stop(self) -> None:
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._backend is not None:
            self._backend.stop()
        for part in (self._front, self.control):
            if part is not None:
                await part.stop()
        if self._directory is not None:
            self._directory.cleanup()
            self._directory = None

    def _certify(self) -> ssl.SSLContext:
        self._directory = tempfile.TemporaryDirectory(prefix="qitech-panel-")
        self.ca_file, context = certificate.make(Path(self._directory.name), self._host)
        return context

    # -- the process and its lives

    def _boot(self, booted: bool) -> None:
        present = [machine for identity, machine in self.known.items() if identity in self.plugged]
        backend = Backend(present, self.release, self.clock, self.settings, self._rng, self._died)
        self._backend = backend
        self._rest = Rest(backend, self._count_forbidden)
        self._sockets = SocketServer(backend, self.engine)
        backend.begin(booted)
        self._process = self._start(backend.run(), "qitech-panel-process")

    def kill(self, delay_s: float | None) -> None:
        """Stop the process now, and start it after `delay_s` on the panel's clock; None: not before told."""
        if self._backend is not None and self._backend.alive:
            self._backend.stop()
            self._fall()
        self._schedule(delay_s)

    def _died(self, reason: str) -> None:
        _LOG.debug("The simulated panel dies: %s", reason)
        self.crashes.append(reason)
        del self.crashes[:-MAX_CRASHES]
        self._fall()
        self._schedule(self.restart_delay_s)

    def _fall(self) -> None:
        if self._process is not None:
            self._process.cancel()
        if self._sockets is not None:
            self._sockets.drop_all()
        if not self._has_caddy and self._front is not None:
            self._front.drop_connections()
            self._refusing = self._start(self._front.refuse(), "qitech-panel-refuse")

    def _schedule(self, delay_s: float | None) -> None:
        if self._restart is not None:
            self._restart.cancel()
            self._restart = None
        if delay_s is not None:
            self._restart = self._start(self._come_back(delay_s), "qitech-panel-restart")

    async def _come_back(self, delay_s: float) -> None:
        await self.clock.sleep(delay_s)
        if self._refusing is not None:
            await asyncio.wait([self._refusing])
        self._boot(booted=False)
        if self._front is not None:
            await self._front.listen()

    @property
    def _has_caddy(self) -> bool:
        return self._tls or self.username is not None

    def _start(self, coroutine: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _LOG.error("The simulated panel is broken", exc_info=task.exception())

    # -- requests

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        refusal = self.gatekeeper.refuses(request)
        if refusal is not None:
            self._record(request, b"")
            return refusal
        try:
            return await self._forward(request)
        except Died:
            if not self._has_caddy and request.transport is not None:
                request.transport.abort()
            return bad_gateway()

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        backend, rest, sockets = self._backend, self._rest, self._sockets
        is_socket = request.path.rstrip("/") == "/socket.io"
        body = await read_body(request)
        self._record(request, body or b"")
        if backend is None or rest is None or sockets is None:
            raise Died
        backend.require_alive()
        if is_socket:
            return await sockets.serve(request, body or b"")
        response = await rest.serve(request, body)
        backend.require_alive()
        return response

    def _record(self, request: web.Request, body: bytes) -> None:
        self.journal.record(Request(request.method, request.path_qs, body, self.clock.now()))

    def _count_forbidden(self, what: str) -> None:
        self.forbidden_requests += 1
        _LOG.debug("Forbidden request: %s", what)
