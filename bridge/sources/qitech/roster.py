"""Roster: which machines a panel has, and what changed since it was last looked at. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bridge.model.observation import FoundMachine, Inventory
from bridge.sources.qitech.catalogue import slug_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.sources.qitech.payloads import ListedMachine
    from bridge.sources.qitech.profile import Profile


@dataclass(frozen=True, slots=True)
class Muster:
    """What one look at the panel's list showed.

    Args:
        inventory: what changed; None when nothing did.
        present: every machine listed, by key, with its slug.
    """

    inventory: Inventory | None
    present: dict[str, ListedMachine]


class Roster:
    """Remembers what was found, over reconnects too, so that only changes are told."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._found: dict[str, FoundMachine] = {}

    def slug(self, key: str) -> str:
        """What the panel calls a machine's type; "" of one that was never listed."""
        found = self._found.get(key)
        return str(found.identity["slug"]) if found is not None else ""

    def muster(self, listed: Sequence[ListedMachine], profile: Profile, *, is_complete: bool = True) -> Muster:
        """Take in the panel's list as it is now; in an incomplete one a missing machine has not vanished yet."""
        present = {
            machine.identity.key: replace(machine, slug=machine.slug or slug_of(machine.identity.machine, profile))
            for machine in listed
        }
        found = {key: _found(machine, profile) for key, machine in present.items()}
        before = self._found
        self._found = found if is_complete else before | found
        appeared = tuple(machine for key, machine in found.items() if before.get(key) != machine)
        vanished = tuple(key for key in before if key not in self._found)
        inventory = Inventory(self._source, appeared, vanished) if appeared or vanished else None
        return Muster(inventory, present)


def _found(machine: ListedMachine, profile: Profile) -> FoundMachine:
    vendor, number, serial = machine.identity
    identity: dict[str, str | int] = {
        "vendor": vendor,
        "machine": number,
        "serial": serial,
        "slug": machine.slug,
        "profile": profile.value,
    }
    return FoundMachine(machine.identity.key, identity, machine.error)
