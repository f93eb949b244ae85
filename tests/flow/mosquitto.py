"""mosquitto_pub and mosquitto_sub: clients that are not ours, one process each."""

from __future__ import annotations

import asyncio
import contextlib
from typing import NamedTuple

from tests import peers
from tests.broker import Broker

PATIENCE_S = 30.0


class Heard(NamedTuple):
    """One message as mosquitto_sub shows it."""

    topic: str
    retained: bool
    correlation: str
    payload: bytes


class Listener:
    """mosquitto_sub (MQTT 5) on some topics: everything it hears, in order, from the moment it is entered."""

    def __init__(self, broker: Broker, *topics: str) -> None:
        self._broker = broker
        self._topics = topics
        self._news = asyncio.Condition()
        self.heard: list[Heard] = []
        self._process: asyncio.subprocess.Process
        self._reading: asyncio.Task[None]

    async def __aenter__(self) -> Listener:
        program = peers.program("mosquitto_sub")
        assert program is not None, "mosquitto_sub is not installed"
        wanted = [word for topic in (*self._topics, "listener/ready") for word in ("-t", topic)]
        self._process = await asyncio.create_subprocess_exec(
            program,
            *("-V", "mqttv5", "-p", str(self._broker.port), "-q", "1", "-F", "%t\t%r\t%D\t%x", *wanted),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            limit=2**22,
        )
        self._reading = asyncio.create_task(self._read(), name="mosquitto_sub")
        await publish(self._broker, "listener/ready", b"1", "-r")
        await self.next("listener/ready", 0)
        return self

    async def __aexit__(self, *exception: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._reading
        await self._process.wait()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            topic, retained, correlation, payload = line.decode().rstrip("\n").split("\t")
            async with self._news:
                self.heard.append(Heard(topic, retained == "1", correlation, bytes.fromhex(payload)))
                self._news.notify_all()

    @property
    def now(self) -> int:
        """The position behind what was heard so far."""
        return len(self.heard)

    async def next(self, topic: str | tuple[str, ...], since: int, holding: bytes = b"") -> Heard:
        """The first message on one of these topics at or after a position, with `holding` in its payload."""
        topics = (topic,) if isinstance(topic, str) else topic

        def found() -> Heard | None:
            return next((one for one in self.heard[since:] if one.topic in topics and holding in one.payload), None)

        async with asyncio.timeout(PATIENCE_S), self._news:
            await self._news.wait_for(found)
        message = found()
        assert message is not None
        return message


async def publish(broker: Broker, topic: str, payload: bytes, *options: str) -> None:
    """mosquitto_pub (MQTT 5, QoS 1); returns when the broker has it. `options` are its own."""
    program = peers.program("mosquitto_pub")
    assert program is not None, "mosquitto_pub is not installed"
    process = await asyncio.create_subprocess_exec(
        program,
        *("-V", "mqttv5", "-p", str(broker.port), "-q", "1", "-t", topic, *options, "-s"),
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, complaint = await process.communicate(payload)
    assert process.returncode == 0, complaint.decode()
