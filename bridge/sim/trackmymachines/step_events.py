"""/api/v1/step_events: read, start and finish a step on a machine.

Source: the step events page, editions of 28 May 2025 (GET daily sums, POST, PATCH finish) and 15 July 2025 (GET rich
rows, POST that may finish what it creates). There is no idempotency key: the same POST twice makes two events.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from itertools import pairwise
from statistics import median
from typing import Any

import orjson
from aiohttp import web

from bridge.ports import Clock
from bridge.sim.trackmymachines import query, timestamps
from bridge.sim.trackmymachines.answers import Refused, json_answer
from bridge.sim.trackmymachines.behaviour import Behaviour
from bridge.sim.trackmymachines.organisation import Event, Machine, Organisation, Step, User

REQUIRED = ("machine_display_name", "start", "user_email", "part_unique_identifier", "recipe_version", "step_number")
NO_MACHINE = "Machine not found"
NO_USER = "User not found"
NO_ACTIVE_STEP = "No active step event found for this machine"
BAD_END = "Invalid end timestamp"


class BadBody(Exception):
    """No JSON, or no `step_event` in it: Rails answers 400 before the vendor's code runs."""


class StepEvents:
    """The three requests, on one organisation's records. Each raises Refused for what the vendor refuses."""

    def __init__(self, organisation: Organisation, clock: Clock) -> None:
        self._records = organisation
        self._clock = clock

    # -- GET

    def read(self, behaviour: Behaviour, raw_query: str) -> web.Response:
        """Daily sums under "data" (May), or one row per step event (July)."""
        parameters = query.rack(raw_query)
        first, last = timestamps.week_of(self._clock.now())
        days = []
        for name, default in (("from", first), ("to", last)):
            given = query.text(parameters, name)
            day = timestamps.parse_day(given) if given else default
            if day is None:
                raise Refused(422, f"{name} is not a valid date")
            days.append(day)
        numbers = query.rails_list(parameters, "machine_ids")
        chosen = [
            event
            for event in self._records.events
            if event.type == "step"
            and days[0] <= event.start.date() <= days[1]
            and (not event.machine.archived if numbers is None else str(event.machine.number) in numbers)
        ]
        timeline = _Timeline(self._records)
        if behaviour.edition == "2025-07":
            return json_answer([self._rich(event, timeline) for event in chosen])
        return json_answer({"data": _daily(chosen, timeline)})

    def _rich(self, event: Event, timeline: _Timeline) -> dict[str, Any]:
        cycles = timeline.cycle_times(event)
        counts = sorted(part.start for part in timeline.under(event, "part_count"))
        gaps = [(b - a).total_seconds() for a, b in pairwise(counts)]
        length = ((event.end or self._clock.now()) - event.start).total_seconds()
        return {
            "id": event.number,
            "tzrange": timestamps.ruby_range(event.start, event.end, "Infinity"),
            "started_at": timestamps.millis_text(event.start),
            "ended_at": None if event.end is None else timestamps.millis_text(event.end),
            "eventable_type": "Step",
            "eventable_id": event.step.number if event.step is not None else None,
            "machine_id": event.machine.number,
            "cycle_count": len(cycles),
            "minimum_cycle_time": min(cycles, default=None),
            "median_cycle_time": median(cycles) if cycles else None,
            "maximum_cycle_time": max(cycles, default=None),
            "total_in_cycle_time": sum(cycles),
            "part_count": len(counts),
            "time_to_first_part_count": (counts[0] - event.start).total_seconds() if counts else None,
            "minimum_time_between_part_counts": min(gaps, default=None),
            "maximum_time_between_part_counts": max(gaps, default=None),
            "median_time_between_part_counts": median(gaps) if gaps else None,
            "load_time": max(0.0, sum(gaps) - sum(cycles[1:])),
            "total_part_count_time": sum(gaps),
            "total_dead_time": max(0.0, length - sum(cycles)),
            "metadata": _july_metadata(event),
            "machine_name": event.machine.display_name,
            "display_name": _display_name(event.step),
            "range": timestamps.ruby_range(event.start, event.end),
        }

    # -- POST

    def create(self, behaviour: Behaviour, content_type: str, body: bytes) -> web.Response:
        """Start a step: the event and the part, recipe and step it found or made."""
        fields = _fields(content_type, body)
        if missing := [name for name in REQUIRED if _is_blank(fields.get(name))]:
            raise Refused(422, f"{', '.join(missing)} can't be blank")
        machine = self._machine(fields["machine_display_name"], behaviour)
        user = self._user(fields["user_email"], behaviour)
        start = timestamps.parse(fields["start"])
        if start is None:
            raise Refused(422, "Invalid start timestamp")
        end = self._finish_of(fields, start, behaviour)
        self._make_room(machine, start, behaviour)
        step = self._step(fields)
        now = self._clock.now()
        event = self._records.insert(
            "step", machine, start, end, step.recipe.part.unique_identifier, now,
            step=step, user=user, metadata=_metadata(fields, ("qty_expected", "wo_number")),
        )  # fmt: skip
        return json_answer(self._created(event, step, user), int(behaviour.created_status))

    def _finish_of(self, fields: Mapping[str, Any], start: datetime, behaviour: Behaviour) -> datetime | None:
        given = fields.get(behaviour.finish_parameter)
        if behaviour.edition != "2025-07" or given is None or given is False:
            return None
        end = self._clock.now() if given is True else timestamps.parse(given)
        if end is None or end < start:
            raise Refused(422, BAD_END)
        return end

    def _make_room(self, machine: Machine, start: datetime, behaviour: Behaviour) -> None:
        active = self._records.active_step(machine)
        if active is None or behaviour.when_active == "overlap":
            return
        if behaviour.when_active == "422":
            raise Refused(422, "Machine already has an active step event")
        active.end = max(active.start, start)
        active.ending_type = "automatic"
        active.updated = self._clock.now()

    def _step(self, fields: Mapping[str, Any]) -> Step:
        now = self._clock.now()
        part, version = str(fields["part_unique_identifier"]), _to_i(fields["recipe_version"])
        step = self._records.step(part, version, str(fields["step_number"]), now)
        for name in ("cycle", "setup"):
            expected = fields.get(f"step_expected_{name}_time")
            if expected is not None:
                setattr(step, f"expected_{name}_time", _number(expected))
                step.updated = now
        return step

    def _created(self, event: Event, step: Step, user: User) -> dict[str, Any]:
        recipe, part = step.recipe, step.recipe.part
        span = timestamps.ruby_range(event.start, event.end)
        stamps = {name: timestamps.millis_text(event.created) for name in ("created_at", "updated_at")}
        return {
            "event": {
                "machine_id": event.machine.number,
                "range": span,
                "eventable_type": "Step",
                "eventable_id": step.number,
                "ending_type": event.ending_type,
                "id": event.number,
                "deleted_at": None,
                "metadata": event.metadata,
                **stamps,
                "user_id": user.number,
                "tzrange": span,
                "machine_name": event.machine.display_name,
                "display_name": _display_name(step),
            },
            "step": {
                "id": step.number,
                "machine_id": None,
                "recipe_id": recipe.number,
                "number": step.name,
                "description": None,
                "created_at": timestamps.millis_text(step.created),
                "updated_at": timestamps.millis_text(step.updated),
                "expected_cycle_time": step.expected_cycle_time,
                "expected_setup_time": step.expected_setup_time,
            },
            "recipe": {
                "id": recipe.number,
                "organisation_id": None,
                "part_id": part.number,
                "description": None,
                "created_at": timestamps.millis_text(recipe.created),
                "updated_at": timestamps.millis_text(recipe.created),
                "version": recipe.version,
            },
            "part": {
                "id": part.number,
                "unique_identifier": part.unique_identifier,
                "organisation_id": self._records.number,
                "description": None,
                "created_at": timestamps.millis_text(part.created),
                "updated_at": timestamps.millis_text(part.created),
            },
        }

    # -- PATCH finish

    def finish(self, behaviour: Behaviour, content_type: str, body: bytes) -> web.Response:
        """Finish whichever step is active on the machine, also if it is not the one the caller means."""
        fields = _fields(content_type, body)
        if _is_blank(fields.get("machine_display_name")):
            raise Refused(422, "machine_display_name can't be blank")
        machine = self._machine(fields["machine_display_name"], behaviour)
        active = self._records.active_step(machine)
        if active is None:
            raise Refused(int(behaviour.not_found_status), NO_ACTIVE_STEP)
        given = fields.get("end")
        end = self._clock.now() if given is None else timestamps.parse(given)
        if end is None or end < active.start:
            raise Refused(422, BAD_END)
        active.end, active.updated = end, self._clock.now()
        made = _metadata(fields, ("qty_made", "qty_scrapped"))
        active.metadata |= {name.replace("qty_", "quantity_"): value for name, value in made.items()}
        answer = {
            "id": active.number,
            "machine_id": machine.number,
            "user_id": active.user.number if active.user is not None else None,
            "tzrange": timestamps.iso_range(active.start, end),
            "metadata": active.metadata,
        }
        return json_answer({"event": answer})

    # -- both

    def _machine(self, name: Any, behaviour: Behaviour) -> Machine:
        for machine in self._records.machines:
            if not machine.archived and _same(name, machine.display_name, behaviour):
                return machine
        raise Refused(int(behaviour.not_found_status), NO_MACHINE)

    def _user(self, email: Any, behaviour: Behaviour) -> User:
        for user in self._records.users:
            if user.email == email:
                return user
        raise Refused(int(behaviour.not_found_status), NO_USER)


