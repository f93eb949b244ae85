"""What every simulated machine is: set points, physics, and the events it would send."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import exp
from random import Random
from typing import Any, ClassVar

from bridge.sim.qitech.catalogue import Identity, Release
from bridge.sim.qitech.serde import Decoder, Ignored, external

Handlers = Mapping[str, tuple[Decoder, Callable[[Any], None]]]
"""Variant name -> how its content is read, and what is done with it."""


@dataclass(frozen=True, slots=True)
class Stream:
    """An event that is sent again and again while somebody listens."""

    name: str
    rate_hz: float
    """At the panel's usual 30 Hz of live values; scaled with it."""
    data: Callable[[], Any]


def approach(value: float, target: float, dt: float, tau: float) -> float:
    """First-order lag: where `value` is after `dt` seconds on its way to `target`."""
    return target + (value - target) * exp(-dt / tau)


def ramp(value: float, target: float, step: float) -> float:
    """`value` moved towards `target` by at most `step`."""
    return min(target, value + step) if target > value else max(target, value - step)


def clamp(value: float, low: float, high: float) -> float:
    """`value` within [low, high]."""
    return max(low, min(high, value))


class Machine:
    """One machine at the panel. Subclasses say what it is set to, what it measures and what it understands.

    Physics survive a restart of the panel (a hot barrel stays hot); set points and counters do not (`boot`).
    """

    state_name: ClassVar[str] = "StateEvent"
    live_name: ClassVar[str] = "LiveValuesEvent"
    drains: ClassVar[bool] = False
    """Takes everything from its queue in one cycle, instead of one message."""

    def __init__(self, slug: str, identity: Identity, release: Release, rng: Random) -> None:
        self.slug = slug
        self.identity = identity
        self.release = release
        self.rng = rng
        self.error: str | None = None
        self.namespace: str | None = None
        """The Socket.IO namespace it sends to; None while nobody listens, or somebody left."""
        self.overrides: dict[str, Any] = {}
        """Faults: dotted path ("live_values.pressure") -> value shown instead."""
        self.ignores_mutations = False
        self.is_forgotten = False
        """Fault: mutations do not find it."""
        self.uptime = 0.0
        self.outbox: list[tuple[str, Any]] = []
        self.neighbours: Callable[[], set[Identity]] = set
        """The machines at the same panel; set by the panel."""
        self.boot()

    def boot(self) -> None:
        """The control process has started: set points are their defaults."""
        self.namespace = None
        self.uptime = 0.0
        self.outbox.clear()
        self.reset()

    def reset(self) -> None:
        """Set every set point and counter to its default."""

    def state(self) -> dict[str, Any]:
        """What was asked of it, in the panel's key order."""
        return {}

    def live_values(self) -> dict[str, Any] | None:
        """What it measures."""
        return None

    def handlers(self) -> Handlers:
        """The mutations it understands."""
        return {}

    def physics(self, dt: float) -> None:
        """Let `dt` seconds pass, at most one at a time."""

    def read_variant(self, data: Any) -> tuple[str, Any]:
        """Variant name and content of a mutation; external tagging unless the machine says otherwise."""
        return external(data)

    def streams(self) -> tuple[Stream, ...]:
        """What it sends unasked."""
        return (Stream(self.live_name, 30.0, self.shown_live_values),)

    def mutate(self, data: Any) -> None:
        """Do what a mutation says. Raises Ignored where the panel stays silent, Panic where it dies."""
        if self.ignores_mutations:
            raise Ignored("switched off by a fault")
        name, content = self.read_variant(data)
        handler = self.handlers().get(name)
        if handler is None:
            raise Ignored(f"no variant {name}")
        decode, act = handler
        act(decode(content))

    def advance(self, dt: float) -> None:
        """Let time pass."""
        self.uptime += dt
        for _ in range(min(int(dt), 3600)):
            self.physics(1.0)
        self.physics(dt - int(dt))

    def announce(self) -> None:
        """Send the state to whoever listens."""
        self.outbox.append((self.state_name, self.shown_state()))

    def shown_state(self) -> dict[str, Any]:
        """The state as clients see it, faults included."""
        return self._faulty(self.state(), "state.")

    def shown_rest_state(self) -> dict[str, Any] | None:
        """The state as REST shows it; a few machines have none there."""
        return self.shown_state()

    def shown_live_values(self) -> dict[str, Any] | None:
        """The live values as clients see them, faults included."""
        live = self.live_values()
        return None if live is None else self._faulty(live, "live_values.")

    def setter(self, attribute: str, convert: Callable[[Any], Any] | None = None) -> Callable[[Any], None]:
        """A handler that keeps a set point and announces it."""

        def act(value: Any) -> None:
            setattr(self, attribute, value if convert is None else convert(value))
            self.announce()

        return act

    def _faulty(self, values: dict[str, Any], prefix: str) -> dict[str, Any]:
        for path, value in self.overrides.items():
            if path.startswith(prefix):
                _put(values, path.removeprefix(prefix), value)
        return values


def _put(values: dict[str, Any], path: str, value: Any) -> None:
    *folders, leaf = path.split(".")
    for folder in folders:
        child = values.get(folder)
        if not isinstance(child, dict):
            return
        values = child
    if leaf in values:
        values[leaf] = value
