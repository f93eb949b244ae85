"""A start with a bad configuration: health and the status face are up with the faults on them, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr, ValidationError

from bridge import __version__
from bridge.errors import ConfigError, NotDeclared, NotRecordable, StateDirectoryBusy, StateDirectoryUnusable
from bridge.hub.slots import Slots
from bridge.hub.table import Table
from bridge.model.history import EventPage
from bridge.model.plant import Plant
from bridge.northbound.status.config import StatusConfig, tls_fault
from bridge.northbound.status.server import StatusServer
from bridge.ports import Health
from bridge.runtime.bridge_machine import bridge_machine
from bridge.runtime.desk import closed_desk
from bridge.runtime.logging import levels, set_level, tail
from bridge.runtime.reload import LOOK_EVERY_S, stamp

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from bridge.config.site import Site
    from bridge.model.alarm import AlarmCondition
    from bridge.model.command import Door, Outcome, Role
    from bridge.model.event import Event
    from bridge.model.tag import Tag
    from bridge.ports import Clock, FoundWaiting, RecordingWish, Taken
    from bridge.runtime.state_directory import StateDirectory

logger = logging.getLogger(__name__)


class _NoEvents:
    async def read(self, reader: str, limit: int = 100) -> Sequence[tuple[int, Event]]:
        await asyncio.Event().wait()
        return ()

    def acknowledge(self, reader: str, position: int) -> None:
        """There is nothing to acknowledge."""

    async def query(self, *_: object, **__: object) -> EventPage:
        return EventPage((), None)


class CrippledBridge:
    """Waits for the files to be mended; shows meanwhile what is wrong (see `bridge.ports.Operations`)."""

    def __init__(self, faults: Sequence[str], clock: Clock, load: Callable[[], Site], paths: Sequence[Path]) -> None:
        self._faults = tuple(faults)
        self._clock = clock
        self._started = clock.now()
        self._load = load
        self._paths = tuple(paths)
        self._asked = asyncio.Event()
        self._mended: asyncio.Future[Site] = asyncio.get_running_loop().create_future()

    async def wait(self, status: StatusConfig, state: StateDirectory | None = None) -> Site:
        """Serve until a changed file is good; the site it describes. In `state` it is found, as a running bridge is."""
        slots = Slots()
        table = Table(Plant(bridge_machine("", "", {}, slots.slot), {}), self._clock, _NoEvents())
        with _at_home(state) as (home, token):
            server = StatusServer(status, token, self._clock)

            def announce(url: str) -> None:
                if home is not None:
                    home.announce(url, status.cert_file)

            return await self._served(server, table, announce)

    async def _served(self, server: StatusServer, table: Table, announce: Callable[[str], None]) -> Site:
        async with asyncio.TaskGroup() as group:
            face = group.create_task(server.run(table, closed_desk(), self), name="status")
            watch = group.create_task(self._watch(), name="file watch")
            url = await server.listening()
            announce(url)
            logger.error(
                "The configuration has %d faults; mend it: it is read again when it changes", len(self._faults)
            )
            logger.error("Until then only the status page is up, with the faults on it: %s", url)
            site = await self._mended
            face.cancel()
            watch.cancel()
        return site

    def ask(self) -> None:
        """Read the files again now."""
        self._asked.set()

    async def _watch(self) -> None:
        seen = stamp(self._paths)
        while not self._mended.done():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._asked.wait()
            now = await asyncio.to_thread(stamp, self._paths)
            if self._asked.is_set() or now != seen:
                self._asked.clear()
                seen = now
                await self.reload()

    def health(self) -> Health:
        """Live, not ready, and why."""
        return Health(True, False, self._faults, __version__, self._started, "", refused=self._faults)

    def addresses(self, tag: Tag) -> Mapping[str, str]:
        """Nothing is anywhere."""
        return {}

    async def events(self, limit: int) -> Sequence[Event]:
        """Nothing has happened."""
        return ()

    async def commands(self, limit: int, machine: str, dead: bool) -> Sequence[Mapping[str, Any]]:
        """None were taken."""
        return ()

    async def command(self, identifier: str) -> Mapping[str, Any] | None:
        """None was taken."""
        return None

    def newest_taken(self, target: str, door: Door, within_s: float) -> Taken | None:
        """None was taken."""
        return None

    async def retry(self, identifier: str, requester: str, role: Role) -> Outcome:
        """There is nothing to send again."""
        raise KeyError(identifier)

    async def discard(self, identifier: str, requester: str, reason: str) -> None:
        """There is nothing to put aside."""
        raise KeyError(identifier)

    async def reload(self) -> Sequence[str]:
        """Read the files again; the faults that are left."""
        try:
            site = await asyncio.to_thread(self._load)
        except ConfigError as error:
            self._faults = tuple(str(fault) for fault in error.faults)
            for fault in self._faults:
                logger.error("%s", fault)
            return self._faults
        if not self._mended.done():
            self._mended.set_result(site)
        return ()

    def plc_source(self, machine: str, dialect: str, commands: Sequence[str]) -> str:
        """There is nothing to declare."""
        raise NotDeclared(f"there is no {machine} while the configuration has faults")

    def alarms(self) -> Sequence[AlarmCondition]:
        """There is no machine."""
        return ()

    def acknowledge(self, condition: str, by: str, comment: str | None) -> bool:
        """There is nothing to acknowledge."""
        return False

    def comment(self, condition: str, by: str, comment: str) -> bool:
        """There is nothing to say something about."""
        return False

    async def certificates(self) -> Sequence[Mapping[str, Any]]:
        """There is no server."""
        return ()

    async def trust(self, thumbprint: str, by: str) -> None:
        """There is nobody to trust."""
        raise KeyError(thumbprint)

    async def distrust(self, thumbprint: str, by: str) -> None:
        """Nobody is trusted."""
        raise KeyError(thumbprint)

    def found(self) -> Sequence[FoundWaiting]:
        """Nothing was found."""
        return ()

    async def adopt(self, source: str, key: str, by: str) -> str:
        """There is nothing to adopt."""
        raise KeyError(key)

    async def document(self, kind: str, connection: str) -> str:
        """There is nothing to describe."""
        raise NotDeclared("there is no plant while the configuration has faults")

    async def outline(self) -> Mapping[str, Any]:
        """There is nothing to compare with."""
        return {"configuration": "", "settings": {}, "mappings": {}, "faces": [], "machines": {}}

    def log(self) -> Sequence[str]:
        """The newest lines of the log."""
        return tail.lines

    def log_levels(self) -> Mapping[str, str]:
        """From which level on each part tells."""
        return levels()

    def set_log_level(self, room: str, level: str) -> None:
        """Tell more or less of a part."""
        set_level(room, level)

    def drift(self) -> Sequence[Mapping[str, Any]]:
        """No vendor is asked."""
        return ()

    def record(self, wish: RecordingWish) -> AsyncGenerator[bytes, None]:
        """No source speaks."""
        raise NotRecordable("there is nothing to record while the configuration has faults")

    def explain(self, tag: Tag) -> Mapping[str, Any]:
        """There is nothing to explain."""
        return {}


@contextlib.contextmanager
def _at_home(state: StateDirectory | None) -> Iterator[tuple[StateDirectory | None, SecretStr]]:
    """The state directory and its token; none and one of its own where another bridge has it, or it cannot be had."""
    with contextlib.ExitStack() as stack:
        home, token = None, SecretStr(secrets.token_urlsafe(32))
        with contextlib.suppress(StateDirectoryBusy, StateDirectoryUnusable, OSError):
            if state is not None:
                stack.enter_context(state.locked())
                home, token = state, state.admin_token()
                stack.callback(state.withdraw)
        yield home, token


def status_config(data: Any, folder: Path) -> StatusConfig:
    """Where health is to be served as far as a faulty configuration tells; the default where it does not."""
    try:
        said = data["northbound"]["status"]
        config = _first_valid(said, {"port": said.get("port")})
    except (KeyError, TypeError, AttributeError):
        return StatusConfig()
    files = {key: str(folder / name) for key in ("cert_file", "key_file") if (name := getattr(config, key))}
    config = config.model_copy(update=files)
    return StatusConfig(port=config.port) if tls_fault(config) else config


def _first_valid(*said: Any) -> StatusConfig:
    for one in said:
        with contextlib.suppress(ValidationError):
            return StatusConfig.model_validate(one)
    return StatusConfig()
