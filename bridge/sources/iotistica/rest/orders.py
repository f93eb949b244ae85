"""Orders: what is asked of Iotistica's cloud, from an action's payload, and why it must not be sent. Pure.

{job_execute: {name, template | document, timeout_minutes}}   a job for this agent, known again by its name
{job_cancel: {job}}
{incident_resolve: {incident, notes}}
{reading_insert: {metric, value, unit, quality, protocol, device_uuid}}   where the server still has it
{target_state: {name}}                                        one of `target_states` of the source
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bridge.model.action import Action
    from bridge.sources.iotistica.profile import Profile
    from bridge.sources.iotistica.rest.config import RestRules

BY: Final = "plantbridge"
LONGEST: Final = 1000
"""Characters of a text."""

LONGEST_NAME: Final = 200
"""Of a job's name, the bridge's mark included; the vendor's column has 255."""

LONGEST_ID: Final = 80
QUALITIES: Final = ("good", "fair", "poor")


class Forbidden(ValueError):
    """An action that must not be sent, and why."""


@dataclass(frozen=True, slots=True)
class Order:
    """One request: its route, and what is filled in."""

    kind: str
    route: str
    values: Mapping[str, Any]


def order_of(action: Action, profile: Profile, rules: RestRules) -> Order:
    """What an action asks for. Raises Forbidden."""
    payload = action.payload
    if not isinstance(payload, dict) or len(payload) != 1 or not isinstance(next(iter(payload.values())), dict):
        raise Forbidden(f"a command is one of {', '.join(KINDS)}, with its fields")
    kind, told = next(iter(payload.items()))
    made = KINDS.get(kind)
    if made is None:
        raise Forbidden(f"there is no {kind}; there are {', '.join(KINDS)}")
    if kind not in profile.routes:
        raise Forbidden(f"a server of profile {profile.profile} has no {kind}")
    return Order(kind, kind, {"agent": action.machine, **made(action, told, rules)})


def mark_of(command: str) -> str:
    """By what a job is known again: the command's id, shortened where it is too long to be a name."""
    known = command if len(command) <= LONGEST_ID else hashlib.sha256(command.encode()).hexdigest()
    return f"bridge:{known}"


def is_marked(name: str, command: str) -> bool:
    """A job of this name was sent for this command."""
    mark = mark_of(command)
    return name == mark or name.startswith(f"{mark} ")


def _job_execute(action: Action, told: Mapping[str, Any], rules: RestRules) -> dict[str, Any]:
    _only(told, "name", "template", "document", "timeout_minutes")
    template, document = told.get("template"), told.get("document")
    if (template in (None, "")) == (document is None):
        raise Forbidden("a job has either a template (its id) or a document")
    if document is not None and not isinstance(document, dict):
        raise Forbidden("document is no object")
    minutes = told.get("timeout_minutes", 60)
    if isinstance(minutes, bool) or not isinstance(minutes, int | float) or not 1 <= minutes <= 10_080:
        raise Forbidden(f"timeout_minutes is {minutes!r}: from 1 to 10080")
    name = f"{mark_of(action.command)} {_text(told, 'name')}".strip()[:LONGEST_NAME]
    chosen = None if document is not None else str(template)[:LONGEST]
    return {"name": name, "template": chosen, "document": document, "timeout_minutes": int(minutes)}


def _job_cancel(action: Action, told: Mapping[str, Any], rules: RestRules) -> dict[str, Any]:
    _only(told, "job")
    return {"job": _needed(told, "job")}


def _incident_resolve(action: Action, told: Mapping[str, Any], rules: RestRules) -> dict[str, Any]:
    _only(told, "incident", "notes")
    return {"incident": _needed(told, "incident"), "by": BY, "notes": _text(told, "notes") or None}


def _reading_insert(action: Action, told: Mapping[str, Any], rules: RestRules) -> dict[str, Any]:
    _only(told, "metric", "value", "unit", "quality", "protocol", "device_uuid")
    value = told.get("value")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Forbidden(f"value is {value!r}: Iotistica keeps numbers only")
    quality = _text(told, "quality") or "good"
    if quality not in QUALITIES:
        raise Forbidden(f"quality is {quality!r}: {', '.join(QUALITIES)}")
    device = _text(told, "device_uuid")
    return {
        "metric": _needed(told, "metric"), "value": value, "unit": _text(told, "unit") or None, "quality": quality,
        "protocol": _text(told, "protocol") or "manual", "extra": {"device_uuid": device} if device else None,
    }  # fmt: skip


def _target_state(action: Action, told: Mapping[str, Any], rules: RestRules) -> dict[str, Any]:
    _only(told, "name")
    name = _needed(told, "name")
    allowed = rules.target_states.get(name)
    if allowed is None:
        known = ", ".join(rules.target_states) or "none"
        raise Forbidden(f"the target state {name!r} is not allowed: target_states of the source has {known}")
    if allowed.agents != "all" and action.machine not in allowed.agents:
        raise Forbidden(f"the target state {name} is not for this agent")
    return {"apps": allowed.apps, "config": allowed.config}


KINDS: Final[Mapping[str, Callable[[Action, Mapping[str, Any], RestRules], dict[str, Any]]]] = {
    "job_execute": _job_execute,
    "job_cancel": _job_cancel,
    "incident_resolve": _incident_resolve,
    "reading_insert": _reading_insert,
    "target_state": _target_state,
}
"""What can be asked for."""


def _only(told: Mapping[str, Any], *names: str) -> None:
    unknown = [str(name) for name in told if name not in names]
    if unknown:
        raise Forbidden(f"there is no {', '.join(unknown)[:100]}; there are {', '.join(names)}")


def _needed(told: Mapping[str, Any], name: str) -> str:
    text = _text(told, name)
    if not text:
        raise Forbidden(f"{name} is missing")
    return text


def _text(told: Mapping[str, Any], name: str) -> str:
    value = told.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Forbidden(f"{name} is no text")
    if len(value) > LONGEST:
        raise Forbidden(f"{name} is longer than {LONGEST} characters")
    return value.strip(" \0")
