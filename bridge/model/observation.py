"""What a source tells the house: plain data that could cross a wire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bridge.model.status import StatusCode


@dataclass(frozen=True, slots=True)
class Observation:
    """One payload of one channel of one vendor machine.

    Args:
        source: name of the source in the configuration.
        machine: the vendor's identity of the machine, in this source's form ("1/4/57922").
        channel: which stream of the machine ("state", "live_values"); a mapping's paths begin with it.
        payload: the decoded payload: dicts, lists, str, int, float, bool, None.
        source_time: when the vendor says it was so; None where it does not say.
        received: when we had it; UTC, whole milliseconds.
        requested_at: monotonic time at which it was asked for; None for a pushed one.
        period: seconds until the next one is due on this channel; None where it comes on change only.
        historical: happened earlier; never moves a current value.
    """

    source: str
    machine: str
    channel: str
    payload: Any
    received: datetime
    source_time: datetime | None = None
    requested_at: float | None = None
    period: float | None = None
    historical: bool = False


@dataclass(frozen=True, slots=True)
class Condition:
    """Something is wrong with a source, one of its machines, or one channel; ends when values flow again.

    Good, of a whole source: values go on but more slowly (`reason`), or no longer so (no reason).
    Of a `way`: it alone is lost, or is back (no reason). It changes no tag of a machine.

    Args:
        source: name of the source.
        status: what the tags concerned become (Uncertain keeps the last value; Bad has none).
        reason: one sentence for a person.
        since: when it began.
        machine: the vendor's identity of the machine; None for all machines of the source.
        channel: the channel concerned; None for all.
        advice: what a person can do about it.
        way: one of several ways to the vendor, as people call it ("REST"); "" for what is not about one.
    """

    source: str
    status: StatusCode
    reason: str
    since: datetime
    machine: str | None = None
    channel: str | None = None
    advice: str = ""
    way: str = ""


@dataclass(frozen=True, slots=True)
class FoundMachine:
    """A machine a source sees. `identity` is what `match:` of a mapping is compared with."""

    key: str
    identity: Mapping[str, str | int]
    error: str | None = None
    """The vendor's own words when the machine is listed but not usable."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """Machines that appeared at, changed identity at, or vanished (by key) from a source."""

    source: str
    appeared: tuple[FoundMachine, ...] = ()
    vanished: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """A fact about a source itself ("ClockOffset", "Profile"), shown under Bridge/Sources/<source>/."""

    source: str
    name: str
    value: bool | int | float | str | datetime | None
    at: datetime
    extra: Mapping[str, str] = field(default_factory=dict)
    """`reason`: why there is no value, for a person."""
