"""A private MQTT broker on loopback, for one test: mosquitto, or amqtt where mosquitto is absent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import sys
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.transport.mqtt import BrokerConfig
from tests import peers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

START_TIMEOUT_S = 30.0


def free_port() -> int:
    """A loopback port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Broker(ABC):
    """An MQTT broker for a test: `async with broker() as b: ... b.config ...`.

    `stop` and `start` may be called in between: the port stays the same, sessions and retained messages are lost.
    """

    host = "127.0.0.1"

    def __init__(self) -> None:
        self.port = free_port()

    @property
    def config(self) -> BrokerConfig:
        """How to reach it."""
        return BrokerConfig(host=self.host, port=self.port)

    @abstractmethod
    async def start(self) -> None:
        """Listen; returns when connections are accepted."""

    @abstractmethod
    async def stop(self) -> None:
        """End, breaking every connection. Nothing happens when it is not running."""

    async def __aenter__(self) -> Broker:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _listening(self) -> None:
        async with asyncio.timeout(START_TIMEOUT_S):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection(self.host, self.port)
                    writer.close()
                    await writer.wait_closed()
                    return
                await asyncio.sleep(0.01)


class Process(Broker):
    """A broker in a process of its own; killed, not asked, to stop."""

    def __init__(self) -> None:
        super().__init__()
        self._process: asyncio.subprocess.Process | None = None
        self._directory: Path | None = None

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None, "the broker does not run"
        return self._process.pid

    @property
    def said(self) -> str:
        """What the running process wrote to its log so far."""
        assert self._directory is not None, "the broker does not run"
        return (self._directory / "log").read_text(encoding="utf-8")

    @abstractmethod
    def command(self, directory: Path) -> Sequence[str]:
        """What to run; `directory` is for its files, and removed with it."""

    async def start(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="broker-"))
        log = self._directory / "log"
        with log.open("wb") as stream:
            self._process = await asyncio.create_subprocess_exec(
                *self.command(self._directory), stdin=asyncio.subprocess.DEVNULL, stdout=stream, stderr=stream
            )
        try:
            await self._listening()
        except TimeoutError:
            said = log.read_text(encoding="utf-8")
            await self.stop()
            raise AssertionError(f"the broker did not start: {said}") from None

    async def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        await process.wait()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)


class Mosquitto(Process):
    """Eclipse mosquitto with its own configuration file; `lines` are added to it."""

    def __init__(self, lines: Sequence[str] = (), listener: Sequence[str] = ()) -> None:
        super().__init__()
        self._lines = (
            f"listener {self.port} {self.host}",
            *listener,
            "persistence false",
            "set_tcp_nodelay true",
            "max_queued_messages 0",
            *(lines or ("allow_anonymous true",)),
            "user root",  # whoever runs the tests may read the files of the tests; ignored where that is not root
        )

    def command(self, directory: Path) -> Sequence[str]:
        program = peers.program("mosquitto")
        assert program is not None, "mosquitto is not installed"
        file = directory / "mosquitto.conf"
        file.write_text("\n".join(self._lines) + "\n", encoding="utf-8")
        return (program, "-c", str(file))


AMQTT = """
import asyncio, json, sys
from amqtt.broker import Broker
async def main():
    await Broker(json.loads(sys.argv[1])).start()
    await asyncio.Event().wait()
asyncio.run(main())
"""


class Amqtt(Process):
    """amqtt: MQTT 3.1.1 only. In a process of its own, since it leaves sockets open when it stops."""

    def command(self, directory: Path) -> Sequence[str]:
        config = {
            "listeners": {"default": {"type": "tcp", "bind": f"{self.host}:{self.port}"}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
        return (sys.executable, "-c", AMQTT, json.dumps(config))


def broker() -> Broker:
    """A broker that speaks MQTT 3.1.1 at least: mosquitto where it is installed, else amqtt."""
    return Amqtt() if peers.missing("mosquitto") else Mosquitto()
