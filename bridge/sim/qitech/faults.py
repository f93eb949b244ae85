"""What can go wrong with a panel, as switches. Every public method of `Faults` is a fault; FAULTS describes them.

Arguments are what JSON has, so that `/_sim/faults/<name>` can call each of them. A machine is named by slug and serial.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bridge.sim.faults import Fault, faults_of
from bridge.sim.qitech.machines.base import Machine
from bridge.sim.qitech.machines.extruder import Extruder

if TYPE_CHECKING:
    from bridge.sim.qitech.panel import Panel


class Faults:
    """The switches of one panel."""

    def __init__(self, panel: Panel) -> None:
        self._panel = panel

    # -- the process

    def restart(self, delay: float = 10.0) -> None:
        """Stop the control process and start it after `delay` seconds: 502 or refused meanwhile, then all defaults."""
        self._panel.kill(float(delay))

    def crash(self, reason: str = "panic") -> None:
        """Let the control process panic: every connection drops, systemd restarts it after 10 s."""
        self._panel.backend.die(reason)

    def down(self) -> None:
        """Stop the control process and leave it stopped until `up`."""
        self._panel.kill(None)

    def up(self) -> None:
        """Start the control process now."""
        if not self._panel.alive:
            self._panel.kill(0.0)

    # -- the door

    def rotate_password(self, password: str | None = None) -> str | None:
        """Run credentials.sh: the old password gets 401 from now on. Gives the new one."""
        return self._panel.rotate_password(password)

    def slow(self, seconds: float = 1.0) -> None:
        """Delay every REST answer; 0 ends it."""
        self._panel.settings.reply_delay_s = float(seconds)

    # -- Socket.IO

    def silence(self, slug: str, serial: int) -> None:
        """Somebody left the machine's namespace: nobody hears it until somebody connects to it again."""
        self._machine(slug, serial).namespace = None

    def silence_all(self) -> None:
        """The Socket.IO queue is closed (a laser's namespace was left on 2.x): no event for anybody until a restart."""
        self._panel.backend.emitter.close()

    def drop_states(self, count: int = 1) -> None:
        """Lose the next `count` StateEvents, as 3.x does under load."""
        self._panel.settings.drop_states = int(count)

    # -- one machine

    def value(self, slug: str, serial: int, path: str, value: Any = None) -> None:
        """Show another value at a dotted path ("live_values.pressure"); null for null. `heal` ends it."""
        self._machine(slug, serial).overrides[path] = value

    def nan(self, slug: str, serial: int, path: str) -> None:
        """Show NaN at a dotted path: null in REST, NaN in Socket.IO. `heal` ends it."""
        self._machine(slug, serial).overrides[path] = math.nan

    def null(self, slug: str, serial: int, path: str) -> None:
        """Show null at a dotted path. `heal` ends it."""
        self._machine(slug, serial).overrides[path] = None

    def heal(self, slug: str, serial: int) -> None:
        """Show the machine's own values again."""
        self._machine(slug, serial).overrides.clear()

    def wiring_error(self, slug: str, serial: int, zone: str, broken: bool = True) -> None:
        """Break or mend an extruder's sensor: a zone, or "pressure". It reads 0.0, and nothing is announced."""
        machine = self._machine(slug, serial)
        if not isinstance(machine, Extruder):
            raise ValueError(f"{slug} has no heating zones")
        machine.break_sensor(zone, bool(broken))

    def unplug(self, slug: str, serial: int) -> None:
        """The machine is gone from the list; MachinesEvent tells."""
        self._panel.unplug(self._machine(slug, serial))

    def plug(self, slug: str, serial: int) -> None:
        """The machine is back, with defaults. Who is still connected to its namespace stays deaf."""
        self._panel.plug(self._machine(slug, serial))

    def machine_error(self, slug: str, serial: int, error: str | None = None) -> None:
        """List the machine with an error text: no values, no events, mutations lost. Null mends it."""
        self._panel.set_error(self._machine(slug, serial), error)

    def ignore_mutations(self, slug: str, serial: int, ignore: bool = True) -> None:
        """Answer 200 to every mutation and do nothing."""
        self._machine(slug, serial).ignores_mutations = bool(ignore)

    def forget(self, slug: str, serial: int, forgotten: bool = True) -> None:
        """Refuse its mutations as those of a machine that is not there (500 and why), though it is still listed."""
        self._machine(slug, serial).is_forgotten = bool(forgotten)

    def stall_queue(self, slug: str, serial: int, stalled: bool = True) -> None:
        """The machine takes nothing out of its queue. On 3.x the third mutation waits without an answer."""
        self._panel.backend.channels[self._machine(slug, serial).identity].stall(bool(stalled))

    # -- time

    def clock_offset(self, seconds: float) -> None:
        """Set the panel's clock wrong by so many seconds (event stamps)."""
        self._panel.settings.clock_offset_s = float(seconds)

    def clock_jump(self, seconds: float) -> None:
        """Let the panel's clock jump, forwards or backwards."""
        self._panel.settings.clock_offset_s += float(seconds)

    def _machine(self, slug: str, serial: int) -> Machine:
        try:
            return self._panel.machine(slug, int(serial))
        except KeyError:
            raise ValueError(f"the panel has no {slug}/{serial}") from None


FAULTS: Mapping[str, Fault] = faults_of(Faults)
"""Every fault by name."""
