"""What can go wrong with TrackMyMachines, as switches: the wire (HttpFaults), keys, and people who edit the past.

Arguments are what JSON has. An event is named by its external id, a machine by number, display name or foreign id.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from bridge.sim.faults import faults_of
from bridge.sim.http_faults import FaultPlan, HttpFaults
from bridge.sim.trackmymachines import timestamps
from bridge.sim.trackmymachines.organisation import Event, Organisation

if TYPE_CHECKING:
    from bridge.sim.trackmymachines.server import TrackMyMachines


class Faults(HttpFaults):
    """The switches of one simulator."""

    def __init__(self, plan: FaultPlan, server: TrackMyMachines) -> None:
        super().__init__(plan)
        self._server = server

    # -- the vendor

    def behave(self, name: str, value: Any) -> None:
        """Set a switch of what the vendor's pages leave open, such as selection to start-in-window."""
        self._server.behave({name: value})

    def reseed(self) -> None:
        """Build the database anew: internal numbers and the feed's order change, external ids stay."""
        self._server.organisation.reseed()

    async def refuse(self) -> None:
        """Refuse connections until `accept`."""
        await self._server.refuse()

    async def accept(self) -> None:
        """Accept connections again."""
        await self._server.accept()

    # -- keys

    def expire_key(self, key: str) -> None:
        """The key's 90 days are over: 401 from now on."""
        self._server.keys[key].expires = self._server.clock.now()

    def revoke_key(self, key: str, revoked: bool = True) -> None:
        """Somebody has deleted the key, or it is back."""
        self._server.keys[key].revoked = bool(revoked)

    def renew_key(self, key: str, days: float = 90.0) -> None:
        """The key is good for so many days from now."""
        self._server.keys[key].expires = self._server.clock.now() + timedelta(days=float(days))

    # -- the timeline

    def insert(self, machine: str, kind: str, start: str, end: str | None = None, label: str = "") -> str:
        """Write an event late, with any start and end. Gives its id."""
        event = self._records.insert(
            kind, self._records.machine(machine), _moment(start), _moment(end) if end else None, label, self._now
        )
        return event.id

    def close(self, event: str, end: str | None = None) -> None:
        """Give an event an end: now, or then. In the future is allowed."""
        found = self._records.event(event)
        self._edit(found, found.start, _moment(end) if end else max(found.start, self._now))

    def relabel(self, event: str, label: str) -> None:
        """Somebody has found the reason."""
        found = self._records.event(event)
        found.label, found.updated = label, self._now

    def back_date(self, event: str, start: str, end: str | None = None) -> None:
        """Move an event's start, and its end where one is given."""
        found = self._records.event(event)
        self._edit(found, _moment(start), _moment(end) if end else found.end)

    def delete(self, event: str) -> None:
        """The event was a mistake."""
        self._records.delete(self._records.event(event))

    def plan_shift(self, machine: str, label: str = "Extra shift", hours: float = 8.0) -> str:
        """A shift from now on whose end is in the future. Gives its id."""
        end = self._now + timedelta(hours=float(hours))
        return self._records.insert("shift_period", self._records.machine(machine), self._now, end, label, self._now).id

    # -- machines

    def archive(self, machine: str, archived: bool = True) -> None:
        """The machine is left out of the feed, and cannot be written to."""
        self._records.machine(machine).archived = bool(archived)

    def rename(self, machine: str, display_name: str) -> None:
        """The machine's display name is another one."""
        self._records.machine(machine).display_name = display_name

    def foreign_id(self, machine: str, foreign_id: str | None = None) -> None:
        """The machine has another foreign id, or none."""
        self._records.machine(machine).foreign_id = foreign_id

    # -- time

    def advance(self, seconds: float) -> None:
        """Let virtual time pass at once."""
        self._server.clock.advance(float(seconds))

    def set_time(self, moment: str) -> None:
        """Set the virtual clock."""
        self._server.clock.set(_moment(moment))

    def speed(self, factor: float) -> None:
        """Run the virtual clock at so many times real time; 0 stops it."""
        self._server.clock.run_at(float(factor))

    @property
    def _records(self) -> Organisation:
        return self._server.organisation

    @property
    def _now(self) -> datetime:
        return self._server.clock.now()

    def _edit(self, event: Event, start: datetime, end: datetime | None) -> None:
        if end is not None and end < start:
            raise ValueError("an event cannot end before it starts")
        event.start, event.end, event.updated = start, end, self._now


def _moment(text: str) -> datetime:
    moment = timestamps.parse(text)
    if moment is None:
        raise ValueError(f"{text!r} is no timestamp: expected one such as 2025-05-27T10:00:00Z")
    return moment


FAULTS = faults_of(Faults)
"""Every fault by name."""
