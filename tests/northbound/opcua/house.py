"""A server to test against, its clients, and a client that speaks bytes."""

from __future__ import annotations

import asyncio
import atexit
import functools
import shutil
import struct
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from asyncua import Client, ua
from asyncua.crypto.security_policies import SecurityPolicy, SecurityPolicyBasic256Sha256
from asyncua.ua.ua_binary import struct_from_binary, struct_to_binary, uatcp_to_binary
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bridge.hub.history import HistoryStore
from bridge.hub.history_file import Bounds
from bridge.hub.log import EventLogStore
from bridge.model.command import Command, Door, Outcome, Result
from bridge.model.status import StatusCode
from bridge.northbound.opcua.certificates import load_or_make, thumbprint
from bridge.northbound.opcua.config import OpcuaConfig, OpcuaUser, Role
from bridge.northbound.opcua.passwords import hash_password
from bridge.northbound.opcua.server import OpcuaServer
from bridge.ports import Clock, Taken
from bridge.transport.clock import SystemClock
from tests.one_of_everything import filled_table

APPLICATION = "urn:test:bridge"
HOSTS = ("localhost", "127.0.0.1")
PASSWORD = "correct horse"
BOUNDS = Bounds(10_000_000, timedelta(days=36_500))


@functools.cache
def users() -> tuple[OpcuaUser, ...]:
    hashed = hash_password(PASSWORD)
    by_password = (OpcuaUser(name=role.value.lower(), password_hash=hashed, role=role) for role in Role)
    mark = thumbprint(identity("badge").certificate)
    return *by_password, OpcuaUser(name="scada", certificate=mark.upper(), role=Role.OPERATOR)


def scratch() -> Path:
    """A folder that goes when the tests end."""
    folder = Path(tempfile.mkdtemp(prefix="plantbridge-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def own_certificate() -> Path:
    """A pki made once: an RSA key of 3072 bits takes its time."""
    pki = scratch()
    load_or_make(pki, APPLICATION, HOSTS, datetime.now(UTC))
    return pki / "own"


@dataclass(frozen=True)
class Identity:
    """A client's application: its certificate and key as files, and as objects."""

    uri: str
    certificate: x509.Certificate
    key: rsa.RSAPrivateKey
    folder: Path

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def certificate_file(self) -> Path:
        return self.folder / "certificate.der"

    @property
    def key_file(self) -> Path:
        return self.folder / "key.pem"


_KNOWN: dict[str, Identity] = {}


@functools.cache
def identity(
    name: str, *, bits: int = 2048, days: int = 30, issuer: str | None = None, is_ca: bool = False
) -> Identity:
    uri = f"urn:test:client:{name}"
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = _KNOWN[issuer] if issuer in _KNOWN else identity(issuer, is_ca=True) if issuer else None
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer.certificate.subject if signer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=60))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.KeyUsage(True, True, True, True, False, is_ca, is_ca, False, False), critical=True)
    )
    certificate = builder.sign(signer.key if signer else key, hashes.SHA256())
    folder = scratch()
    made = Identity(uri, certificate, key, folder)
    _KNOWN[name] = made
    made.certificate_file.write_bytes(made.der)
    made.key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made


