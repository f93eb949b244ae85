"""The OPC UA face: a server that shows the plant.

bind the port -> certificate -> address space (collector off) -> first batch -> listen -> batches until cancelled
cancelled -> ServerStatus.State = Shutdown, seen by whoever is subscribed -> close
"""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import math
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.northbound.opcua.stack import quick_import  # noqa: F401  # before asyncua

# isort: split

from asyncua import ua
from cryptography import x509
from cryptography.hazmat.primitives import hashes

import bridge
from bridge.errors import AddressTaken
from bridge.model.command import Door
from bridge.northbound.opcua import certificates, nodes
from bridge.northbound.opcua.command_nodes import CommandNodes
from bridge.northbound.opcua.conditions import Conditions
from bridge.northbound.opcua.config import OpcuaConfig, Revocation, Role, Trust
from bridge.northbound.opcua.event_feed import EventFeed
from bridge.northbound.opcua.events import EventTypes, event_id
from bridge.northbound.opcua.handshake import SAME_REQUEST_S
from bridge.northbound.opcua.handshakes import Handshakes
from bridge.northbound.opcua.history_read import HistoryReads
from bridge.northbound.opcua.model_changes import ModelChanges
from bridge.northbound.opcua.nodes import Namespaces, Nodes
from bridge.northbound.opcua.offers import Offers
from bridge.northbound.opcua.orders import Orders
from bridge.northbound.opcua.own import Own
from bridge.northbound.opcua.passwords import Passwords
from bridge.northbound.opcua.plc.sheet import Server
from bridge.northbound.opcua.pump import Pump
from bridge.northbound.opcua.service_level import service_level
from bridge.northbound.opcua.stack import companion
from bridge.northbound.opcua.stack.access import Account
from bridge.northbound.opcua.stack.engine import Engine, Guards, ServiceError
from bridge.northbound.opcua.stack.nodeset import BASE, model_of, nodeset
from bridge.northbound.opcua.stack.quiet import few_words
from bridge.northbound.opcua.stack.space import Space
from bridge.northbound.opcua.stack.status import ServerStatus, advertise
from bridge.northbound.opcua.stack.values import TagValues
from bridge.northbound.opcua.tree import Tree
from bridge.northbound.opcua.trust import Refused, TrustStore
from bridge.northbound.opcua.trust_watch import TrustWatch
from bridge.northbound.opcua.writes import Writes
from bridge.ports import CertificateDays, Told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Executor

    from bridge.model.command import Command
    from bridge.model.plant import Plant
    from bridge.model.tag import Tag
    from bridge.ports import Clock, Operations, Submit, TagView, Taken, Ticket

_log = logging.getLogger(__name__)

GOODBYE_S = 1.6
"""How long State = Shutdown stands before the connections close: longer than a usual publishing interval of 1 s."""
STOP_S = 5.0
DAYS_EVERY_S = 60.0
TYPES_URI = "urn:plantbridge:types"
NODESETS = (
    ("http://opcfoundation.org/UA/DI/", "Opc.Ua.Di.NodeSet2.xml"),
    ("http://opcfoundation.org/UA/Machinery/", "Opc.Ua.Machinery.NodeSet2.xml"),
)
WORKERS = 2
MAX_STRANGERS = 100
"""User certificates of nobody that are told of, each once: a client may invent any."""


