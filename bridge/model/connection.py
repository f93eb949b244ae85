"""How a part of a machine stands with its source: the states of Connection/<part>/State."""

from __future__ import annotations

from enum import IntEnum


class ConnectionState(IntEnum):
    """States of a connection, for a person at the HMI. Numbers only grow."""

    Waiting = 0
    """Nothing has been heard yet."""
    Connected = 1
    """Values flow."""
    Silent = 2
    """Connected, but nothing has been heard for longer than usual."""
    Lost = 3
    """The vendor cannot be reached."""
    Refused = 4
    """The vendor refuses our credentials."""
    Vanished = 5
    """The vendor no longer lists this machine."""
    Failed = 6
    """The vendor reports that this machine has a fault."""
    Degraded = 7
    """Of a source: values flow, and one of its ways to the vendor is lost."""


SOURCE_STATES = {state.name: state.value for state in ConnectionState}
"""The enumeration of a source's state, as a tag definition wants it."""

CONNECTION_STATES = {name: value for name, value in SOURCE_STATES.items() if name != ConnectionState.Degraded.name}
"""That of a machine's."""
