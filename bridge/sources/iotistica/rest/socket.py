"""Socket: one WebSocket of an agent: opened, subscribed to all channels, read until it ends.

    upgrade /ws?token=…&deviceUuid=…  ->  {"type": "connected"}
    {"type": "subscribe", "channel"}  ->  {"type": "subscribed", "channel"}, then {"type": channel, "data"}
    {"type": "ping"} every PING       ->  {"type": "pong"}
    close 1008 "Token expired" | "Rate limit exceeded"

The token is in the address, so no sentence here repeats an address, nor an exception of the library that has it.
Source: facts 1.10.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Self

import aiohttp
import orjson

from bridge.errors import NotConnected, ProtocolError, SourceError
from bridge.sources._waiting import within
from bridge.sources.iotistica.rest.wire import NotAllowed, NotOffered

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

    from bridge.ports import Clock

OPEN_TIMEOUT: Final = 15.0
PING: Final = 30.0
"""Seconds; the server sends no pings of its own."""

SILENCE: Final = 75.0
"""Seconds without any message after which it is dead: two pings went unanswered."""

FRAME_LIMIT: Final = 1024 * 1024
POLICY: Final = 1008
EXPIRED: Final = "Token expired"


class Expired(NotConnected):
    """The server closed it because its token has ended."""


class TooMuch(NotConnected):
    """The server closed it for another reason of policy: too many messages."""


class Socket:
    """One connection. `async with` opens and subscribes it; then `ended` waits for its end.

    Entering raises NotAllowed (401), NotOffered (400, 404), NotConnected, ProtocolError.

    Args:
        session: of aiohttp; its owner closes it.
        url: with the token in it.
        channels: what is subscribed to.
        take: is given every message of a channel.
        clock: the one clock.
        tls: how the server proves who it is.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        params: dict[str, str],
        channels: Sequence[str],
        take: Callable[[dict[str, Any]], None],
        clock: Clock,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._session = session
        self._url = url
        self._params = params
        self._channels = channels
        self._take = take
        self._clock = clock
        self._tls = tls
        self._missing = set(channels)
        self._end: asyncio.Future[SourceError] | None = None
        self._joined: asyncio.Future[None]
        self._tasks: set[asyncio.Task[None]] = set()
        self._last = clock.monotonic()

    async def __aenter__(self) -> Self:
        try:
            async with asyncio.timeout(OPEN_TIMEOUT):
                await self._open()
        except aiohttp.WSServerHandshakeError as error:
            raise _refused(error.status) from None
        except TimeoutError:
            raise NotConnected("The WebSocket did not answer in time") from None
        except (aiohttp.ClientError, OSError) as error:
            raise NotConnected(f"The WebSocket cannot be opened: {type(error).__name__}") from None
        return self

    async def _open(self) -> None:
        self._socket = await self._session.ws_connect(
            self._url,
            params=self._params,
            ssl=self._tls if self._tls is not None else True,
            max_msg_size=FRAME_LIMIT,
            timeout=aiohttp.ClientWSTimeout(ws_close=0.5),
        )
        self._end = asyncio.get_running_loop().create_future()
        self._joined = asyncio.get_running_loop().create_future()
        self._tasks = {
            asyncio.create_task(self._read(), name="iotistica websocket"),
            asyncio.create_task(self._ping(), name="iotistica websocket ping"),
        }
        try:
            for channel in self._channels:
                await self._socket.send_str(_said(type="subscribe", channel=channel))
            await self._joined
            if self._end.done():
                raise self._end.result()
        except BaseException:
            await self._close()
            raise

    async def __aexit__(self, *exception: object) -> None:
        await self._close()

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        try:
            await asyncio.wait(self._tasks)
        finally:
            await self._socket.close()

    async def ended(self, seconds: float) -> SourceError | None:
        """Wait for its end, at most so long; why it has ended, None where it has not."""
        assert self._end is not None  # noqa: S101
        return self._end.result() if await within(self._clock, seconds, self._end) else None

    async def _read(self) -> None:
        while True:
            try:
                frame = await self._socket.receive()
            except (aiohttp.ClientError, OSError) as error:
                self._finish(NotConnected(f"The WebSocket broke off: {type(error).__name__}"))
                return
            if frame.type is aiohttp.WSMsgType.TEXT:
                self._heard(frame.data)
            elif frame.type is not aiohttp.WSMsgType.BINARY:
                self._finish(_closed(frame, self._socket.close_code))
                return

    def _heard(self, frame: str) -> None:
        self._last = self._clock.monotonic()
        try:
            message = orjson.loads(frame)
        except orjson.JSONDecodeError:
            return
        if not isinstance(message, dict):
            return
        kind = message.get("type")
        if kind == "subscribed":
            self._missing.discard(str(message.get("channel")))
            if not self._missing:
                self._join()
        elif kind in self._channels:
            self._take(message)

    async def _ping(self) -> None:
        while True:
            await self._clock.sleep(PING)
            if self._clock.monotonic() - self._last >= SILENCE:
                self._finish(NotConnected(f"The WebSocket is silent for {SILENCE:.0f} s"))
                return
            try:
                await self._socket.send_str(_said(type="ping"))
            except (aiohttp.ClientError, OSError):
                return  # the reader tells why

    def _finish(self, why: SourceError) -> None:
        if self._end is not None and not self._end.done():
            self._end.set_result(why)
        self._join()

    def _join(self) -> None:
        if not self._joined.done():
            self._joined.set_result(None)


def _said(**message: str) -> str:
    return orjson.dumps(message).decode()


def _refused(status: int) -> SourceError:
    if status in (401, 403):
        return NotAllowed(f"The WebSocket refuses our token ({status})")
    if status in (400, 404):
        return NotOffered(f"The server has no such WebSocket ({status})")
    return NotConnected(f"The WebSocket was answered with {status}")


def _closed(frame: aiohttp.WSMessage, code: int | None) -> SourceError:
    """What a frame that ends it means."""
    words = frame.extra if isinstance(frame.extra, str) else ""
    if frame.type is aiohttp.WSMsgType.ERROR:
        return ProtocolError("The WebSocket broke its protocol")
    if code == POLICY:
        return Expired("The token of the WebSocket has ended") if words == EXPIRED else TooMuch(words or "closed: 1008")
    return NotConnected(f"The WebSocket was closed ({code})")
