"""Cast: what a site expects of one of its vendors, for the simulator that plays it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from bridge.errors import BridgeError


class NoSimulator(BridgeError):
    """Something of the site has no simulator: take it out, or run without --simulate."""


OpenBroker = Callable[[], AbstractAsyncContextManager[int]]
"""A broker on loopback while the context lasts; its port."""


@dataclass(frozen=True, slots=True)
class NamedMachine:
    """A machine that the site names at this vendor."""

    id: str
    """The site's own id, for sentences."""
    label: str
    identity: Mapping[str, str | int]
    """What the configuration says of it, in the vendor's words."""


@dataclass(frozen=True, slots=True)
class Cast:
    """One source's machines, in the site's order; none where the site leaves it to discovery."""

    machines: tuple[NamedMachine, ...] = ()
    people: tuple[str, ...] = ()
    """E-mail addresses that commands may tell the vendor."""
    is_ours: Callable[[str, int], bool] | None = None
    """Whether the broker inside the bridge is reached at a host and port."""
    open_broker: OpenBroker | None = None
    """Gives a vendor a broker of its own; None where there is none to give."""
