"""Action: a command as one vendor understands it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bridge.model.value import Value


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a readback must show for a command to count as confirmed.

    `path` names a payload field ("state.screw_state.target_rpm").
    """

    path: str
    value: Value
    tag: str = ""
    """The id of the tag that shows this field; "" where none is known."""
    is_sampled: bool = False
    """What is told of it may have been read before the send: what was asked for confirms, and nothing else tells."""


@dataclass(frozen=True, slots=True)
class Action:
    """What to send, and how to know that it took effect.

    `confirm` lists alternatives; each is a conjunction of expectations. Empty: no readback exists.
    `absolute` is true where doing it twice leaves the same state, so that it may be repeated.
    """

    source: str
    machine: str
    payload: Any
    confirm: tuple[tuple[Expectation, ...], ...] = ()
    hazards: frozenset[str] = frozenset()
    absolute: bool = True
    confirm_within: float | None = None
    """Seconds for the readback; None: as long as for every command."""
    safe: bool = False
    """Flushes the lane and goes first."""
    requires: Mapping[str, Value] = field(default_factory=dict)
    """Tag ids of the plant that must read so, fresh and Good, before it is sent."""
    command: str = ""
    """Id of the command it is sent for, unique for ever: a vendor that has such ids does it once. "": of none."""