class OpcuaServer:
    """The northbound "opcua". `listening` is set while clients can connect, and `endpoint` says where."""

    def __init__(
        self, config: OpcuaConfig, clock: Clock, state_directory: Path, *, bridge_name: str = "plantbridge"
    ) -> None:
        self._config = config
        self._clock = clock
        self._pki = Path(config.pki) if config.pki else state_directory / "pki"
        self._application_uri = config.application_uri or f"urn:plantbridge:{bridge_name}"
        self._bridge_name = bridge_name
        self._passwords = Passwords(config.users, clock)
        self._strangers: set[str] = set()
        self._trust = TrustStore(
            self._pki,
            clock,
            trust_required=config.trust is Trust.REQUIRED,
            lists_required=config.revocation is Revocation.REQUIRED,
        )
        self._own = Own(self._pki)
        self._serving: Engine | None = None
        self._values: TagValues | None = None
        self.certificate_days = CertificateDays()
        self.listening = asyncio.Event()
        self.endpoint: str | None = None

    @property
    def pki(self) -> Path:
        """Folder of the certificates."""
        return self._pki

    @property
    def name(self) -> str:
        """The face's name."""
        return "opcua"

    @property
    def application_uri(self) -> str:
        """The server's ApplicationUri."""
        return self._application_uri

    def address(self, tag: Tag) -> str:
        """The tag's NodeId."""
        return f"ns={nodes.OWN};s={tag.id}"

    def told(self, tag: Tag) -> Told:
        """The value in the address space, and how many monitored items are on it."""
        value = self._values.get(tag.slot) if self._values is not None else None
        if value is None:
            return Told(why_not="its node is not in the address space yet")
        return Told(value.now, readers=value.readers)

    def server(self) -> Server:
        """Where it is and what it is called, as a PLC's programmer must know it."""
        endpoint = self.endpoint or f"opc.tcp://{_in_url(self._config.names[0])}:{self._config.port}/"
        return Server(self._bridge_name, endpoint, self._instances_uri, nodes.OWN, bridge.__version__)

    def metrics(self) -> dict[str, float]:
        """Who is there."""
        server = self._serving.iserver if self._serving else None
        return {
            "opcua_sessions": server.session_count if server else 0,
            "opcua_subscriptions": len(server.subscriptions) if server else 0,
            "opcua_monitored_items": server.subscription_service.item_count if server else 0,
        }

    @property
    def _instances_uri(self) -> str:
        return f"{self._application_uri}:instances"

    async def nodeset(self, plant: Plant) -> str:
        """The address space of this plant as NodeSet2 XML: made for it, without a socket, a key or a value."""
        workers = ThreadPoolExecutor(1, thread_name_prefix="opcua-nodeset")
        try:
            return await self._described(plant, workers)
        finally:
            workers.shutdown(wait=False, cancel_futures=True)

    async def _described(self, plant: Plant, workers: Executor) -> str:
        with few_words(self._clock):
            offers = Offers()
            orders = Orders(_refuse, self._clock, asyncio.get_running_loop().create_future)
            handshakes = Handshakes(orders, self._config.handshake_timeout)
            engine = self._engine(lambda: plant, workers, offers, orders, handshakes)
            await engine.init()
            tree = await self._tree(engine)
            built = await self._nodes(engine, tree, TagValues(), offers, lambda target: None)
            EventTypes(tree, self._application_uri).begin()
            change = plant.changes_since(None)
            if change is not None:
                await built.apply(change)
            uris = await engine.get_namespace_array()
            others = [model_of(_nodeset(file)) for _, file in NODESETS] if self._config.machinery else []
            ours = (nodes.OWN, nodes.TYPES)
            space, now = engine.iserver.aspace, self._clock.now()
            return await nodeset(space, uris, ours, [BASE, *others], bridge.__version__, now)

    def faults(self, plant: Plant) -> Sequence[str]:
        """What of this plant cannot be shown."""
        return nodes.faults(plant)

    async def run(self, view: TagView, submit: Submit, operations: Operations) -> None:
        """Serve until cancelled. Raises AddressTaken when the port cannot be had."""
        with closing(bind(self._config.host, self._config.port)) as sock, few_words(self._clock):
            workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="opcua")
            try:
                await self._serve(view, submit, operations, sock, workers)
            finally:
                workers.shutdown(wait=False, cancel_futures=True)

    async def _serve(
        self, view: TagView, submit: Submit, operations: Operations, sock: socket.socket, workers: Executor
    ) -> None:
        values, offers = TagValues(), Offers()
        with view.subscribe(self.name) as feed:
            pump = Pump(feed, self._clock)
            orders = Orders(submit, self._clock, pump.caught_up)
            handshakes = Handshakes(orders, self._config.handshake_timeout)
            with _collector_off():
                engine = self._engine(lambda: view.plant, workers, offers, orders, handshakes)
                certificate = self._certificate(workers)
                await engine.init()
                tree = await self._tree(engine)
                built = await self._nodes(
                    engine,
                    tree,
                    values,
                    offers,
                    lambda target: operations.newest_taken(target, Door.OPCUA_HANDSHAKE, SAME_REQUEST_S),
                )
                events = EventFeed(self.name, view, self._clock, engine.iserver.subscription_service.notify)
                types = EventTypes(tree, self._application_uri)
                await events.prepare(types)
                engine.iserver.conditions = Conditions(operations, types, self._clock, event_id)
                engine.iserver.history = HistoryReads(view, types, tree.space.compiled)
                await pump.take(built, values)
                own = await certificate
                engine.use(own.certificate, own.key)
                self._own.show(own)
                gc.freeze()  # a collection over these objects would stop the loop for up to a second
            status = self._status(engine)
            try:
                self._values = values
                await self._listen(view, engine, status, sock)
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._keep_status(view, status), name="opcua: server status")
                    tasks.create_task(self._keep_certificate(engine, workers), name="opcua: certificate")
                    tasks.create_task(self._watch_trust(engine, workers), name="opcua: trust")
                    tasks.create_task(handshakes.run(), name="opcua: handshakes")
                    tasks.create_task(events.run(types), name="opcua: events")
                    tasks.create_task(pump.run(built, values), name="opcua: pump")
            finally:
                self._values = None
                await self._stop(engine, status)
                gc.unfreeze()

    def _certificate(self, workers: Executor) -> asyncio.Future[certificates.OwnCertificate]:
        """Ours; making a key takes up to a second, without the GIL."""
        return asyncio.get_running_loop().run_in_executor(
            workers, certificates.load_or_make, self._pki, self._application_uri, self._config.names, self._clock.now()
        )

    def _engine(
        self,
        plant: Callable[[], Plant],
        workers: Executor,
        offers: Offers,
        orders: Orders,
        handshakes: Handshakes,
    ) -> Engine:
        """The server as it is before it knows any machine."""
        config, trust = self._config, self._trust
        writes = Writes(
            plant,
            lambda node_id: engine.iserver.node_class(node_id),
            offers,
            orders,
            handshakes,
            answer_within_s=config.answer_within,
            trim=config.trim,
        )
        guards = Guards(
            check_certificate=lambda der, uri, peer: _check_certificate(trust, workers, der, uri, peer),
            reached_as=self._own.reached_as,
            user_of=self._user_of,
            log_in=lambda name, password, peer: self._passwords.verify(name, password, peer, workers),
            known_login=self._known_login,
            writes=writes,
        )
        engine = Engine(config, guards, self._clock)
        engine.show(self._application_uri, f"plantbridge {self._bridge_name}")
        return engine

    def _user_of(self, der: bytes) -> Account | None:
        """The user who logs in with this certificate, if it is valid now."""
        try:
            certificate = x509.load_der_x509_certificate(der)
        except ValueError:
            return None
        if not certificate.not_valid_before_utc <= self._clock.now() <= certificate.not_valid_after_utc:
            return None
        marks = certificates.thumbprint(certificate), certificate.fingerprint(hashes.SHA256()).hex()
        user = self._passwords.of_certificate(*marks)
        if user is None:
            self._tell_stranger(marks[0])
            return None
        return Account(user.name, user.role)

    def _tell_stranger(self, mark: str) -> None:
        if mark in self._strangers or len(self._strangers) >= MAX_STRANGERS:
            return
        self._strangers.add(mark)
        _log.warning(
            "Login with the user certificate %s failed: no user has it. If it is somebody's: "
            "plantbridge users add NAME CONFIG --certificate FILE",
            mark,
        )

    def _known_login(self, name: str, password: str) -> Role | None:
        user = self._passwords.user(name)
        return user.role if user and self._passwords.is_known(name, password) else None

    async def _tree(self, engine: Engine) -> Tree:
        """Our namespaces, at their fixed indices."""
        own = await engine.register_namespace(self._instances_uri)
        types = await engine.register_namespace(TYPES_URI)
        if (own, types) != (nodes.OWN, nodes.TYPES):
            raise RuntimeError(f"The namespaces of instances and types came out as {own} and {types}")
        return Tree(
            Space(engine.iserver.aspace, engine.iserver.plans.forget),
            self._clock,
            float(self._config.sampling_interval_ms),
        )

    async def _nodes(
        self,
        engine: Engine,
        tree: Tree,
        values: TagValues,
        offers: Offers,
        recall: Callable[[str], Taken | None],
    ) -> Nodes:
        """The companion specifications, and our folders."""
        namespaces = Namespaces()
        if self._config.machinery:
            for _, file in NODESETS:
                await companion.read_in(engine, _nodeset(file))
            indices = [await engine.get_namespace_index(uri) for uri, _ in NODESETS]
            namespaces = Namespaces(*indices)
        fastest = float(self._config.sampling_interval_ms)
        await advertise(engine.iserver.aspace, self._config.limits, fastest, self._clock.now())
        built = Nodes(
            tree,
            values,
            CommandNodes(tree, offers, self._clock, recall),
            namespaces,
            ModelChanges(tree, self._clock, engine.iserver.subscription_service.notify),
            self._clock,
            look_again=engine.iserver.subscription_service.look_again,
            retired_limit=self._config.limits.retired_tags,
        )
        built.begin()
        return built

    def _status(self, engine: Engine) -> ServerStatus:
        build = ua.BuildInfo(
            ProductUri=engine.product_uri,
            ManufacturerName=engine.manufacturer_name,
            ProductName=engine.name,
            SoftwareVersion=bridge.__version__,
        )
        return ServerStatus(engine.iserver.aspace, self._clock.now(), build)

    async def _listen(self, view: TagView, engine: Engine, status: ServerStatus, sock: socket.socket) -> None:
        endpoint = f"opc.tcp://{_in_url(self._config.names[0])}:{sock.getsockname()[1]}/"
        engine.set_endpoint(endpoint)
        try:
            await engine.listen(sock)
        except OSError as error:
            raise AddressTaken("OPC UA", _shown(self._config), error.strerror or str(error)) from error
        await self._tell_status(view, status)
        self.endpoint, self._serving = endpoint, engine
        self.listening.set()
        _log.info("OPC UA listens on %s", endpoint)

    async def _keep_certificate(self, engine: Engine, workers: Executor) -> None:
        """Show another certificate when somebody has put one there; know how long they last."""
        in_worker, looked = functools.partial(asyncio.get_running_loop().run_in_executor, workers), -math.inf
        while True:
            if self._clock.monotonic() - looked >= DAYS_EVERY_S:
                looked = self._clock.monotonic()
                self.certificate_days = await in_worker(self._own.days, self._clock.now())
            await self._clock.sleep(1.0)
            if self._own.is_replaced():
                own = await in_worker(self._own.replacement)
                if own is not None:
                    await engine.change(own.certificate, own.key)
                    self._own.show(own)
                    looked = -math.inf

    async def _watch_trust(self, engine: Engine, workers: Executor) -> None:
        in_worker = functools.partial(asyncio.get_running_loop().run_in_executor, workers)
        await TrustWatch(self._trust, self._clock).run(engine, in_worker)

    async def _keep_status(self, view: TagView, status: ServerStatus) -> None:
        """CurrentTime and ServiceLevel, every second."""
        while True:
            await self._clock.sleep(1.0)
            await self._tell_status(view, status)

    async def _tell_status(self, view: TagView, status: ServerStatus) -> None:
        now = self._clock.now()
        await status.tick(now)
        await status.service_level(now, service_level(view.plant, view.read))

    async def _stop(self, engine: Engine, status: ServerStatus) -> None:
        """Say goodbye to whoever is there, then close."""
        self.endpoint = self._serving = None
        self.listening.clear()
        if engine.iserver.session_count:
            with suppress(TimeoutError):
                async with asyncio.timeout(GOODBYE_S * 1.5):
                    await status.shutdown(self._clock.now(), round(GOODBYE_S))
                    await self._clock.sleep(GOODBYE_S)
        try:
            async with asyncio.timeout(STOP_S):
                await engine.stop()
        except TimeoutError:
            _log.warning("OPC UA did not close within %.0f s", STOP_S)


async def _check_certificate(trust: TrustStore, workers: Executor, der: bytes, uri: str | None, peer: str) -> None:
    try:
        await asyncio.get_running_loop().run_in_executor(workers, trust.check, der, uri, peer)
    except Refused as refused:
        raise ServiceError(getattr(ua.StatusCodes, refused.status)) from refused


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to this address, not yet listening. Raises AddressTaken."""
    shown = f"{_in_url(host)}:{port}"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        raise AddressTaken("OPC UA", shown, error.strerror or str(error)) from error
    try:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise AddressTaken("OPC UA", shown, error.strerror or str(error)) from error
    return sock


def _refuse(command: Command) -> Ticket:
    raise RuntimeError("An address space that is only described takes no commands")


def _shown(config: OpcuaConfig) -> str:
    return f"{_in_url(config.host)}:{config.port}"


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _nodeset(name: str) -> str:
    return (files(__package__) / "nodesets" / name).read_text(encoding="utf-8")


@contextmanager
def _collector_off() -> Iterator[None]:
    """Building a hundred thousand objects with the collector on takes twice as long."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
