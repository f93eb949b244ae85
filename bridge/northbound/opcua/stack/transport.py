"""Sockets: what is let in, and how much of it is kept."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

from asyncua.common.utils import Buffer
from asyncua.server.binary_server_asyncio import BinaryServer, OPCUAProtocol
from asyncua.ua.ua_binary import header_from_binary

from bridge.northbound.opcua.stack.processor import GuardedProcessor

if TYPE_CHECKING:
    import socket

    from asyncua.common.connection import TransportLimits

    from bridge.northbound.opcua.stack.engine import GuardedInternalServer

_log = logging.getLogger(__name__)

KINDS = (b"HEL", b"OPN", b"MSG", b"CLO")
"""What a client may send (Part 6, 6.7.2 and 7.1.2)."""
HEADER, MIN_MESSAGE = 8, 16
GOODBYE_S = 0.5


class GuardedProtocol(OPCUAProtocol):
    """One socket."""

    iserver: GuardedInternalServer
    processor: GuardedProcessor | None
    closing_tasks: list[asyncio.Task[None]]
    _buffer: bytes

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.gone = asyncio.Event()

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """What runs for this connection."""
        both: tuple[asyncio.Task[None] | None, ...] = (self._task, self._activation_watchdog_task)
        return [task for task in both if task is not None]

    def connection_lost(self, ex: BaseException | None) -> None:
        """The socket is closed."""
        super().connection_lost(ex)
        self.gone.set()
        if (
            self.processor is not None
        ):  # asyncua looks every ten seconds which of these are done, and keeps all till then
            self.closing_tasks[-1].add_done_callback(self._closed)

    def _closed(self, task: asyncio.Task[None]) -> None:
        if task in self.closing_tasks and not task.cancelled() and task.exception() is None:
            self.closing_tasks.remove(task)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the client in, or close at once."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self.peer_name = transport.get_extra_info("peername")
        if not self._has_room():
            transport.abort()
            return
        self.transport = transport
        self.processor = GuardedProcessor(self.iserver, transport, self.limits)
        self.processor.set_policies(self.policies)
        self.iserver.asyncio_transports.append(transport)
        self.clients.append(self)
        name = f"opcua connection of {self.peer_name}"
        self._task = asyncio.create_task(self._process_received_message_loop(), name=name)
        self._activation_watchdog_task = asyncio.create_task(self._activation_watchdog(), name=f"{name}: watchdog")

    def _has_room(self) -> bool:
        address = self.peer_name[0] if self.peer_name else None
        of_one = sum(1 for client in self.clients if client.peer_name and client.peer_name[0] == address)
        limits = self.iserver.limits
        return len(self.clients) < limits.connections and of_one < limits.connections_per_address

    async def _activation_watchdog(self) -> None:
        """Close a connection that has no session for long, before the login or after it, or whose channel has ended."""
        half, looks = self.iserver.limits.login_within / 2, 0
        while looks < 2 and not (self.processor and self.processor.is_over):
            await asyncio.sleep(half)
            session = self.processor.session if self.processor else None
            looks = 0 if session is not None and session.is_activated() else looks + 1
        what = "has no session" if looks == 2 else "has not renewed its secure channel"
        _log.info("Closing the OPC UA connection of %s, which %s", self.peer_name, what)
        self._refuse()

    def data_received(self, data: bytes) -> None:
        """Cut the stream into messages. The declared size is looked at before anything is kept."""
        self._buffer += data
        while len(self._buffer) >= HEADER:
            size = int.from_bytes(self._buffer[4:HEADER], "little")
            if self._buffer[:3] not in KINDS or not MIN_MESSAGE <= size <= self.limits.max_recv_buffer:
                self._refuse()
                return
            if len(self._buffer) < size:
                return
            message, self._buffer = self._buffer[:size], self._buffer[size:]
            buffer = Buffer(message)
            try:
                self.messages.put_nowait((header_from_binary(buffer), buffer))
            except asyncio.QueueFull:
                self._refuse()
                return

    def _refuse(self) -> None:
        self._buffer = b""
        if self.transport is not None:
            self.transport.abort()


class Listener(BinaryServer):
    """The listening socket and its clients."""

    def __init__(
        self, internal_server: GuardedInternalServer, sock: socket.socket, limits: TransportLimits, policies: list[Any]
    ) -> None:
        host, port = sock.getsockname()[:2]
        super().__init__(internal_server, host, port, limits)
        self.set_policies(policies)
        self._socket = sock

    def _make_protocol(self) -> GuardedProtocol:
        return GuardedProtocol(
            iserver=self.iserver,
            policies=self._policies,
            clients=self.clients,
            closing_tasks=self.closing_tasks,
            limits=self.limits,
        )

    async def start(self) -> None:
        """Listen on the socket that was bound before the address space was built."""
        self._server = await asyncio.get_running_loop().create_server(self._make_protocol, sock=self._socket)
        self.cleanup_task = asyncio.create_task(self._close_task_loop(), name="opcua: cleanup of connections")

    async def stop(self) -> None:
        """Close everything, and wait until it is closed."""
        if self._server is not None:
            self._server.close()
        await self._close_clients()
        if self.cleanup_task is not None:
            self.cleanup_task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.cleanup_task
        await self._close_tasks()
        if self._server is not None:
            await self._server.wait_closed()

    async def _close_clients(self) -> None:
        clients: list[GuardedProtocol] = list(self.clients)
        for client in clients:
            if client.transport is not None:
                client.transport.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                await asyncio.gather(*(client.gone.wait() for client in clients))
        for client in list(self.clients):
            if client.transport is not None:
                client.transport.abort()
        await asyncio.sleep(0)
        tasks = [task for client in clients for task in client.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
