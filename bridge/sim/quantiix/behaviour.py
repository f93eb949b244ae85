"""What the vendor's page leaves open, as switches: a bridge must live with every setting.

Source: Quantiix developer guide; where it is silent, the pages of 3d Signals, whose API has the same shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

CHOICES: Mapping[str, tuple[str, ...]] = {
    "tokens": ("multiple", "single"),
    "window": ("fixed", "sliding"),
    "counter": ("account", "path"),
    "throttle_body": ("empty", "json"),
    "retry_after": ("off", "on"),
    "error_body": ("empty", "json"),
    "unknown_machine": ("404", "422", "204"),
    "no_activity": ("204", "200"),
    "clip": ("yes", "no"),
    "open_end": ("now", "null", "absent", "requested", "left-out"),
    "revises": ("no", "yes"),
    "order": ("ascending", "descending"),
    "stamps": ("ms", "s"),
    "durations": ("minutes", "seconds"),
    "running": ("RUNNING", "OPERATING"),
    "last_update": ("no", "yes"),
}
"""The words of every switch."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One setting of every switch. Raises ValueError for a word that is none."""

    tokens: str = "multiple"
    """Whether a new token ends the earlier ones."""
    window: str = "fixed"
    """How requests are counted: from minute to minute, or over the last 60 s at any time."""
    counter: str = "account"
    """One counter for all paths but the login, or one for each."""
    throttle_body: str = "empty"
    retry_after: str = "off"
    """Whether a 429 says how long to wait."""
    error_body: str = "empty"
    """Of 401, 404 and 422."""
    unknown_machine: str = "404"
    """Status of machineState and machineActivity for an id that is not on the list."""
    no_activity: str = "204"
    """Status where a window holds no records; 200 has an empty list."""
    clip: str = "yes"
    """Whether the first and last record are cut to the window that was asked for."""
    open_end: str = "now"
    """endTime of the interval that still runs; or it is left out."""
    revises: str = "no"
    """Whether the last hour is provisional: stops of a minute or two appear in it only when it is over."""
    order: str = "ascending"
    """Of records; the page promises ascending."""
    stamps: str = "ms"
    """Unit of startTime and endTime in answers; the page says ms."""
    durations: str = "minutes"
    """Unit of durationInMinutes, whatever its name says; 3d Signals counts seconds."""
    running: str = "RUNNING"
    """The word for a machine that runs; 3d Signals says OPERATING."""
    last_update: str = "no"
    """Whether machineState has lastUpdateTime, as at 3d Signals."""

    def __post_init__(self) -> None:
        for name, words in CHOICES.items():
            if getattr(self, name) not in words:
                raise ValueError(f"{name}={getattr(self, name)!r}: expected {' or '.join(words)}")

    def with_switches(self, switches: Mapping[str, Any]) -> Behaviour:
        """Another setting of some switches. Raises ValueError."""
        known = {field.name for field in fields(self)}
        for name in switches:
            if name not in known:
                raise ValueError(f"there is no switch {name!r}: expected one of {', '.join(sorted(known))}")
        return replace(self, **{name: str(value) for name, value in switches.items()})
