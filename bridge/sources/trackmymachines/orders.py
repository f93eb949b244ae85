"""Orders: what is asked of TrackMyMachines, from an action's payload, and why it must not be sent. Pure.

    {"start_step": {part, recipe_version, step, work_order, qty_expected, cycle_time, setup_time, start, user}}
    {"finish_step": {qty_made, qty_scrapped, end, part, event}}

Numbers of -1 and texts of "" are not given. The machine is named by its display name from the configuration, never by
who asks. TrackMyMachines makes a new part, recipe and step of what it does not know (facts 2.2 no. 21): what may be
booked is what the configuration allows, whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from bridge.model.email import is_email
from bridge.sources.trackmymachines.payloads import iso
from bridge.sources.trackmymachines.timeline import SECOND

if TYPE_CHECKING:
    from bridge.model.action import Action
    from bridge.sources.trackmymachines.config import TrackMyMachinesConfig

START: Final = "start_step"
FINISH: Final = "finish_step"
LONGEST_AGO: Final = timedelta(days=7)
"""A booking into a longer past is a mistake; nor could the timeline tell what became of it."""


class Forbidden(ValueError):
    """An action that must not be sent, and why."""


@dataclass(frozen=True, slots=True)
class StartOrder:
    """A step to be started. `start` is ms, in whole seconds as the vendor's are."""

    machine: str
    display_name: str
    start: int
    part: str
    recipe_version: str
    step: str
    user: str
    work_order: str
    qty_expected: float | None
    cycle_time: float | None
    setup_time: float | None

    def fields(self) -> dict[str, Any]:
        """The body of POST step_events."""
        told: dict[str, Any] = {
            "machine_display_name": self.display_name,
            "start": iso(self.start),
            "user_email": self.user,
            "part_unique_identifier": self.part,
            "recipe_version": self.recipe_version,
            "step_number": self.step,
            "step_expected_cycle_time": _plain(self.cycle_time),
            "step_expected_setup_time": _plain(self.setup_time),
            "qty_expected": _plain(self.qty_expected),
            "wo_number": self.work_order or None,
        }
        return {name: value for name, value in told.items() if value is not None}


@dataclass(frozen=True, slots=True)
class FinishOrder:
    """A step to be finished; `part` and `event` say which it must be, "" where that is not said."""

    machine: str
    display_name: str
    end: int
    qty_made: float | None
    qty_scrapped: float | None
    part: str
    event: str

    def fields(self) -> dict[str, Any]:
        """The body of PATCH step_events/finish."""
        told: dict[str, Any] = {
            "machine_display_name": self.display_name,
            "end": iso(self.end),
            "qty_made": _plain(self.qty_made),
            "qty_scrapped": _plain(self.qty_scrapped),
        }
        return {name: value for name, value in told.items() if value is not None}


def order_of(
    action: Action, config: TrackMyMachinesConfig, machines: Mapping[str, Mapping[str, str | int]]
) -> StartOrder | FinishOrder:
    """What an action asks for. Raises Forbidden."""
    display_name = str(machines.get(action.machine, {}).get("display_name", ""))
    if not display_name:
        raise Forbidden(f"{action.machine} has no display_name in the configuration: TrackMyMachines writes by it")
    payload = action.payload
    told = payload.get(START) if isinstance(payload, dict) and len(payload) == 1 else None
    if isinstance(told, dict):
        return _start(action.machine, display_name, told, config)
    told = payload.get(FINISH) if isinstance(payload, dict) and len(payload) == 1 else None
    if isinstance(told, dict):
        return _finish(action.machine, display_name, told, config)
    raise Forbidden(f"a command is {START} or {FINISH}, with its fields")


def _start(machine: str, name: str, told: Mapping[str, Any], config: TrackMyMachinesConfig) -> StartOrder:
    allow = config.allow
    return StartOrder(
        machine,
        name,
        _moment(told, "start"),
        _allowed(told, "part", allow.part),
        _allowed(told, "recipe_version", allow.recipe),
        _allowed(told, "step", allow.step),
        _user(told, config),
        _allowed(told, "work_order", allow.work_order),
        _number(told, "qty_expected"),
        _number(told, "cycle_time"),
        _number(told, "setup_time"),
    )


def _finish(machine: str, name: str, told: Mapping[str, Any], config: TrackMyMachinesConfig) -> FinishOrder:
    made, scrapped = _number(told, "qty_made"), _number(told, "qty_scrapped")
    if config.edition == "2025-07" and config.finish_parameter is None:
        raise Forbidden(
            "edition 2025-07 of TrackMyMachines has no request that finishes a step, but a parameter whose name is not "
            "published: ask TrackMyMachines and write it as finish_parameter"
        )
    if made is not None and scrapped is not None and scrapped > made:
        raise Forbidden(f"{scrapped:g} of {made:g} made cannot be scrapped")
    return FinishOrder(machine, name, _moment(told, "end"), made, scrapped, _text(told, "part"), _text(told, "event"))


def _allowed(told: Mapping[str, Any], name: str, pattern: str | None) -> str:
    if pattern is None:
        raise Forbidden(f"the configuration does not say which {name} is allowed")
    text = _text(told, name)
    if re.fullmatch(pattern, text) is None:
        raise Forbidden(f"{name} {text!r} is not allowed: it must match {pattern} (allow of the source)")
    return text


def _user(told: Mapping[str, Any], config: TrackMyMachinesConfig) -> str:
    user = _text(told, "user") or config.user_email or ""
    if not user:
        raise Forbidden("nobody is named to book it for, and the source has no user_email")
    if not is_email(user):
        raise Forbidden("the user is no e-mail address")
    return user


def _text(told: Mapping[str, Any], name: str) -> str:
    value = told.get(name, "")
    if not isinstance(value, str):
        raise Forbidden(f"{name} is no text")
    return value.strip(" \0")


def _number(told: Mapping[str, Any], name: str) -> float | None:
    value = told.get(name, -1)
    if isinstance(value, bool) or not isinstance(value, int | float) or not (value == -1 or 0 <= value < 1e9):
        raise Forbidden(f"{name} is {value!r}: from 0, or -1 for not given")
    return None if value == -1 else float(value)


def _moment(told: Mapping[str, Any], name: str) -> int:
    value = told.get(name)
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise Forbidden(f"{name} is no time")
    return int(value.astimezone(UTC).timestamp()) * SECOND


def _plain(value: float | None) -> float | int | None:
    """5, not 5.0: JSON numbers as the vendor's page has them."""
    return int(value) if value is not None and value.is_integer() else value
