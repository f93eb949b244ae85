"""The plant keeper: takes what sources say, keeps the plant and the table in step with it.

source.run(publish) -> PlantKeeper.publish -+- Observation -> MachineState -> Table
                                            +- Condition   -> MachineState(s) -> Table, Event
                                            +- Inventory   -> InventoryStore -> compile -> Table.replace_plant
                                            +- Reading     -> Bridge/Sources/<source>/…
                                            +- Event       -> log
"""

from __future__ import annotations

import itertools
import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from bridge.config.site import DEFAULT_PART
from bridge.hub.slots import Slots
from bridge.mapping.machine import BoundMachine, PartMapping, compile_machine
from bridge.mapping.targets import targets_of
from bridge.model.connection import ConnectionState
from bridge.model.event import Event
from bridge.model.observation import Condition, FoundMachine, Inventory, Observation, Reading
from bridge.model.path import Place
from bridge.model.plant import Machine, Part, Plant
from bridge.model.status import StatusCode
from bridge.model.value import DataValue, Value
from bridge.runtime.at_machine import SetPointWatch
from bridge.runtime.bridge_machine import READINGS, bridge_machine
from bridge.runtime.drift import DriftWatch, Finding, sentence
from bridge.runtime.growth import Growth, Said, troubles
from bridge.runtime.machine import MachineState, PartState

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from bridge.config.site import ConfiguredMachine, Site
    from bridge.hub.table import Table
    from bridge.mapping.compile import CompiledMapping
    from bridge.mapping.each import EachSpec
    from bridge.ports import Clock, Published, Target
    from bridge.runtime.inventory import InventoryStore, KnownMachine

logger = logging.getLogger(__name__)

Address = tuple[str, str]
"""A source's name and its key of a machine."""


class _Recipe:
    """What a machine is compiled from; two equal ones make the same machine, so it need not be made again."""

    def __init__(
        self,
        identifier: str,
        label: str,
        place: Place,
        alive: str,
        parts: Sequence[PartMapping],
    ) -> None:
        self.id, self.label, self.place, self.alive, self.parts = identifier, label, place, alive, parts

    @property
    def key(self) -> object:
        parts = tuple((p.part, id(p.mapping), tuple(sorted(p.identity.items())), p.accepts_writes) for p in self.parts)
        return self.id, self.label, self.place, self.alive, parts

    def compile(self, slots: Slots) -> BoundMachine:
        return compile_machine(self.id, self.place, self.parts, slots.slot, self.label)


