"""Iotistica's cloud and its agents on sockets, as unkind as its published page and its public code."""

from bridge.sim.iotistica.behaviour import CHOICES, Behaviour
from bridge.sim.iotistica.faults import FAULTS, Faults
from bridge.sim.iotistica.plant import Agent, Device, Point, default_agent
from bridge.sim.iotistica.server import Iotistica
from bridge.sim.iotistica.uplink import MqttAccess

__all__ = [
    "CHOICES",
    "FAULTS",
    "Agent",
    "Behaviour",
    "Device",
    "Faults",
    "Iotistica",
    "MqttAccess",
    "Point",
    "default_agent",
]
