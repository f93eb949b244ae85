"""Branches: which topics every machine has now, and what a new plant means for them. Pure."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from bridge.northbound.uns.topic import META, SNAPSHOT, is_valid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.model.path import Place
    from bridge.model.plant import Machine, Plant
    from bridge.model.tag import Tag
    from bridge.northbound.uns.topic import Namespace

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """One machine's topics. Tags whose topic no broker would take are left out."""

    machine: Machine
    root: str
    topics: Mapping[int, str]
    """Topic by slot."""

    @property
    def meta(self) -> str:
        """Where the machine is described."""
        return f"{self.root}/{META}"

    @property
    def snapshot(self) -> str:
        """Where all its values are asked for."""
        return f"{self.root}/{SNAPSHOT}"


class Change(NamedTuple):
    """What a new plant means: what to describe, what to empty, what has another topic."""

    described: tuple[Branch, ...]
    gone: frozenset[str]
    """Topics that were there and are not any more."""
    slots_gone: frozenset[int]
    moved: frozenset[int]
    """Slots that stay, below another topic."""


class Branches:
    """The branches of the plant that was shown last. Bounded by it."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self._branches: dict[str, Branch] = {}
        self._prepared: dict[str, Branch] = {}
        self._places: dict[str, Place] = {}
        self._is_new = True
        self.topics: dict[int, str] = {}
        """Topic by slot."""
        self.units: dict[int, str] = {}
        """Unit symbol by slot, "" where there is none."""

    def learn(self, plant: Plant) -> None:
        """Remember where the machines of this plant are, for `address`."""
        self._places = {machine.id: machine.place for machine in plant.everything()}

    def address(self, tag: Tag, home: Place) -> str:
        """The topic of a tag; `home` stands in for the place of a machine nobody has shown yet."""
        root = self._namespace.branch_at(self._places.get(tag.machine, home), tag.machine)
        return f"{root}/{tag.name}"

    def known(self) -> list[str]:
        """Where the machines of the plant that was learned are."""
        return [self._namespace.branch_at(place, machine) for machine, place in self._places.items()]

    def roots(self) -> dict[str, str]:
        """The branch of every machine, by id."""
        return {identifier: branch.root for identifier, branch in self._branches.items()}

    def all(self) -> tuple[Branch, ...]:
        """The branch of every machine."""
        return tuple(self._branches.values())

    def begin_session(self) -> None:
        """The broker knows nothing: the next change describes every machine."""
        self._is_new = True

    def prepare(self, machine: Machine) -> bool:
        """Lay out a machine ahead of `change_to`, so that a big plant can be taken in steps; False: it is known."""
        known = self._branches.get(machine.id)
        if known is not None and known.machine is machine:
            return False
        self._prepared[machine.id] = self._lay_out(machine)
        return True

    def change_to(self, plant: Plant) -> Change:
        """Take the plant that is now."""
        before, after = self._branches, {machine.id: self._branch(machine) for machine in plant.everything()}
        self._prepared.clear()
        self._branches = after
        self.learn(plant)
        fresh = [branch for name, branch in after.items() if before.get(name) is not branch]
        stale = [branch for name, branch in before.items() if after.get(name) is not branch]
        described = tuple(after.values()) if self._is_new else tuple(fresh)
        self._is_new = False
        return self._replace(fresh, stale, described)

    def _replace(self, fresh: list[Branch], stale: list[Branch], described: tuple[Branch, ...]) -> Change:
        old = {slot: topic for branch in stale for slot, topic in branch.topics.items()}
        new = {slot: topic for branch in fresh for slot, topic in branch.topics.items()}
        for slot in old.keys() - new.keys():
            del self.topics[slot], self.units[slot]
        self.topics.update(new)
        for branch in fresh:
            self.units.update(_units(branch))
        gone = {*old.values(), *(branch.meta for branch in stale)}
        gone -= {*new.values(), *(branch.meta for branch in fresh)}
        return Change(
            described,
            frozenset(gone),
            frozenset(old.keys() - new.keys()),
            frozenset(slot for slot, topic in new.items() if old.get(slot, topic) != topic),
        )

    def _branch(self, machine: Machine) -> Branch:
        known = self._branches.get(machine.id)
        if known is not None and known.machine is machine:
            return known
        prepared = self._prepared.get(machine.id)
        return prepared if prepared is not None and prepared.machine is machine else self._lay_out(machine)

    def _lay_out(self, machine: Machine) -> Branch:
        root = self._namespace.branch(machine)
        topics = ((tag.slot, f"{root}/{tag.name}") for tag in machine.tags)
        usable = {slot: topic for slot, topic in topics if is_valid(topic)}
        if len(usable) < len(machine.tags):
            _log.warning(
                "%d tags of %s have no usable topic and are not published", len(machine.tags) - len(usable), machine.id
            )
        return Branch(machine, root, usable)


def _units(branch: Branch) -> dict[int, str]:
    tags = (tag for tag in branch.machine.tags if tag.slot in branch.topics)
    return {tag.slot: tag.definition.unit.symbol if tag.definition.unit else "" for tag in tags}
