"""What can go wrong with Quantiix, as switches: the wire (HttpFaults), tokens, machines that come and go, the past.

Arguments are what JSON has. A machine is named by its unique id.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bridge.sim.faults import faults_of
from bridge.sim.http_faults import FaultPlan, HttpFaults
from bridge.sim.quantiix.machines import Machine
from bridge.sim.quantiix.timeline import IDLE, PROVISIONAL_MIN, RUNNING

if TYPE_CHECKING:
    from bridge.sim.quantiix.server import Account, Quantiix


class Faults(HttpFaults):
    """The switches of one simulator."""

    def __init__(self, plan: FaultPlan, server: Quantiix) -> None:
        super().__init__(plan)
        self._server = server

    # -- the vendor

    def behave(self, name: str, value: Any) -> None:
        """Set a switch of what the vendor's page leaves open, such as open_end to null."""
        self._server.behave({name: value})

    async def refuse(self) -> None:
        """Refuse connections until `accept`."""
        await self._server.refuse()

    async def accept(self) -> None:
        """Accept connections again."""
        await self._server.accept()

    # -- the account

    def end_tokens(self, email: str = "") -> None:
        """Every token there is gets 401 from now on; of one account, or of all."""
        for account in self._accounts(email):
            account.ended = account.issued

    def set_password(self, password: str, email: str = "") -> None:
        """Somebody has changed the password; tokens stay good."""
        for account in self._accounts(email):
            account.password = str(password)

    def spend(self, requests: int = 100, path: str = "/api/v1/machineState", email: str = "") -> int:
        """Somebody else uses the account for so many requests now. Gives how many were let through."""
        return sum(self._server.spend(account, path, int(requests)) for account in self._accounts(email))

    # -- machines

    def add(
        self, machine: str, display_name: str, factory_id: str = "10", factory_name: str = "Main Production Floor"
    ) -> None:
        """One more machine."""
        self._server.add(Machine(machine, display_name, str(factory_id), factory_name))

    def remove(self, machine: str) -> None:
        """The machine is gone from the list, and unknown to the other calls."""
        del self._server.machines[machine]

    def rename(self, machine: str, display_name: str) -> None:
        """The machine's display name is another one."""
        self._server.machines[machine].display_name = display_name

    def move(self, machine: str, factory_id: str, factory_name: str) -> None:
        """The machine belongs to another factory."""
        found = self._server.machines[machine]
        found.factory_id, found.factory_name = str(factory_id), factory_name

    def silence(self, machine: str, silent: bool = True) -> None:
        """Nothing is known of the machine any more, or again."""
        self._server.machines[machine].silent = bool(silent)

    # -- their past

    def state(self, machine: str, state: str, minutes_ago: int = 0, minutes: int = 60) -> None:
        """Let the machine have been, or be, in a state; any word is taken. Minutes count from what is known now."""
        self._overwrite(machine, state, minutes_ago, minutes)

    def gap(self, machine: str, minutes_ago: int = 0, minutes: int = 60) -> None:
        """Nothing is known of so many minutes."""
        self._overwrite(machine, None, minutes_ago, minutes)

    def revise(self, machine: str) -> list[int]:
        """Split the longest interval of the last hour: a third of it was something else. Gives its bounds in ms."""
        until = self._server.known_until
        timeline = self._server.timeline(machine)
        since = until - PROVISIONAL_MIN
        longest = max(timeline.known(until, since, False), key=lambda i: i.end - max(i.start, since))
        start = max(longest.start, since)
        third = max(1, (longest.end - start) // 3)
        other = IDLE if longest.state == RUNNING else RUNNING
        timeline.overwrite(start + third, start + 2 * third, other)
        return [(start + third) * 60_000, (start + 2 * third) * 60_000]

    # -- time

    def advance(self, seconds: float) -> None:
        """Let virtual time pass at once."""
        self._server.clock.advance(float(seconds))

    def set_time(self, moment: str) -> None:
        """Set the virtual clock."""
        parsed = datetime.fromisoformat(moment)
        self._server.clock.set(parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC))

    def speed(self, factor: float) -> None:
        """Run the virtual clock at so many times real time; 0 stops it."""
        self._server.clock.run_at(float(factor))

    def _accounts(self, email: str) -> list[Account]:
        return [self._server.accounts[email]] if email else list(self._server.accounts.values())

    def _overwrite(self, machine: str, state: str | None, minutes_ago: int, minutes: int) -> None:
        start = self._server.known_until - int(minutes_ago)
        self._server.timeline(machine).overwrite(start, start + int(minutes), state)


FAULTS = faults_of(Faults)
"""Every fault by name."""
