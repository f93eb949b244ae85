"""TrackMyMachines on two sockets, as unkind as its two published pages allow."""

from bridge.sim.clock import VirtualClock
from bridge.sim.trackmymachines.behaviour import CHOICES, Behaviour
from bridge.sim.trackmymachines.faults import FAULTS, Faults
from bridge.sim.trackmymachines.organisation import Event, Machine, Organisation
from bridge.sim.trackmymachines.server import DEFAULT_USERS, TrackMyMachines

__all__ = [
    "CHOICES",
    "DEFAULT_USERS",
    "FAULTS",
    "Behaviour",
    "Event",
    "Faults",
    "Machine",
    "Organisation",
    "TrackMyMachines",
    "VirtualClock",
]
