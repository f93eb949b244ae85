"""Operations: what the admin API shows and does, in one place (see `bridge.ports.Operations`)."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import asdict, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from bridge import __version__
from bridge.commands.journal import State
from bridge.model.command import Door, Outcome, Result
from bridge.model.connection import ConnectionState
from bridge.model.status import StatusCode
from bridge.northbound.opcua.server import OpcuaServer
from bridge.ports import FaceHealth, FoundWaiting, Health, SourceHealth, Troubled
from bridge.runtime.certificates import certificates, distrust, trust
from bridge.runtime.counters import DESCRIPTIONS
from bridge.runtime.declarations import plc_source
from bridge.runtime.documents import document
from bridge.runtime.explain import explain, source_of
from bridge.runtime.logging import levels, set_level, tail
from bridge.runtime.outline import outline

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence
    from pathlib import Path

    from bridge.commands.journal import Entry
    from bridge.model.alarm import AlarmCondition
    from bridge.model.command import Role
    from bridge.model.event import Event
    from bridge.model.tag import Tag
    from bridge.ports import RecordingWish, Taken
    from bridge.runtime.bridge import Bridge


class BridgeOperations:
    """A running bridge's operations."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def health(self) -> Health:
        """The bridge's state now."""
        bridge = self._bridge
        why = self.why_not_ready()
        return Health(
            live=True,
            ready=not why,
            why_not_ready=why,
            version=__version__,
            started=bridge.started,
            configuration=bridge.configuration,
            sources=tuple(self._source(name) for name in bridge.runners),
            faces=tuple(self.face(name) for name in bridge.faces),
            refused=tuple(bridge.refused),
            metrics=bridge.metrics(),
            descriptions=DESCRIPTIONS,
        )

    def why_not_ready(self) -> tuple[str, ...]:
        """What is missing, in sentences."""
        bridge = self._bridge
        states = {name: runner.status for name, runner in bridge.runners.items()}
        lost = {name: one for name, one in states.items() if one.state is not ConnectionState.Connected}
        why = [f"{name}: {status.reason or status.state.name}" for name, status in lost.items()]
        why += [f"{face.name}: {face.detail}" for face in map(self.face, bridge.faces) if face.detail]
        why += [f"configuration: {fault}" for fault in bridge.refused] if bridge.is_crippled else []
        return tuple(why)

    def _source(self, name: str) -> SourceHealth:
        runner = self._bridge.runners[name]
        status = runner.status
        next_try = None if status.next_try_at is None else max(0.0, status.next_try_at - self._bridge.clock.monotonic())
        return SourceHealth(
            name,
            self._bridge.site.file.sources[name].type,
            status.state.name,
            status.reason,
            status.since or self._bridge.started,
            status.advice,
            status.last_update,
            status.reconnects,
            next_try if status.state is not ConnectionState.Connected else None,
        )

    def face(self, name: str) -> FaceHealth:
        """How a face is."""
        if name not in self._bridge.running_faces:
            return FaceHealth(name, running=False, detail="not running")
        face = self._bridge.faces[name]
        return FaceHealth(name, running=True, detail=face.trouble if isinstance(face, Troubled) else "")

    def addresses(self, tag: Tag) -> Mapping[str, str]:
        """Where the tag is on each face."""
        return {name: face.address(tag) for name, face in self._bridge.faces.items()}

    async def events(self, limit: int) -> Sequence[Event]:
        """The newest events, newest first."""
        return await self._bridge.log.newest(limit)

    async def reload(self) -> Sequence[str]:
        """Read the configuration again; the faults that kept it from being taken."""
        return await self._bridge.reload()

    async def commands(self, limit: int, machine: str, dead: bool) -> Sequence[Mapping[str, Any]]:
        """The newest commands, newest first."""
        state = State.DEAD if dead else None
        return [entry_payload(entry) for entry in await self._bridge.journal.newest(limit, machine, state)]

    async def command(self, identifier: str) -> Mapping[str, Any] | None:
        """One command with its whole life."""
        entry = await self._bridge.journal.get(identifier)
        return None if entry is None else entry_payload(entry)

    def newest_taken(self, target: str, door: Door, within_s: float) -> Taken | None:
        """The command of this door and target that the desk took last."""
        since = self._bridge.clock.now() - timedelta(seconds=within_s)
        return self._bridge.journal.newest_taken(target, door, since)

    async def retry(self, identifier: str, requester: str, role: Role) -> Outcome:
        """Send a dead letter again, as a new command; try to deliver a booking that is kept, now."""
        if await self._is_kept(identifier):
            return self._bridge.desk.hurry(identifier)
        entry = await self._dead(identifier)
        if entry.is_masked:
            sentence = "The journal keeps no secrets and no e-mail addresses: send it anew by its own door"
            return Outcome(Result.REJECTED, StatusCode.BadInvalidState, sentence)
        now = self._bridge.clock.now()
        again = replace(
            entry.command,
            id=f"retry:{uuid.uuid4()}",
            arguments=self._bridge.desk.as_taken(entry),
            door=Door.ADMIN,
            requester=requester,
            issued=now,
            expires=now + timedelta(seconds=30),
            role=role,
        )
        ticket = self._bridge.desk.submit(again)
        if await ticket.accepted is None:  # what was refused at once leaves the letter where it is
            await self._bridge.journal.discard(identifier, requester, f"sent again as {again.id}")
        return await ticket.result

    async def discard(self, identifier: str, requester: str, reason: str) -> None:
        """Put a dead letter aside, or a booking that is kept."""
        if await self._is_kept(identifier):
            await self._bridge.desk.withdraw(identifier, requester, reason)
            return
        await self._dead(identifier)
        await self._bridge.journal.discard(identifier, requester, reason)

    async def _is_kept(self, identifier: str) -> bool:
        entry = await self._bridge.journal.get(identifier)
        return entry is not None and entry.state is State.QUEUED

    async def _dead(self, identifier: str) -> Entry:
        entry = await self._bridge.journal.get(identifier)
        if entry is None or entry.state is not State.DEAD:
            raise KeyError(identifier)
        return entry

    def plc_source(self, machine: str, dialect: str, commands: Sequence[str]) -> str:
        """What a PLC's programmer declares for a machine of the plant as it is now."""
        return plc_source(self._bridge.table.plant, self._bridge.faces, machine, dialect, commands)

    def alarms(self) -> Sequence[AlarmCondition]:
        """What is active or not acknowledged."""
        return self._bridge.alarms.conditions

    def acknowledge(self, condition: str, by: str, comment: str | None) -> bool:
        """Somebody has seen it."""
        return self._bridge.alarms.acknowledge(condition, by, comment)

    def comment(self, condition: str, by: str, comment: str) -> bool:
        """Somebody says something about it."""
        return self._bridge.alarms.comment(condition, by, comment)

    async def certificates(self) -> Sequence[Mapping[str, Any]]:
        """Certificates of the OPC UA server and its clients."""
        folder = self._pki()
        return await asyncio.to_thread(certificates, folder, self._bridge.clock.now()) if folder else ()

    async def trust(self, thumbprint: str, by: str) -> None:
        """Let a client in that was refused."""
        await asyncio.to_thread(trust, self._pki(), thumbprint, by, self._bridge.clock.now())

    async def distrust(self, thumbprint: str, by: str) -> None:
        """Shut a client out that was trusted."""
        await asyncio.to_thread(distrust, self._pki(), thumbprint, by, self._bridge.clock.now())

    def _pki(self) -> Path | None:
        face = self._bridge.faces.get("opcua")
        return face.pki if isinstance(face, OpcuaServer) else None

    def found(self) -> Sequence[FoundWaiting]:
        """Machines that wait for somebody to adopt them."""
        library = self._bridge.site.library
        return [
            FoundWaiting(one.source, one.key, one.id, one.identity, one.first_seen, mapping.name if mapping else "")
            for one in self._bridge.keeper.waiting_for_adoption.values()
            for mapping in [library.choose(one.identity)]
        ]

    async def adopt(self, source: str, key: str, by: str) -> str:
        """Take a found machine into the plant, for good."""
        return self._bridge.keeper.adopt((source, key), by)

    async def document(self, kind: str, connection: str) -> str:
        """A page made from the plant as it is now."""
        return await document(kind, self._bridge.table.plant, self._bridge.faces, connection)

    async def outline(self) -> Mapping[str, Any]:
        """What there is, to compare a changed configuration with."""
        bridge = self._bridge
        return await outline(bridge.table.plant, bridge.faces, bridge.site, bridge.configuration)

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
        """How vendors' answers have changed since the start."""
        return [asdict(found) for found in self._bridge.keeper.drift.findings]

    def record(self, wish: RecordingWish) -> AsyncGenerator[bytes, None]:
        """What sources publish, redacted, as lines of JSON."""
        return self._bridge.recorder.lines(wish)

    def explain(self, tag: Tag) -> Mapping[str, Any]:
        """Where a value comes from and why it is as it is."""
        name = source_of(self._bridge, tag)
        return explain(self._bridge, tag, self._source(name) if name in self._bridge.runners else None)


def entry_payload(entry: Entry) -> dict[str, Any]:
    """A command as the journal keeps it, as plain data."""
    command, outcome = entry.command, entry.outcome
    return {
        "id": command.id,
        "target": command.target,
        "machine": entry.machine,
        "arguments": dict(command.arguments),
        "old": entry.old,
        "door": command.door.value,
        "requester": command.requester,
        "role": command.role.value,
        "issued": command.issued,
        "state": entry.state.value,
        "history": [{"state": state.value, "at": at, "detail": detail} for state, at, detail in entry.history],
        "result": outcome.result.value if outcome else None,
        "status": outcome.status.name if outcome else None,
        "sentence": outcome.sentence if outcome else "",
        "actual": outcome.actual if outcome else None,
        "vendor_code": outcome.vendor_code if outcome else 0,
        "vendor_text": outcome.vendor_text if outcome else "",
        "items": [{**asdict(item), "result": item.result.value} for item in entry.items],
    }