class _Timeline:
    """What happened on each machine, to be looked up by step event."""

    def __init__(self, records: Organisation) -> None:
        self._of: dict[tuple[int, str], list[Event]] = {}
        for event in records.events:
            self._of.setdefault((event.machine.number, event.type), []).append(event)

    def under(self, step: Event, kind: str) -> list[Event]:
        """Events that began while a step ran."""
        return [
            event
            for event in self._of.get((step.machine.number, kind), ())
            if event.start >= step.start and (step.end is None or event.start <= step.end)
        ]

    def cycle_times(self, step: Event) -> list[float]:
        """Of the whole cycles, in seconds."""
        return [(c.end - c.start).total_seconds() for c in self.under(step, "cycle") if c.end is not None]


def _daily(chosen: list[Event], timeline: _Timeline) -> list[dict[str, Any]]:
    sums: dict[tuple[str, str], tuple[int, float]] = {}
    for event in chosen:
        key = (event.start.date().isoformat(), event.machine.display_name)
        count, seconds = sums.get(key, (0, 0.0))
        sums[key] = (count + 1, seconds + sum(timeline.cycle_times(event)))
    return [
        {"date": day, "machine": machine, "events_count": count, "total_cycle_time": round(seconds)}
        for (day, machine), (count, seconds) in sorted(sums.items())
    ]


