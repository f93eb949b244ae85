"""/socket.io over HTTP: WebSocket, polling, and the upgrade from one to the other (Engine.IO 4, bodies as recorded)."""

from __future__ import annotations

import base64
import binascii

import orjson
from aiohttp import WSMsgType, web

from bridge.sim.qitech import packets
from bridge.sim.qitech.backend import Backend
from bridge.sim.qitech.pipes import SEPARATOR, PollPipe, SocketPipe
from bridge.sim.qitech.sessions import EngineTimes, Session

MAX_SESSIONS = 1000
_UNKNOWN_SESSION = ("1", "Session ID unknown")


class SocketServer:
    """/socket.io of one life of the process."""

    def __init__(self, backend: Backend, times: EngineTimes) -> None:
        self._backend = backend
        self._times = times
        self._sessions: dict[str, Session] = {}

    def drop_all(self) -> None:
        """The process has died."""
        for session in list(self._sessions.values()):
            session.abort()

    async def serve(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """One HTTP request: a handshake, a poll, or a WebSocket until it ends."""
        query = request.query
        transport = query.get("transport")
        if query.get("EIO") != "4":
            return _error("5", "Unsupported protocol version")
        if transport not in ("polling", "websocket"):
            return _error("0", "Transport unknown")
        session = self._sessions.get(query.get("sid", ""))
        if "sid" in query and session is None:
            return _error(*_UNKNOWN_SESSION)
        if len(self._sessions) >= MAX_SESSIONS:
            return web.Response(status=503)
        if transport == "websocket":
            return await self._websocket(request, session)
        if session is None:
            return self._open_polling()
        return await self._poll(request, session, body)

    def _end(self, session: Session) -> None:
        if self._sessions.pop(session.sid, None) is not None:
            session.end()

    # -- polling

    def _open_polling(self) -> web.Response:
        session = Session(self._backend, self._times)
        self._sessions[session.sid] = session
        session.open(PollPipe(lambda: self._end(session)))
        return _text(self._times.greeting(session.sid, ["websocket"]))

    async def _poll(self, request: web.Request, session: Session, body: bytes) -> web.Response:
        pipe = session.pipe
        if not isinstance(pipe, PollPipe):
            return _error("3", "Bad request")
        if request.method == "POST":
            return self._receive(session, body.decode(errors="replace"))
        content = await pipe.take()
        return _error(*_UNKNOWN_SESSION) if pipe.closed and not content else _text(content)

    def _receive(self, session: Session, body: str) -> web.Response:
        for part in body.split(SEPARATOR):
            if part == "1":
                session.abort()
            elif part.startswith("b"):
                session.binary(_decoded(part[1:]))
            else:
                session.text(part)
        return _text("ok")

    # -- WebSocket

    async def _websocket(self, request: web.Request, session: Session | None) -> web.StreamResponse:
        socket = web.WebSocketResponse(compress=False, max_msg_size=packets.MAX_PAYLOAD, timeout=1.0)
        await socket.prepare(request)
        transport = request.transport
        if transport is None:
            return socket
        pipe = SocketPipe(transport)
        if session is None:
            session = self._open_websocket(pipe)
        elif not await self._upgrade(socket, session, pipe):
            return socket
        try:
            await _listen(socket, session)
        finally:
            self._end(session)
        return socket

    def _open_websocket(self, pipe: SocketPipe) -> Session:
        session = Session(self._backend, self._times)
        self._sessions[session.sid] = session
        pipe.write(packets.text_frame(self._times.greeting(session.sid, [])))
        session.open(pipe)
        return session

    @staticmethod
    async def _upgrade(socket: web.WebSocketResponse, session: Session, pipe: SocketPipe) -> bool:
        """Probe, release the poll that waits, move what is queued. False if the client does not do its part."""
        old = session.pipe
        if not isinstance(old, PollPipe) or await _text_message(socket) != "2probe":
            return False
        pipe.write(packets.text_frame("3probe"))
        old.write(packets.text_frame("6"))
        if await _text_message(socket) != "5":
            return False
        session.pipe = pipe
        for frame in old.drain():
            if frame != packets.text_frame("6"):
                pipe.write(frame)
        return True


async def _listen(socket: web.WebSocketResponse, session: Session) -> None:
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            session.text(message.data)
        elif message.type is WSMsgType.BINARY:
            session.binary(message.data)


async def _text_message(socket: web.WebSocketResponse) -> str | None:
    message = await socket.receive()
    return message.data if message.type is WSMsgType.TEXT else None


def _decoded(text: str) -> bytes:
    """What is no base64 is no packet either; the session will see to it."""
    try:
        return base64.b64decode(text)
    except binascii.Error:
        return b""


def _text(content: str) -> web.Response:
    return web.Response(text=content, content_type="text/plain", charset="UTF-8")


def _error(code: str, message: str) -> web.Response:
    return web.Response(
        body=orjson.dumps({"code": code, "message": message}), status=400, content_type="application/json"
    )
