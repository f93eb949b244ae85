"""A QiTech panel on a socket, as unkind as the real one."""

from bridge.sim.faults import Fault
from bridge.sim.qitech.catalogue import RELEASES
from bridge.sim.qitech.faults import FAULTS, Faults
from bridge.sim.qitech.panel import DEFAULT_MACHINES, Panel, SimulatedMachine
from bridge.sim.request_journal import Request

__all__ = ["DEFAULT_MACHINES", "FAULTS", "RELEASES", "Fault", "Faults", "Panel", "Request", "SimulatedMachine"]
