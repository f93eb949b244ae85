"""Which of its two truths the vendor tells, and what differs between deployments: a bridge must live with all of it.

`documented` is the published REST page, `actual` the public code as it was run. Source: facts 1.2 to 1.11.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from bridge.sim.iotistica.encoding import ENCODINGS

CHOICES: Mapping[str, tuple[str, ...]] = {
    "profile": ("actual", "documented"),
    "alerts": ("works", "fails"),
    "jobs": ("works", "fails"),
    "collisions": ("no", "yes"),
    "anomaly_rows": ("yes", "no"),
    "memory": ("MB", "bytes"),
    "early_success": ("yes", "no"),
    "retry_after": ("on", "off"),
    "encoding": (*ENCODINGS, "mixed"),
    "deflate": ("no", "yes"),
    "format": ("custom", "tags", "ecp", "ml"),
    "dictionary": ("domains", "flat"),
    "heartbeat": ("no", "yes"),
    "duplicates": ("no", "yes"),
}
"""The words of every switch."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One setting of every switch. Raises ValueError for a word that is none."""

    profile: str = "actual"
    """Paths, authentication, limits and envelopes are those of the code, or those of the page."""
    alerts: str = "works"
    """Whether /anomaly-alerts works; on a database from the shipped migrations it is 500 (recorded)."""
    jobs: str = "works"
    """Whether jobs can be submitted; on a database from the shipped migrations it is 500 (recorded)."""
    collisions: str = "no"
    """Whether the devices of an agent are read in the same millisecond: then REST keeps one of two equal metrics."""
    anomaly_rows: str = "yes"
    """Whether anomaly events are mirrored into readings."""
    memory: str = "MB"
    """Unit of memory and storage in an agent's report: the current agent's MB (recorded), or an older one's bytes."""
    early_success: str = "yes"
    """Whether a job's status says SUCCEEDED while some of its agents have not begun."""
    retry_after: str = "on"
    """Whether throttling says how long to wait in a header."""
    encoding: str = "json"
    """Of telemetry by MQTT."""
    deflate: str = "no"
    """Whether messages above 4 KiB are deflated."""
    format: str = "custom"
    """Of telemetry by MQTT; tags and ecp are those of EMQX Neuron too."""
    dictionary: str = "domains"
    """How indices are counted: in each of five domains apart (recorded), or once as an older agent did."""
    heartbeat: str = "no"
    """Whether agents send heartbeats, on the prefix of telemetry; as shipped they do not (recorded)."""
    duplicates: str = "no"
    """Whether each telemetry message comes twice, with one msgId."""

    def __post_init__(self) -> None:
        for name, words in CHOICES.items():
            if getattr(self, name) not in words:
                raise ValueError(f"{name}={getattr(self, name)!r}: expected {' or '.join(words)}")

    @property
    def documented(self) -> bool:
        """The published page is the truth."""
        return self.profile == "documented"

    def with_switches(self, switches: Mapping[str, Any]) -> Behaviour:
        """Another setting of some switches. Raises ValueError."""
        known = {field.name for field in fields(self)}
        for name in switches:
            if name not in known:
                raise ValueError(f"there is no switch {name!r}: expected one of {', '.join(sorted(known))}")
        return replace(self, **{name: str(value) for name, value in switches.items()})
