"""The Quantiix developer API on a socket, as unkind as its published page allows."""

from bridge.sim.quantiix.behaviour import CHOICES, Behaviour
from bridge.sim.quantiix.faults import FAULTS, Faults
from bridge.sim.quantiix.machines import Machine, default_machines
from bridge.sim.quantiix.server import Quantiix

__all__ = ["CHOICES", "FAULTS", "Behaviour", "Faults", "Machine", "Quantiix", "default_machines"]
