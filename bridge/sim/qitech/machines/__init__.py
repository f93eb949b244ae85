"""The simulated machines, one file per family."""

from __future__ import annotations

from random import Random

from bridge.sim.qitech.catalogue import MACHINE_IDS, Identity, Release
from bridge.sim.qitech.machines import terminals
from bridge.sim.qitech.machines.aquapath import Aquapath
from bridge.sim.qitech.machines.base import Machine
from bridge.sim.qitech.machines.buffer import Buffer
from bridge.sim.qitech.machines.extruder import Extruder
from bridge.sim.qitech.machines.laser import Laser
from bridge.sim.qitech.machines.mock import Mock
from bridge.sim.qitech.machines.wago_power import WagoPower
from bridge.sim.qitech.machines.winder import Winder

KINDS: dict[str, type[Machine]] = {
    "winder_v1": Winder,
    "winder_v1_spool": Winder,
    "winder_v1_7031": Winder,
    "extruder_v1": Extruder,
    "extruder_v2": Extruder,
    "laser_v1": Laser,
    "mock": Mock,
    "aquapath_v1": Aquapath,
    "wago_power_v1": WagoPower,
    "buffer_v1": Buffer,
    "test_machine": terminals.TestMachine,
    "wago_do_test_machine": terminals.WagoDigitalOut,
    "ip20_test_machine": terminals.Ip20,
    "wago_750_501_test_machine": terminals.Wago501,
    "wago_750_531_machine": terminals.Wago531,
    "wago_750_553_machine": terminals.Wago553,
    "wago_8ch_io_test_machine": terminals.Wago8ch,
    "wago_750_430_di_machine": terminals.Wago430,
    "digital_input_test_machine": terminals.DigitalInput,
    "wago_750_460_machine": terminals.Wago460,
    "test_machine_stepper": terminals.Stepper,
    "bottlecaps_test_machine": terminals.Bottlecaps,
    "motor_test_machine": terminals.Motor,
    "analog_input_test_machine": terminals.Measurement,
    "wago_ai_test_machine": terminals.AnalogInputs,
    "wago_serial": terminals.WagoSerial,
}


def build(slug: str, serial: int, release: Release, seed: int) -> Machine:
    """A machine of this slug. Raises ValueError for a slug or serial no panel could have."""
    if slug not in KINDS:
        raise ValueError(f"unknown QiTech machine {slug!r}; known: {', '.join(sorted(KINDS))}")
    if not 0 <= serial <= 65535:
        raise ValueError(f"serial {serial} is no u16")
    identity = Identity(MACHINE_IDS[slug], serial)
    machine = KINDS[slug](slug, identity, release, Random(f"{seed}/{identity}"))
    if not release.supports(slug):
        machine.error = f"Machine {identity} is not supported by this release"
    return machine
