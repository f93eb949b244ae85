"""What the vendor's pages leave open, as switches: a bridge must live with every setting.

Source: the events page and the step events pages of 28 May and 15 July 2025.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

CHOICES: Mapping[str, tuple[str, ...]] = {
    "edition": ("2025-05", "2025-07"),
    "hosts": ("split", "both"),
    "filters": ("rails", "array", "comma", "lenient"),
    "types_omitted": ("all", "none"),
    "types_unknown": ("none", "all"),
    "selection": ("overlap", "start-in-window"),
    "display_names": ("exact", "squeezed"),
    "created_status": ("201", "200"),
    "not_found_status": ("404", "422"),
    "when_active": ("auto-finish", "overlap", "422"),
}
"""The words of every switch that has only a few."""

MAX_FEED_DELAY_S = 3600.0


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One setting of every switch. Raises ValueError for a word that is none."""

    edition: str = "2025-05"
    """Of the step events page: May has PATCH finish and daily sums; July has neither, and rich rows."""
    hosts: str = "split"
    """Events on .app and step events on .com, or both on both."""
    filters: str = "rails"
    """How repeated and bracketed parameters are read; array and comma are code that knows one spelling of the page."""
    types_omitted: str = "all"
    """What a request without `types` gets; the page does not say."""
    types_unknown: str = "none"
    """What a request gets whose types are all unrecognised, and thus ignored; the page does not say."""
    selection: str = "overlap"
    """Which events belong to a window; the page does not say."""
    display_names: str = "exact"
    """Whether "Machine1" finds "Machine 1", as it does on the page; exact is stricter."""
    created_status: str = "201"
    not_found_status: str = "404"
    """For an unknown machine or user, and for no active step."""
    when_active: str = "auto-finish"
    """What a new step does to the one that runs."""
    finish_parameter: str = "end"
    """July only: the parameter of POST that finishes what it creates; its name is not published."""
    feed_delay_s: float = 5.0
    """An event appears in the feed at random up to so many seconds after it was written."""

    def __post_init__(self) -> None:
        for name, words in CHOICES.items():
            if getattr(self, name) not in words:
                raise ValueError(f"{name}={getattr(self, name)!r}: expected {' or '.join(words)}")
        if not 0 <= self.feed_delay_s <= MAX_FEED_DELAY_S:
            raise ValueError(f"feed_delay_s={self.feed_delay_s}: expected 0 to {MAX_FEED_DELAY_S:g}")
        if not self.finish_parameter:
            raise ValueError("finish_parameter must have a name")

    def with_switches(self, switches: Mapping[str, Any]) -> Behaviour:
        """Another setting of some switches, from words or numbers. Raises ValueError."""
        known = {field.name for field in fields(self)}
        for name in switches:
            if name not in known:
                raise ValueError(f"there is no switch {name!r}: expected one of {', '.join(sorted(known))}")
        return replace(self, **{name: _typed(name, value) for name, value in switches.items()})


def _typed(name: str, value: Any) -> Any:
    if name != "feed_delay_s":
        return str(value)
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"feed_delay_s={value!r}: expected seconds") from None