def _fields(content_type: str, body: bytes) -> Mapping[str, Any]:
    if content_type != "application/json":  # Rails reads no JSON from a body that does not say it is
        raise BadBody
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise BadBody from None
    fields = content.get("step_event") if isinstance(content, dict) else None
    if not isinstance(fields, dict) or not fields:
        raise BadBody
    return fields


def _is_blank(value: Any) -> bool:
    return value is None or value is False or (isinstance(value, str | list | dict) and not value) or _spaces(value)


def _spaces(value: Any) -> bool:
    return isinstance(value, str) and not value.strip()


def _same(given: Any, name: str, behaviour: Behaviour) -> bool:
    if behaviour.display_names == "exact":
        return bool(given == name)
    return re.sub(r"\s+", "", str(given)).casefold() == re.sub(r"\s+", "", name).casefold()


def _metadata(fields: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: fields[name] for name in names if fields.get(name) is not None}


def _july_metadata(event: Event) -> dict[str, str]:
    """The July edition's own names and texts: {work_order_id: "", quantity_expected: "15"}."""
    told = {"work_order_id": event.metadata.get("wo_number", "")}
    told["quantity_expected"] = event.metadata.get("qty_expected", "")
    told |= {name: value for name, value in event.metadata.items() if name.startswith("quantity_")}
    return {name: str(value) for name, value in told.items()}


def _display_name(step: Step | None) -> str | None:
    return None if step is None else f"{step.recipe.part.unique_identifier} Op{step.name}"


def _to_i(value: Any) -> int:
    """Ruby's to_i: the leading digits, or 0. "1a" is version 1 and "B" version 0."""
    if isinstance(value, int | float):
        return int(value)
    digits = re.match(r"\s*[+-]?\d+", str(value))
    return int(digits[0]) if digits is not None else 0


def _number(value: Any) -> float | int:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    return _to_i(value)