def crl(authority: Identity, *revoked: Identity, signer: Identity | None = None, made: datetime | None = None) -> bytes:
    """A revocation list of this authority, DER."""
    now = made or datetime.now(UTC) - timedelta(days=1)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(now)
        .next_update(now + timedelta(days=31))
    )
    for one in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(one.certificate.serial_number).revocation_date(now)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign((signer or authority).key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


CONFIRMED = Outcome(Result.CONFIRMED, StatusCode.Good, "")


class FakeTicket:
    """A ticket that ends when the test says so."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.accept: asyncio.Future[Outcome | None] = loop.create_future()
        self.end: asyncio.Future[Outcome] = loop.create_future()

    @property
    def accepted(self) -> asyncio.Future[Outcome | None]:
        return asyncio.shield(self.accept)

    @property
    def result(self) -> asyncio.Future[Outcome]:
        return asyncio.shield(self.end)


class FakeDesk:
    """Remembers what it was given, and answers by its script: an outcome, "silent" or "accepted"."""

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self.tickets: list[FakeTicket] = []
        self.answers: dict[str, Outcome | str] = {}
        self.taken: Taken | None = None
        self.keeper: Any = None
        """Where alarms are, in a test of them."""

    def __call__(self, command: Command) -> FakeTicket:
        ticket = FakeTicket()
        self.commands.append(command)
        self.tickets.append(ticket)
        answer = self.answers.get(command.target, CONFIRMED)
        if isinstance(answer, Outcome):
            rejected = answer.result is Result.REJECTED
            ticket.accept.set_result(answer if rejected else None)
            ticket.end.set_result(answer)
        elif answer == "accepted":
            ticket.accept.set_result(None)
        return ticket

    def newest_taken(self, target: str, door: Door, within_s: float) -> Taken | None:
        return self.taken

    def alarms(self) -> list[Any]:
        return list(self.keeper.conditions) if self.keeper else []

    def acknowledge(self, condition: str, by: str, comment: str | None) -> bool:
        return bool(self.keeper.acknowledge(condition, by, comment))

    def comment(self, condition: str, by: str, comment: str) -> bool:
        return bool(self.keeper.comment(condition, by, comment))

    @property
    def asked(self) -> list[tuple[str, Any]]:
        """Target and arguments of every command."""
        return [(one.target, dict(one.arguments)) for one in self.commands]

    def forget(self) -> None:
        self.commands.clear()
        self.tickets.clear()
        self.answers.clear()


@dataclass
class House:
    """A server that listens."""

    server: OpcuaServer
    table: Any
    slots: Any
    state: Path
    task: asyncio.Task[None]
    port: int
    desk: FakeDesk = field(default_factory=FakeDesk)

    @property
    def url(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}/"

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    def trust(self, client: Identity) -> None:
        (self.pki / "trusted").mkdir(parents=True, exist_ok=True)
        (self.pki / "trusted" / f"{client.certificate_file.parent.name}.der").write_bytes(client.der)

    def tag(self, name: str, machine: str = "extruder-1") -> Any:
        tag = self.table.plant.find(f"{machine}.{name.replace('/', '.')}")
        assert tag is not None
        return tag

    async def stop(self) -> None:
        self.task.cancel()
        with_error = (await asyncio.gather(self.task, return_exceptions=True))[0]
        assert isinstance(with_error, asyncio.CancelledError), with_error


@asynccontextmanager
async def house(clock: Clock | None = None, desk: FakeDesk | None = None, **settings: Any) -> AsyncIterator[House]:
    """A house of `one_of_everything`, listening on a free port of loopback."""
    async with AsyncExitStack() as stores:
        state = Path(stores.enter_context(tempfile.TemporaryDirectory(prefix="plantbridge-state-")))
        shutil.copytree(own_certificate(), state / "pki" / "own")
        log = await stores.enter_async_context(EventLogStore(state / "log.db", SystemClock()))
        history = await stores.enter_async_context(HistoryStore(state / "history.db", SystemClock(), BOUNDS))
        table, slots = filled_table(log=log, history=history)
        config = OpcuaConfig(port=0, hosts=HOSTS, application_uri=APPLICATION, users=users(), **settings)
        server = OpcuaServer(config, clock or SystemClock(), state)
        desk = desk or FakeDesk()
        async with running(server, table, desk) as task:
            assert server.endpoint is not None
            port = int(server.endpoint.rpartition(":")[2].strip("/"))
            open_house = House(server, table, slots, state, task, port, desk)
            try:
                yield open_house
            finally:
                if not task.done():
                    await open_house.stop()


@asynccontextmanager
async def running(server: OpcuaServer, table: Any, desk: FakeDesk | None = None) -> AsyncIterator[asyncio.Task[None]]:
    submit = desk or FakeDesk()
    task = asyncio.create_task(server.run(table, submit, submit))  # type: ignore[arg-type]
    listening = asyncio.create_task(server.listening.wait())
    try:
        await asyncio.wait([task, listening], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        yield task
    finally:
        listening.cancel()
        task.cancel()
        await asyncio.gather(task, listening, return_exceptions=True)


async def secure_client(
    house: House,
    who: Identity,
    user: str | None = "observer",
    password: str | None = PASSWORD,
    policy: type[SecurityPolicy] = SecurityPolicyBasic256Sha256,
) -> Client:
    """A client that is set up, not yet connected."""
    client = Client(house.url, timeout=30)
    client.application_uri = who.uri
    await client.set_security(
        policy,
        str(who.certificate_file),
        str(who.key_file),
        server_certificate=str(house.pki / "own" / "certificate.der"),
    )
    if user is not None:
        client.set_user(user)
        client.set_password(password)
    return client


async def eventually(condition: Callable[[], object], timeout: float = 30.0) -> None:
    """Wait until `condition` holds."""
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@dataclass
class Seen:
    """Data changes by node, in order."""

    by_node: dict[str, list[ua.DataValue]] = field(default_factory=dict)

    def datachange_notification(self, node: Any, value: Any, data: Any) -> None:
        self.by_node.setdefault(str(node.nodeid.Identifier), []).append(data.monitored_item.Value)

    def status_change_notification(self, status: Any) -> None:
        return None

    def of(self, identifier: Any) -> list[ua.DataValue]:
        return self.by_node.get(str(identifier), [])


# --- bytes -----------------------------------------------------------------------------------------------------------


@dataclass
class Answer:
    """A message from the server."""

    kind: bytes
    body: bytes

    @property
    def response(self) -> Any:
        """The decoded response of a MSG."""
        from asyncua.common.utils import Buffer
        from asyncua.ua.ua_binary import nodeid_from_binary

        buffer = Buffer(self.body[16:])  # channel, token, sequence number, request id
        return struct_from_binary(ua.extension_objects_by_typeid[nodeid_from_binary(buffer.copy())], buffer)


class Raw:
    """A client that sends whatever bytes a test wants."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.sequence = 0
        self.channel = 0
        self.token = 0
        self.authentication = ua.NodeId()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def receive(self) -> Answer:
        async with asyncio.timeout(30):
            header = await self.reader.readexactly(8)
            size = struct.unpack("<I", header[4:])[0]
            return Answer(header[:3], await self.reader.readexactly(size - 8))

    async def is_closed(self) -> bool:
        """The server closes the connection, soon."""
        try:
            async with asyncio.timeout(30):
                while await self.reader.read(65536):
                    pass
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        return True

    async def hello(self, buffer: int = 65_535, **limits: int) -> Answer:
        hello = ua.Hello(ReceiveBufferSize=buffer, SendBufferSize=buffer, EndpointUrl="opc.tcp://localhost/")
        for name, value in ({"MaxMessageSize": 0, "MaxChunkCount": 0} | limits).items():
            setattr(hello, name, value)
        await self.send(uatcp_to_binary(ua.MessageType.Hello, hello))
        return await self.receive()

    async def open(self, **limits: int) -> None:
        """A channel without security; `limits` of the Hello."""
        await self.hello(**limits)
        answer = await self.ask_token()
        self.channel = answer.Parameters.SecurityToken.ChannelId
        self.token = answer.Parameters.SecurityToken.TokenId

    async def ask_token(self, lifetime_ms: int = 60_000, *, renews: bool = False) -> Any:
        """The OpenSecureChannel response."""
        request = ua.OpenSecureChannelRequest()
        request.Parameters.RequestType = ua.SecurityTokenRequestType(int(renews))
        request.Parameters.SecurityMode = ua.MessageSecurityMode.None_
        request.Parameters.RequestedLifetime = lifetime_ms
        policy = b"http://opcfoundation.org/UA/SecurityPolicy#None"
        header = struct.pack("<I", len(policy)) + policy + b"\xff" * 8
        await self.send(self._message(b"OPN", struct.pack("<I", self.channel) + header, struct_to_binary(request)))
        answer = await self.receive()
        assert answer.kind == b"OPN", answer
        return Answer(b"OPN", answer.body[len(header) - 4 :]).response

    def _message(self, kind: bytes, headers: bytes, body: bytes, final: bytes = b"F") -> bytes:
        self.sequence += 1
        content = headers + struct.pack("<II", self.sequence, self.sequence) + body
        return kind + final + struct.pack("<I", len(content) + 8) + content

    def wrap(self, body: bytes, final: bytes = b"F") -> bytes:
        """A MSG with this body on the open channel."""
        return self._message(b"MSG", struct.pack("<II", self.channel, self.token), body, final)

    def request(self, request: Any, raw_tail: bytes | None = None) -> bytes:
        """A request as a MSG; `raw_tail` replaces what comes after the request header."""
        request.RequestHeader.AuthenticationToken = self.authentication
        if raw_tail is None:
            return self.wrap(struct_to_binary(request))
        from asyncua.ua.ua_binary import nodeid_to_binary

        return self.wrap(nodeid_to_binary(request.TypeId) + struct_to_binary(request.RequestHeader) + raw_tail)

    async def ask(self, request: Any, raw_tail: bytes | None = None) -> Any:
        """Send a request and decode what comes back."""
        await self.send(self.request(request, raw_tail))
        return (await self.receive()).response

    async def status(self, request: Any, raw_tail: bytes | None = None) -> str:
        """The name of the service result."""
        response = await self.ask(request, raw_tail)
        return str(response.ResponseHeader.ServiceResult.name)

    async def session(self, max_response: int = 0) -> None:
        """An anonymous session, activated."""
        create = ua.CreateSessionRequest()
        create.Parameters.MaxResponseMessageSize = max_response
        create.Parameters.ClientDescription.ApplicationUri = "urn:raw"
        create.Parameters.RequestedSessionTimeout = 60_000
        self.authentication = (await self.ask(create)).Parameters.AuthenticationToken
        activate = ua.ActivateSessionRequest()
        activate.Parameters.UserIdentityToken = ua.AnonymousIdentityToken("anonymous")
        assert await self.status(activate) == "Good"

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


@asynccontextmanager
async def raw(port: int) -> AsyncIterator[Raw]:
    client = Raw(*await asyncio.open_connection("127.0.0.1", port))
    try:
        yield client
    finally:
        await client.close()
