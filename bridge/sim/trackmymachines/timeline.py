"""GET /api/v1/events: the timeline of a short window.

Source: the events page. Bare array; a window of at most 1 day; two published sentences for a bad one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from aiohttp import web

from bridge.ports import Clock
from bridge.sim.trackmymachines import query, timestamps
from bridge.sim.trackmymachines.answers import Refused, json_answer
from bridge.sim.trackmymachines.behaviour import Behaviour
from bridge.sim.trackmymachines.organisation import EVENT_TYPES, Event, Organisation

LONGEST = timedelta(days=1)
NOT_TIMESTAMPS = "from and to are required ISO8601 timestamps"
NOT_AFTER = "to must be after from"
TOO_LONG = "time window must not exceed 1 day"
"""The one sentence that is not published."""

PARSERS = {"rails": query.rails_list, "array": query.array_list, "comma": query.comma_list}


def events(organisation: Organisation, behaviour: Behaviour, clock: Clock, raw_query: str) -> web.Response:
    """The answer. Raises Refused, BadQuery, Unreadable."""
    parameters = query.rack(raw_query)
    start, end = _window(parameters)
    if behaviour.filters == "lenient":
        machines, types = (query.lenient_list(raw_query, name) for name in ("machine_foreign_ids", "types"))
    else:
        read = PARSERS[behaviour.filters]
        machines, types = (read(parameters, name) for name in ("machine_foreign_ids", "types"))
    wanted = _types(types, behaviour)
    now = clock.now()
    return json_answer(
        [
            _row(event)
            for event in organisation.events
            if event.visible <= now
            and event.type in wanted
            and _is_of(event, machines)
            and _is_in(event, start, end, behaviour)
        ]
    )


def _window(parameters: dict[str, query.Value]) -> tuple[datetime, datetime]:
    start, end = (timestamps.parse(query.text(parameters, name)) for name in ("from", "to"))
    if start is None or end is None:
        raise Refused(422, NOT_TIMESTAMPS)
    if end <= start:
        raise Refused(422, NOT_AFTER)
    if end - start > LONGEST:
        raise Refused(422, TOO_LONG)
    return start, end


def _types(asked: Sequence[str] | None, behaviour: Behaviour) -> Sequence[str]:
    if asked is None:
        return EVENT_TYPES if behaviour.types_omitted == "all" else ()
    known = [kind for kind in asked if kind in EVENT_TYPES]
    return known or (EVENT_TYPES if behaviour.types_unknown == "all" else ())


def _is_of(event: Event, machines: Sequence[str] | None) -> bool:
    if machines is None:
        return not event.machine.archived
    return event.machine.foreign_id in machines


def _is_in(event: Event, start: datetime, end: datetime, behaviour: Behaviour) -> bool:
    if behaviour.selection == "start-in-window" or event.start == event.end:
        # SQL's BETWEEN takes both ends: an event on a boundary is told in both windows.
        return start <= event.start <= end
    return event.start < end and (event.end is None or event.end > start)


def _row(event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "type": event.type,
        "machine_foreign_id": event.machine.foreign_id,
        "from": timestamps.seconds_text(event.start),
        "to": None if event.end is None else timestamps.seconds_text(event.end),
        "duration_seconds": None if event.end is None else int((event.end - event.start).total_seconds()),
        "label": event.label,
    }
