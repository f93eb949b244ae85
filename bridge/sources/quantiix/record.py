"""What is known of one machine: each answer of Quantiix in, observations and events out. Pure.

    state    -> Latched -> channel "state" · state_changed, missed_transition, downtime_started, downtime_ended
    activity -> Timeline -> channels "activity", "kpi" · interval_closed, interval_revised

Rules (facts/other-vendors.md 3.4)
1. What was told of an interval is told once: its event's id is its start. Activity younger than an hour may be revised
   by the vendor, and then the revision is told; older activity is final.
2. The last record of a window is provisional: its end is only where the window ended. It is not told, and figures end
   where the vendor's knowledge ends, if that is not longer ago than its own delay.
3. Nothing is told of the time before the bridge first heard of the machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bridge.model.event import Event
from bridge.sources.quantiix.figures import CODES, IDLE, OFF, UNKNOWN_CODE, figures
from bridge.sources.quantiix.intervals import MINUTE, Interval, clipped, replaced, timeline
from bridge.sources.quantiix.since import TOLERANCE, Latched, corrected, seen

if TYPE_CHECKING:
    from bridge.model.calendar import Calendar
    from bridge.sources.quantiix.config import QuantiixConfig
    from bridge.sources.quantiix.intervals import Timeline
    from bridge.sources.quantiix.payloads import Activity, Machine, State

HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
WEEK: Final = 7 * DAY
FINAL_AFTER: Final = HOUR
"""What ended so long ago is not revised any more (Quantiix: "cache activity data older than 1 hour")."""

DELAY: Final = 3 * MINUTE
"""The vendor computes on a grid of a minute and is one or two behind."""

ROLLING: Final = {"hour": HOUR, "day": DAY, "week": WEEK}


class Said(NamedTuple):
    """What follows from one answer: payloads by channel, and events."""

    payloads: Mapping[str, dict[str, Any]]
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Rules:
    """What the configuration says about figures and downtimes. Times are milliseconds."""

    off_counts: bool
    coverage: float
    downtime: Mapping[str, float]
    """By state: from how long on it is a downtime."""
    calendar: Calendar | None
    has_shifts: bool

    @classmethod
    def of(cls, config: QuantiixConfig, calendar: Calendar | None) -> Rules:
        """The rules of a configuration."""
        limits = {IDLE: config.downtime.idle, OFF: config.downtime.off}
        downtime = {state: seconds * 1000 for state, seconds in limits.items() if seconds is not None}
        used = None if config.calendar == "none" else calendar
        return cls(config.off_counts, config.coverage, downtime, used, config.calendar == "shifts")


class Record:
    """One machine. `kept` is what `document` gave before a restart."""

    def __init__(self, source: str, key: str, rules: Rules, kept: Mapping[str, Any] | None = None) -> None:
        self._source = source
        self._key = key
        self._rules = rules
        self._whole = timeline(())
        self._latched: Latched | None = None
        self._downtime: int | None = None
        self.watermark: int | None = None
        """Up to where everything is final and told; None before the first activity."""
        self.refreshed: int | None = None
        """The end of the window that was read last."""
        self._told_until = 0
        self._seen_at: int | None = None
        """When the state was last heard."""
        self._has_week = False
        if kept:
            self._recall(kept)

    # -- over a restart

    def document(self) -> dict[str, Any]:
        """What must be known after a restart, as plain JSON data."""
        recent = (self.watermark or 0) - 2 * FINAL_AFTER
        return {
            "latched": None if self._latched is None else list(self._latched),
            "downtime": self._downtime,
            "watermark": self.watermark,
            "refreshed": self.refreshed,
            "told_until": self._told_until,
            "timeline": [list(interval) for interval in self._whole if interval.end > recent],
        }

    def _recall(self, kept: Mapping[str, Any]) -> None:
        latched = kept.get("latched")
        self._latched = None if latched is None else Latched(*latched)
        self._downtime = kept.get("downtime")
        self.watermark = kept.get("watermark")
        self.refreshed = kept.get("refreshed")
        self._told_until = kept.get("told_until") or 0
        self._whole = timeline(Interval(*interval) for interval in kept.get("timeline") or ())

    # -- state

    def see_state(self, state: State, now: int) -> Said:
        """A poll's answer, at the vendor's time `now` (ms)."""
        before = self._latched
        told = seen(before, state.word, state.minutes, now)
        self._latched, self._seen_at = told.latched, now
        events = [*self._state_events(before, told.latched, now, changed=told.changed, missed=told.missed)]
        events += self._downtime_events(now)
        return Said({"state": self._state_payload(told.latched, state.minutes, now)}, tuple(events))

    def _state_payload(self, latched: Latched, minutes: int, now: int) -> dict[str, Any]:
        lasted = max(0, now - latched.since)
        is_down = self._downtime is not None
        return {
            "state": latched.state,
            "code": CODES.get(latched.state, UNKNOWN_CODE),
            "known": latched.state in CODES,
            "running": latched.state == "RUNNING",
            "reported": minutes,
            "since": latched.since,
            "duration": lasted / 1000,
            "downtime": is_down,
            "downtime_minutes": lasted / MINUTE if is_down else 0.0,
        }

    def _state_events(
        self, before: Latched | None, after: Latched, now: int, *, changed: bool, missed: bool
    ) -> Iterator[Event]:
        if changed and before is not None:
            yield self._event(
                "state_changed",
                f"{before.state}-{after.state}-{after.since // MINUTE}",
                after.since,
                f"{before.state} became {after.state}",
                100,
                {"from": before.state, "to": after.state, "at": _iso(after.since)},
            )
        if missed and before is not None:
            yield self._event(
                "missed_transition",
                str(after.since // MINUTE),
                after.since,
                f"It left {after.state} and came back between two polls; its activity tells when",
                100,
                {"state": after.state, "detected_at": _iso(now)},
            )

    def _downtime_events(self, now: int) -> Iterator[Event]:
        latched = self._latched
        limit = None if latched is None else self._rules.downtime.get(latched.state)
        is_down = latched is not None and limit is not None and now - latched.since >= limit
        if is_down and latched is not None and self._downtime is None:
            self._downtime = latched.since
            yield self._event(
                "downtime_started",
                str(latched.since),
                latched.since,
                f"{latched.state} since {_iso(latched.since)}",
                500,
                {"state": latched.state, "at": _iso(latched.since)},
            )
        elif not is_down and self._downtime is not None:
            started, self._downtime = self._downtime, None
            ended = latched.since if latched is not None else now
            minutes = max(0.0, (ended - started) / MINUTE)
            yield self._event(
                "downtime_ended",
                str(started),
                max(ended, started),
                f"A downtime of {minutes:.0f} min ended",
                300,
                {"at": _iso(max(ended, started)), "started": _iso(started), "minutes": round(minutes, 3)},
            )

    # -- activity

    def next_window(self, now: int, max_backfill: int) -> tuple[int, int]:
        """The window to read next, [start, end): what may have been revised, and all that came after.

        After a start it reaches back a week, so that the figures of the week can be told.
        """
        start = now - WEEK if self.watermark is None else min(self.watermark, now) - FINAL_AFTER
        if not self._has_week:
            start = min(start, now - WEEK)
        return max(start, now - max(max_backfill, WEEK)), now

    def see_activity(self, activity: Activity, start: int, end: int, *, is_last: bool = True) -> Said:
        """An answer for [start, end); `is_last` where no later slice follows at once."""
        is_first = self.watermark is None
        before = tuple(clipped(self._whole, start, end))
        whole = replaced(self._whole, start, end, activity.intervals)
        self._whole = tuple(interval for interval in whole if interval.end > end - 2 * WEEK)
        self._has_week |= is_last
        provisional = self._provisional(activity, end)
        known = self._whole[-1].end if self._whole else start
        edge = provisional.start if provisional is not None else min(known, end)
        events: list[Event] = []
        if is_first:
            self._told_until = edge
        else:
            events += self._revised(before, edge)
            events += self._closed(edge)
        self.watermark, self.refreshed = max(self.watermark or 0, min(edge, end)), end
        if is_last and provisional is not None:
            self._latched = corrected(self._latched, provisional.state, provisional.start)
        payloads = self._figures(end) | {"activity": self._activity_payload(end)} if is_last else {}
        return Said(payloads, tuple(events))

    def see_nothing(self, end: int) -> Said:
        """No records for the window up to `end`: nothing is taken back for that, but what is known gets older."""
        return Said(self._figures(end), ())

    def _provisional(self, activity: Activity, end: int) -> Interval | None:
        """The interval that still goes on: the last one, unless the vendor's knowledge ended long before the window."""
        last = self._whole[-1] if self._whole else None
        if last is None or (activity.provisional is None and last.end < end - DELAY):
            return None
        return last

    def _closed(self, edge: int) -> Iterator[Event]:
        """Every interval that ended since the last one that was told of."""
        for interval in self._whole:
            if interval.end > self._told_until and interval.end <= edge and interval.start < edge:
                yield self._interval_event("interval_closed", interval, f"{interval.start}")
        self._told_until = max(self._told_until, edge)

    def _revised(self, before: tuple[Interval, ...], edge: int) -> Iterator[Event]:
        """What was told of and is not so any more."""
        now = set(self._whole)
        told = [i for i in before if i.end <= self._told_until and i not in now and not self._is_part(i)]
        for interval in told:
            later = next((other for other in self._whole if other.start == interval.start), None)
            if later is None or later.end <= edge:
                after = later or interval._replace(state="")
                yield self._interval_event(
                    "interval_revised",
                    after,
                    f"{interval.start}:{after.end}:{after.state}",
                    {"state_before": interval.state, "end_before": _iso(interval.end)},
                )

    def _is_part(self, interval: Interval) -> bool:
        """It was only cut at the edge of the window."""
        return any(
            o.start <= interval.start and interval.end <= o.end and o.state == interval.state for o in self._whole
        )

    def _activity_payload(self, end: int) -> dict[str, Any]:
        closed = [interval for interval in self._whole if interval.end <= self._told_until]
        last = closed[-1] if closed else None
        return {
            "last": None
            if last is None
            else {"state": last.state, "start": last.start, "end": last.end, "minutes": last.minutes},
            "watermark": self.watermark,
            "refreshed": end,
        }

    def _figures(self, end: int) -> dict[str, dict[str, Any]]:
        whole = self._with_present(end)
        known = whole[-1].end if whole else 0
        as_of = min(end, max(known, end - DELAY))
        windows: dict[str, tuple[int, str]] = {name: (as_of - length, name) for name, length in ROLLING.items()}
        calendar, moment = self._rules.calendar, _moment(as_of)
        if calendar is not None:
            day = calendar.day(moment)
            windows["today"] = _ms(day.start), day.name
            shift = calendar.shift(moment) if self._rules.has_shifts else None
            if shift is not None:
                windows["shift"] = _ms(shift.start), shift.name
        return {"kpi": {name: self._window(whole, start, as_of, title) for name, (start, title) in windows.items()}}

    def _with_present(self, end: int) -> Timeline:
        """The timeline up to now, where Quantiix leaves out what still goes on and the state tells it."""
        last, present = self._whole[-1] if self._whole else None, self._latched
        if last is None or present is None or self._seen_at is None or present.since > last.end + TOLERANCE:
            return self._whole
        return timeline((*self._whole, Interval(last.end, min(end, self._seen_at), present.state)))

    def _window(self, whole: Timeline, start: int, end: int, title: str) -> dict[str, Any]:
        told = asdict(figures(whole, start, end, off_counts=self._rules.off_counts))
        return {**told, "name": title, "enough": (told["coverage"] or 0.0) >= self._rules.coverage}

    # -- events

    def _interval_event(
        self, kind: str, interval: Interval, identifier: str, more: Mapping[str, str] | None = None
    ) -> Event:
        words = f"{interval.state or 'Nothing'} for {interval.minutes:.0f} min"
        data: dict[str, str | float] = {
            "state": interval.state,
            "start": _iso(interval.start),
            "end": _iso(interval.end),
            "minutes": round(interval.minutes, 3),
        }
        return self._event(kind, identifier, interval.end, words, 100, {**data, **(more or {})})

    def _event(
        self, kind: str, identifier: str, at: int, message: str, severity: int, data: Mapping[str, str | float]
    ) -> Event:
        whole = f"{self._source}:{self._key}:{kind}:{identifier}"
        return Event(whole, kind, _moment(at), message, severity, self._source, self._key, data)


def listing_event(source: str, kind: str, machine: Machine, at: datetime, before: Machine | None = None) -> Event:
    """machine_added, machine_removed or machine_renamed."""
    data = {"unique_id": machine.unique_id, "name": machine.name, "factory": machine.factory}
    words = {"machine_added": "is new", "machine_removed": "is gone", "machine_renamed": "has another name or place"}
    message = f"{machine.name} {words[kind]} in Quantiix' list"
    if before is not None:
        data |= {"name_before": before.name, "factory_before": before.factory}
        message = f"{before.name} is {machine.name} now"
    identifier = f"{source}:{machine.unique_id}:{kind}:{at.date().isoformat()}:{machine.name}"
    return Event(identifier, kind, at, message, 100, source, machine.unique_id, data)


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _iso(milliseconds: int) -> str:
    return _moment(milliseconds).isoformat(timespec="milliseconds").replace("+00:00", "Z")