class PlantKeeper:
    """The plant as it is now, and the machines' run-time states."""

    def __init__(
        self, site: Site, inventory: InventoryStore, slots: Slots, clock: Clock, append_event: Callable[[Event], None]
    ) -> None:
        self.site = site
        self.inventory = inventory
        self._slots = slots
        self._clock = clock
        self._append_event = append_event
        self._bound: dict[object, BoundMachine] = {}
        self._states: dict[str, MachineState] = {}
        self._state_keys: dict[str, object] = {}
        self._routes: dict[Address, list[tuple[MachineState, PartState]]] = {}
        self._event_numbers = itertools.count(1)
        self._told: set[tuple[str, str]] = set()
        self.refused: dict[str, str] = {}
        """Machines that cannot be in the plant, by id, and why."""
        self._wanted: dict[str, set[str]] = {}
        self.waiting_for_adoption: dict[Address, KnownMachine] = {}
        self.heard: Callable[[str], None] = lambda source: None
        self.spoke: Callable[[str], None] = lambda source: None
        """Told of a source that says something of itself only."""
        self.idle: Callable[[str, int], None] = lambda source, waiting: None
        """Told of a source that answers while none of its machines is in the plant, and how many wait for adoption."""
        self.slowed: Callable[[Condition], None] = lambda condition: None
        self.way: Callable[[Condition], None] = lambda condition: None
        """Told of a source whose values go on more slowly, and when they no longer do."""
        self.observed: Callable[[Observation], None] = lambda observation: None
        """Told every observation as it is, before projection: commands are confirmed on these."""
        self.recorded: Callable[[Published], None] | None = None
        """Told everything that is published, while somebody records."""
        self.is_own: Callable[[str, Value], bool] = lambda target, value: False
        """Whether a set point's value is what a command of ours asked for."""
        self.pending_bookings: Callable[[str], int] = lambda machine: 0
        """How many bookings of a machine its vendor does not have yet."""
        self.set_points = SetPointWatch(clock, append_event, lambda target, value: self.is_own(target, value))
        self._targets: dict[str, Target] = {}
        self.drift = DriftWatch(self._tell_drift)
        self._growth = Growth(inventory, slots.slot)
        self.table: Table

    # -- the plant ----------------------------------------------------------------------------------------------------

    def first_plant(self) -> Plant:
        """The plant at start: what is configured and what was found in earlier runs."""
        return self._compile()[0]

    def rules(self) -> Iterator[tuple[str, EachSpec]]:
        """Machine id and rule of everything that may make tags when data comes."""
        for bound in self._bound.values():
            for projection in bound.projections.values():
                yield from ((bound.machine.id, each.spec) for each in projection.each)

    def attach(self, table: Table) -> None:
        """Begin to fill a table that shows `first_plant`."""
        self.table = table
        self.rebuild()
        for source, config in self.site.file.sources.items():
            for reading in READINGS[config.type]:
                self.say(f"Sources/{source}/{reading}", None)

    def rebuild(self) -> None:
        """Compile what changed and show it."""
        plant, recipes = self._compile()
        self.table.replace_plant(plant)
        former = {address: targets[0][1] for address, targets in self._routes.items()}
        for recipe in recipes:
            if self._state_keys.get(recipe.id) != recipe.key:
                state = self._state(recipe, former)
                self._states[recipe.id], self._state_keys[recipe.id] = state, recipe.key
                state.begin()
        for gone in set(self._states) - {recipe.id for recipe in recipes}:
            del self._states[gone], self._state_keys[gone]
        self._routes = {}
        for state in self._states.values():
            for part in state.parts:
                rows = part.projection.rows if part.projection else {}
                part.look = partial(self.drift.look, part.part.mapping, state.machine.id, rows=rows)
                self._routes.setdefault((part.part.source, part.part.source_machine), []).append((state, part))
        for source, wanted in self._wanted.items():
            wanted.clear()
            wanted.update(key for name, key in self._routes if name == source)
        self._targets = {target.id: target for state in self._states.values() for target in self._targets_of(state)}
        self.say("Machines", len(plant.machines))
        self.say("Tags", sum(len(machine.tags) for machine in plant.everything()))

    def _state(self, recipe: _Recipe, former: Mapping[tuple[str, str], PartState]) -> MachineState:
        return MachineState(
            self._bound[recipe.key],
            recipe.alive,
            self.table,
            self._clock,
            former,
            lambda machine: self.pending_bookings(machine),
        )

    def _targets_of(self, state: MachineState) -> Iterator[Target]:
        tags = {tag.name: tag for tag in state.machine.tags}
        for part in state.parts:
            if part.projection is not None and self._accepts_writes(part.part.source):
                yield from targets_of(state.machine.id, part.part, part.projection.mapping, tags)

    def target(self, identifier: str) -> Target | None:
        """What can be commanded, by its id (see `bridge.ports.Targets`)."""
        return self._targets.get(identifier)

    def _compile(self) -> tuple[Plant, list[_Recipe]]:
        file = self.site.file
        kinds: dict[str, str] = {name: config.type for name, config in file.sources.items()}
        own = self._bridge_machine(file.bridge.enterprise, file.bridge.site, kinds)
        self.refused = {}
        recipes = list(self._compiled(self._recipes()))
        self._bound = {recipe.key: self._bound[recipe.key] for recipe in recipes}
        return Plant(own, {recipe.id: self._bound[recipe.key].machine for recipe in recipes}), recipes

    def _compiled(self, recipes: Iterator[_Recipe]) -> Iterator[_Recipe]:
        """Those that fit; what they make is in `_bound`. Ids are unique also in lower case, and the first has them."""
        ids: set[str] = set()
        for recipe in recipes:
            if recipe.id.lower() in ids:
                self._refuse(recipe, "another machine has this id: give one of them another in machines:")
                continue
            try:
                self._bound[recipe.key] = self._bound.get(recipe.key) or recipe.compile(self._slots)
            except OverflowError as error:
                self._refuse(recipe, f"{error}: raise limits.tags and start again")
                continue
            ids.add(recipe.id.lower())
            yield recipe

    def _refuse(self, recipe: _Recipe, why: str) -> None:
        self.refused[recipe.id] = why
        source = recipe.parts[0].part.source
        self._tell_once("MachineRefused", f"{recipe.id} is not shown: {why}", source, severity=500)

    def _bridge_machine(self, enterprise: str, site: str, sources: Mapping[str, str]) -> Machine:
        table = getattr(self, "table", None)
        faces, has_broker = self.site.file.northbound.faces, self.site.file.broker.enabled
        wanted = bridge_machine(enterprise, site, sources, self._slots.slot, faces, has_broker=has_broker)
        if table is not None:
            current: Machine = table.plant.bridge
            if [tag.id for tag in current.tags] == [tag.id for tag in wanted.tags] and current.place == wanted.place:
                return current
        return wanted

    def _recipes(self) -> Iterator[_Recipe]:
        configured: set[Address] = set()
        for machine in self.site.machines:
            configured.update((p.part.source, p.part.source_machine) for p in machine.parts)
            yield self._configured_recipe(machine)
        self.waiting_for_adoption = {}
        for known in self.inventory:
            address = (known.source, known.key)
            if address in configured or known.source not in self.site.file.sources:
                continue
            if self.site.file.discovery == "adopt" and not known.adopted_by:
                self.waiting_for_adoption[address] = known
                self._tell_once(
                    "MachineWaiting",
                    f"{known.source} has a machine ({_spoken(known)}) that waits: adopt it, or name it in machines:",
                    known.source,
                )
                continue
            recipe = self._found_recipe(known)
            if recipe is not None:
                yield recipe

    def adopt(self, address: Address, by: str) -> str:
        """Take a machine that waits into the plant, for good; its id. Raises KeyError. Writes a file."""
        known = self.waiting_for_adoption[address]
        self.inventory.adopt(*address, by)
        self._save_inventory()
        self.event("MachineAdopted", f"{by} took {_spoken(known)} into the plant", known.source, known.id, severity=100)
        self.rebuild()
        return known.id

    def _configured_recipe(self, machine: ConfiguredMachine) -> _Recipe:
        parts = []
        for part in machine.parts:
            known = self.inventory.get(part.part.source, part.part.source_machine)
            identity = {**(known.identity if known else {}), **part.identity}
            mapping = self.site.mapping(machine, replace(part, identity=identity))
            if known is not None and mapping is None:
                self._report_unmapped(known)
            accepts = self._accepts_writes(part.part.source)
            tags = self.inventory.tags(part.part.source, part.part.source_machine)
            parts.append(PartMapping(_with_mapping(part.part, mapping), mapping, identity, accepts, tags))
        return _Recipe(machine.id, machine.label, machine.place, machine.alive, parts)

    def _found_recipe(self, known: KnownMachine) -> _Recipe | None:
        mapping = self.site.library.choose(known.identity)
        if mapping is None:
            self._report_unmapped(known)
            return None
        part = Part(DEFAULT_PART, known.source, known.key, mapping.name)
        place = Place(self.site.file.bridge.enterprise, self.site.file.bridge.site)
        accepts = self._accepts_writes(known.source)
        mapped = PartMapping(part, mapping, known.identity, accepts, self.inventory.tags(known.source, known.key))
        return _Recipe(known.id, "", place, DEFAULT_PART, [mapped])

    def _accepts_writes(self, source: str) -> bool:
        return self.site.file.sources[source].accepts_writes

    def _report_unmapped(self, known: KnownMachine) -> None:
        message = f"{known.source} has a machine no mapping matches ({_spoken(known)})"
        self._tell_once("MachineWithoutMapping", message, known.source)

    def _tell_once(self, kind: str, message: str, source: str, severity: int = 300, machine: str = "") -> None:
        """An event for what is found again at every look at the plant. Bounded as the inventory is."""
        if (kind, message) not in self._told:
            self._told.add((kind, message))
            self.event(kind, message, source, machine, severity)

    # -- what sources say ---------------------------------------------------------------------------------------------

    def publish(self, item: Published) -> None:
        """What a source says (see `bridge.ports.Publish`)."""
        if self.recorded is not None:
            self.recorded(item)
        if isinstance(item, Observation):
            self._observe(item)
        elif isinstance(item, Condition):
            self._condition(item)
        elif isinstance(item, Inventory):
            self._inventory(item)
        elif isinstance(item, Reading):
            self.spoke(item.source)
            self.say(f"Sources/{item.source}/{item.name}", item.value, item.extra.get("reason", ""))
        else:
            self._append_event(self._placed(item))

    def _placed(self, event: Event) -> Event:
        """A source names a machine by its own key; everybody else by the plant's id."""
        targets = self._routes.get((event.source, event.machine), ())
        return replace(event, machine=targets[0][0].machine.id) if targets else event

    def wanted(self, source: str) -> Collection[str] | None:
        """Keys of the machines a source is to read: None for all; where adoption is asked those of the plant."""
        if self.site.file.discovery != "adopt":
            return None
        return self._wanted.setdefault(source, {key for name, key in self._routes if name == source})

    def _observe(self, observation: Observation) -> None:
        self.heard(observation.source)
        self.observed(observation)
        if observation.historical:
            self._keep_late(observation)
            return
        for state, part in self._routes.get((observation.source, observation.machine), ()):
            before = part.state
            pairs = state.apply(part, lambda part=part: part.observe(observation))  # type: ignore[misc]
            if pairs:
                self.set_points.look(state.machine, pairs, part.state)
            if part.state is not before:
                self._tell_return(state, part, before)

    def _keep_late(self, observation: Observation) -> None:
        """What happened earlier goes to the history, and nowhere else."""
        history = self.table.history
        for state, part in self._routes.get((observation.source, observation.machine), ()):
            pairs = part.late(observation)
            if pairs and history is not None:
                for slot, value in pairs:
                    history.record_late(state.tags[slot], value)

    def _tell_drift(self, found: Finding) -> None:
        self.event("SchemaDrift", sentence(found), found.source, found.machine, severity=200)

    def _tell_return(self, state: MachineState, part: PartState, before: ConnectionState) -> None:
        if before is ConnectionState.Silent and part.advice_when_silent:
            return
        kind = "MachineConnected" if before is ConnectionState.Waiting else "MachineReturned"
        self.event(kind, f"{_named(state, part)}: values flow", part.part.source, state.machine.id, severity=100)

    def _condition(self, condition: Condition, connection: ConnectionState | None = None) -> None:
        if condition.way:
            self.way(condition)
            return
        if condition.status.is_good:
            self._slow(condition)
            return
        for (source, key), targets in self._routes.items():
            if source != condition.source or condition.machine not in (None, key):
                continue
            for state, part in targets:
                before = part.state
                state.apply(part, lambda part=part: part.condition(condition, connection))  # type: ignore[misc]
                self.set_points.lose(state.machine.id)
                if part.state is not before and before is not ConnectionState.Waiting:
                    message = f"{_named(state, part)}: {condition.reason}"
                    kind = "MachineVanished" if part.state is ConnectionState.Vanished else "MachineLost"
                    self.event(kind, message, source, state.machine.id, severity=500)

    def _slow(self, condition: Condition) -> None:
        self.slowed(condition)
        for targets in self._routes.values():
            for _, part in targets:
                if part.part.source == condition.source:
                    part.advice_when_silent = condition.advice

    def _inventory(self, inventory: Inventory) -> None:
        now = self._clock.now()
        changed = False
        new = [one.key for one in inventory.appeared if self.inventory.get(inventory.source, one.key) is None]
        for found in inventory.appeared:
            changed |= self._meet(inventory.source, found)
        if changed:
            self.rebuild()
            self._save_inventory()
        for key in new:
            self._tell_appeared(inventory.source, key)
        for found in inventory.appeared:
            if found.error is not None:
                reason = f"The vendor reports: {found.error}"
                advice = "Look at the machine's own panel"
                self._condition(
                    Condition(inventory.source, StatusCode.BadDeviceFailure, reason, now, found.key, None, advice)
                )
        for key in inventory.vanished:
            reason = "The vendor no longer lists this machine"
            advice = "Is it switched on and plugged in?"
            condition = Condition(inventory.source, StatusCode.BadDeviceFailure, reason, now, key, None, advice)
            self._condition(condition, ConnectionState.Vanished)
        if not any(source == inventory.source for source, _ in self._routes):
            self.idle(inventory.source, sum(source == inventory.source for source, _ in self.waiting_for_adoption))

    def _tell_appeared(self, source: str, key: str) -> None:
        known, shown = self.inventory.get(source, key), self._routes.get((source, key), ())
        if known is not None:  # else there was no room for it
            machine = shown[0][0].machine.id if shown else ""
            self.event("MachineAppeared", f"{source} has a machine ({_spoken(known)})", source, machine, severity=100)

    def _save_inventory(self) -> None:
        try:
            self.inventory.save()
        except OSError as error:
            logger.error("The inventory cannot be kept: %s; found machines will be unknown after a restart", error)

    def _meet(self, source: str, found: FoundMachine) -> bool:
        taken = {*self._states, *(known.id for known in self.inventory), *(m.id for m in self.site.machines)}
        before = self.inventory.get(source, found.key)
        known = self.inventory.meet(source, found, taken, self._clock.now())
        if known is None:
            self.event(
                "MachineRefused", f"{source} shows more machines than limits.discovered_machines", source, severity=500
            )
            return False
        return known is not before

    # -- the bridge's own voice ---------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Let time pass for every machine."""
        for state in self._states.values():
            for part in state.tick():
                if part.advice_when_silent:  # the vendor has slowed us down: what it tells of itself says so
                    continue
                message = f"{_named(state, part)}: {part.reason}"
                self.event("MachineLost", message, part.part.source, state.machine.id, severity=300)
        self._grow()

    def _grow(self) -> None:
        """Make the tags that rows have asked for: one change of the plant for all of them."""
        grown = [state for state in self._states.values() if any(part.is_ripe() for part in state.parts)]
        said = [one for state in grown for one in self._growth.grow(state)]
        if grown:
            self._show(grown)
            self._save_inventory()
        for state in self._states.values():
            said.extend(troubles(state))
        for one in said:
            self._tell(one)

    def _show(self, grown: Sequence[MachineState]) -> None:
        plant = self.table.plant
        self._bound.update((self._state_keys[state.machine.id], state.bound) for state in grown)
        self.table.replace_plant(Plant(plant.bridge, {**plant.machines, **{s.machine.id: s.machine for s in grown}}))
        for state in grown:
            for part in state.parts:
                state.apply(part, part.flush)
        self.say("Tags", sum(len(machine.tags) for machine in self.table.plant.everything()))

    def _tell(self, said: Said) -> None:
        if said.is_once:
            self._tell_once(said.kind, said.message, said.source, said.severity, said.machine)
        else:
            self.event(said.kind, said.message, said.source, said.machine, said.severity)

    def say(self, name: str, value: Value, reason: str = "") -> None:
        """Set one of the bridge's own tags, if it is another value than before; `reason` is why there is none."""
        tag = self.table.plant.bridge.tag(name)
        if tag is None:
            return
        reason = "" if value is not None else reason or "The source has not told it"
        status = StatusCode.BadNoData if value is None else StatusCode.Good
        current, now = self.table.read(tag), self._clock.now()
        if (current.value, current.status, current.reason) != (value, status, reason):
            since = now if value is None else None
            self.table.update([(tag.slot, DataValue(value, status, now, now, reason, since))])

    def doubt(self, source: str, reason: str, since: datetime) -> None:
        """What a source told of itself may not be so any more: it is not served."""
        now = self._clock.now()
        for name in READINGS[self.site.file.sources[source].type] if source in self.site.file.sources else ():
            tag = self.table.plant.bridge.tag(f"Sources/{source}/{name}")
            current = None if tag is None else self.table.read(tag)
            if tag is not None and current is not None and current.status.is_good:
                status = StatusCode.UncertainLastUsableValue
                self.table.update([(tag.slot, DataValue(current.value, status, now, now, reason, since))])

    def event(self, kind: str, message: str, source: str = "", machine: str = "", severity: int = 300) -> None:
        """Something happened in the bridge."""
        now = self._clock.now()
        identifier = f"{now.isoformat()}-{kind}-{machine or source}-{next(self._event_numbers)}"
        self._append_event(Event(identifier, kind, now, message, severity, source, machine))

    def metrics(self) -> dict[str, float]:
        """Counters of tags that appear with the data."""
        rows = [e for s in self._states.values() for p in s.parts if p.projection for e in p.projection.each]
        return {
            "row_tags": float(sum(each.known for each in rows)),
            "rows_refused_total": float(sum(each.tally.refused for each in rows)),
            "rows_unreadable_total": float(sum(each.tally.unreadable for each in rows)),
            "row_values_contrary_total": float(sum(each.tally.contrary for each in rows)),
        }

    def states(self) -> Mapping[str, MachineState]:
        """Run-time states by machine id."""
        return self._states


def _named(state: MachineState, part: PartState) -> str:
    """A machine, and which of its parts where it has several."""
    machine = state.machine.id
    return machine if len(state.parts) == 1 else f"{machine} ({part.part.name}, from {part.part.source})"


def _spoken(known: KnownMachine) -> str:
    return ", ".join(f"{key} {value}" for key, value in known.identity.items())


def _with_mapping(part: Part, mapping: CompiledMapping | None) -> Part:
    return Part(part.name, part.source, part.source_machine, mapping.name if mapping else part.mapping)
