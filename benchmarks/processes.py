"""Children: started, asked, and stopped by their ids, whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Self

import psutil

ROOT = Path(__file__).resolve().parent.parent
PEERS = Path(__file__).parent / "peers"
ADMIN_PATHS = os.pathsep.join(("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"))
STOP_S = 15.0


class Unavailable(Exception):
    """A row cannot be measured here; the sentence says why."""


def program(name: str) -> str:
    """The path of an installed program. Raises Unavailable."""
    found = shutil.which(name) or shutil.which(name, path=ADMIN_PATHS)
    if found is None:
        raise Unavailable(f"{name} is not installed")
    return found


def node_package(name: str) -> Path:
    """Where npm put a package. Raises Unavailable."""
    path = PEERS / "node_modules" / name
    if not path.is_dir():
        raise Unavailable(f"{name} is not installed (npm install in {PEERS.relative_to(ROOT)})")
    return path


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Child:
    """A process of ours. Its standard error goes to a file that is shown when it fails."""

    def __init__(self, name: str, command: Sequence[str | Path], log: Path, *, talks: bool = False) -> None:
        self.name = name
        self._log = log
        self._errors: IO[bytes] = log.open("ab")
        self._process = subprocess.Popen(
            [str(word) for word in command],
            cwd=ROOT,
            env={key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"},  # as installed
            stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
            stdout=subprocess.PIPE if talks else self._errors,
            stderr=self._errors,
            start_new_session=True,  # Ctrl-C is ours to pass on, in order
        )
        self._watched = psutil.Process(self._process.pid)
        self._heard = b""

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ask it to end, then end it."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is None:
                self._process.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(STOP_S)
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def is_running(self) -> bool:
        return self._process.poll() is None

    def require_running(self) -> None:
        """Raises RuntimeError with what it said last."""
        if not self.is_running():
            words = self._log.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{self.name} ended with code {self._process.returncode}:\n{words}")

    def ask(self, word: str | None = None, timeout_s: float = 60.0) -> dict[str, Any]:
        """Say a word and take one line of JSON."""
        assert self._process.stdin is not None and self._process.stdout is not None
        if word is not None:
            self._process.stdin.write(word.encode() + b"\n")
            self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._line(time.monotonic() + timeout_s))
        return answer

    def _line(self, end: float) -> str:
        """The next line that is an object; node-opcua prints warnings between them."""
        while b"\n" not in self._heard:
            assert self._process.stdout is not None
            with selectors.DefaultSelector() as selector:
                selector.register(self._process.stdout, selectors.EVENT_READ)
                if not selector.select(max(0.0, end - time.monotonic())):
                    raise RuntimeError(f"{self.name} did not answer in time")
            part = os.read(self._process.stdout.fileno(), 65_536)
            if not part:
                self._process.wait(STOP_S)
                self.require_running()
            self._heard += part
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode() if line.startswith(b"{") else self._line(end)

    def cpu_s(self) -> float:
        """Processor time used so far, by it and its children."""
        everybody = [self._watched, *self._watched.children(recursive=True)]
        times = [one.cpu_times() for one in everybody]
        return sum(one.user + one.system for one in times)

    def rss_mb(self) -> float:
        """Resident memory, of it and its children."""
        everybody = [self._watched, *self._watched.children(recursive=True)]
        return sum(one.memory_info().rss for one in everybody) / 2**20


def python(module: str, *arguments: object) -> list[str]:
    """A module of this checkout as a command."""
    return [sys.executable, "-m", module, *map(str, arguments)]


def wait_for_port(port: int, child: Child, timeout_s: float = 30.0) -> None:
    """Until somebody listens."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        child.require_running()
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"{child.name} does not listen on port {port}")


@contextmanager
def running_broker(folder: Path) -> Iterator[int]:
    """A mosquitto of our own, and its port. Raises Unavailable."""
    path, port = program("mosquitto"), free_port()
    config = folder / "mosquitto.conf"
    lines = (
        f"listener {port} 127.0.0.1",
        "allow_anonymous true",
        "persistence false",
        "max_queued_messages 0",
        "max_inflight_messages 0",
        "set_tcp_nodelay true",
        "log_type error",
    )
    config.write_text("\n".join(lines) + "\n")
    with Child("mosquitto", [path, "-c", config], folder / "mosquitto.log") as child:
        wait_for_port(port, child)
        yield port


def progress(words: str) -> None:
    """A line for who waits."""
    print(f"[{time.strftime('%H:%M:%S')}] {words}", file=sys.stderr, flush=True)
