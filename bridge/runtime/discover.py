"""Discover: what a source has, for a person who writes a configuration: its machines, and fields nobody maps yet.

    items a source publishes -> Discovery -> machines: lines, mapping skeletons, unmapped fields

A skeleton compiles as it is; its names, units and ranges are a person's work.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bridge.config.site import SELECTORS
from bridge.errors import counted
from bridge.mapping.shape import Keys, Shape, path_of, rules_of, shape_of, value_at
from bridge.model.observation import FoundMachine, Inventory, Observation
from bridge.model.path import slugged
from bridge.model.payload_path import placed
from bridge.runtime.inventory import InventoryStore, new_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bridge.config.site import Site
    from bridge.mapping.compile import CompiledMapping
    from bridge.ports import Published

MAX_MACHINES = 1000
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OWN_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
"""YAML 1.1, as readers of configurations still have it."""
OF_ONE = frozenset({"serial", "unique_id", "agent", "foreign_id", "display_name", "number", "profile", "calendar"})
"""Parts of an identity that tell one machine from others of its type: no mapping is chosen by them."""


@dataclass(slots=True)
class Seen:
    """One machine of a source."""

    key: str
    identity: dict[str, str | int] = field(default_factory=dict)
    payloads: dict[str, Observation] = field(default_factory=dict)
    """The newest of each channel."""


class Discovery:
    """Takes what a source publishes."""

    def __init__(self, site: Site, source: str) -> None:
        self._site = site
        self._source = source
        self._type = site.file.sources[source].type
        self._seen: dict[str, Seen] = {}
        inventory = InventoryStore(site.state_directory / "inventory.json", site.file.limits.discovered_machines)
        inventory.load()
        self._found = {known.key: known.id for known in inventory if known.source == source}

    @property
    def machines(self) -> list[Seen]:
        """By the source's keys."""
        return sorted(self._seen.values(), key=lambda seen: seen.key)

    def take(self, item: Published) -> None:
        """One item; others than observations and inventories say nothing here."""
        if isinstance(item, Inventory):
            for found in item.appeared:
                if (seen := self._machine(found.key)) is not None:
                    seen.identity.update(found.identity)
        elif isinstance(item, Observation) and not item.historical and (seen := self._machine(item.machine)):
            seen.payloads[item.channel] = item

    def _machine(self, key: str) -> Seen | None:
        if key not in self._seen and len(self._seen) >= MAX_MACHINES:
            return None
        return self._seen.setdefault(key, Seen(key))

    def mapping(self, seen: Seen) -> CompiledMapping | None:
        """The mapping that a machine has, or would have."""
        for machine in self._site.machines:
            for part in machine.parts:
                if (part.part.source, part.part.source_machine) == (self._source, seen.key):
                    return self._site.mapping(machine, part)
        return self._site.library.choose(self._identity(seen))

    def _identity(self, seen: Seen) -> dict[str, str | int]:
        return {**self._site.file.sources[self._source].hints(), **seen.identity}

    def named(self, seen: Seen) -> str:
        """The id the configuration gives it; "" where it names none."""
        parts = ((machine.id, part.part) for machine in self._site.machines for part in machine.parts)
        address = self._source, seen.key
        return next((name for name, part in parts if (part.source, part.source_machine) == address), "")

    def _id(self, seen: Seen) -> str:
        """The id it has, else the one it would get: who writes it down changes nothing for SCADA."""
        if known := self.named(seen) or self._found.get(seen.key):
            return known
        taken = {machine.id for machine in self._site.machines} | set(self._found.values())
        self._found[seen.key] = new_id(self._source, FoundMachine(seen.key, seen.identity), taken)
        return self._found[seen.key]

    def unmapped(self, seen: Seen) -> dict[str, Shape]:
        """Fields that its mapping does not look at, by channel; all where it has none."""
        mapping = self.mapping(seen)
        payloads = {channel: one.payload for channel, one in seen.payloads.items()}
        known = set(_looked_at(mapping, payloads)) if mapping is not None else set()
        shapes = {channel: shape_of(one.payload) for channel, one in seen.payloads.items()}
        return {
            channel: {keys: kind for keys, kind in shape.items() if not _is_known(known, channel, keys)}
            for channel, shape in shapes.items()
        }

    def machine_lines(self) -> Iterator[str]:
        """What to write below `machines:`."""
        chosen = SELECTORS[self._type].model_fields
        for seen in self.machines:
            identity = self._identity(seen)
            keys = {name: identity[name] for name in chosen if name in identity}
            if "slug" in keys:
                keys.pop("machine", None)  # a QiTech machine is named by one of them
            name = self._id(seen)
            told = ", ".join(f"{key}: {_quoted(value)}" for key, value in keys.items())
            mapping = self.mapping(seen)
            remark = f"{mapping.name if mapping else 'no mapping yet'}{', named already' if self.named(seen) else ''}"
            yield f"  - {{id: {name}, source: {self._source}, machine: {{{told}}}}}   # {remark}"

    def skeleton(self, seen: Seen) -> str:
        """A first mapping of a machine that has none."""
        name = slugged(str(seen.identity.get("slug") or seen.identity.get("machine") or seen.key)).lower()
        match = {key: value for key, value in self._identity(seen).items() if key not in OF_ONE}
        told = ", ".join(f"{key}: {_quoted(value)}" for key, value in match.items())
        lines = ["version: 1", f"mapping: {slugged(self._type).lower()}/{name}", f"match: {{{told}}}", "channels:"]
        for channel, one in sorted(seen.payloads.items()):
            rule = "on_change: true" if one.period is None else f"periodic: {max(round(one.period * 1000), 1)}ms"
            lines.append(f"  {channel}: {{{rule}}}")
        lines += ["tags:", *self.rules(seen)]
        return "\n".join(lines) + "\n"

    def rules(self, seen: Seen) -> list[str]:
        """Lines below `tags:` for what nobody maps."""
        taken: set[str] = set()
        lines: list[str] = []
        for channel, shape in sorted(self.unmapped(seen).items()):
            payload = seen.payloads[channel].payload
            examples = {keys: value_at(payload, keys) for keys in shape}
            lines += rules_of(channel, shape, examples, taken)
        return lines

    def told(self) -> list[dict[str, Any]]:
        """Everything as plain data: for each machine key, identity, mapping, id and unmapped fields."""
        return [
            {
                "key": seen.key,
                "identity": seen.identity,
                "id": self.named(seen) or None,
                "mapping": found.name if (found := self.mapping(seen)) else None,
                "channels": sorted(seen.payloads),
                "unmapped": [
                    {"path": path_of(channel, keys), "type": kind}
                    for channel, shape in sorted(self.unmapped(seen).items())
                    for keys, kind in shape.items()
                ],
            }
            for seen in self.machines
        ]


def _looked_at(mapping: CompiledMapping, payloads: Mapping[str, Any]) -> Iterator[tuple[str, Keys]]:
    """Where in these payloads the mapping looks; a row that is in none is nowhere."""
    paths = [path for spec in mapping.tags for _, path in spec.sources]
    for path in (*paths, *(rule.path for rule in mapping.each)):
        keys = placed(path.keys, payloads.get(path.channel))
        if len(keys) == len(path.keys):
            yield path.channel, keys


def _is_known(known: set[tuple[str, Keys]], channel: str, keys: Keys) -> bool:
    return any((channel, keys[:length]) in known for length in range(len(keys) + 1))


def _quoted(value: str | int) -> str:
    """A vendor's word in YAML, as it is: no word of YAML's own, nothing that ends it early."""
    if isinstance(value, int):
        return str(value)
    if _PLAIN.fullmatch(value) and value.lower() not in _OWN_WORDS:
        return value
    return json.dumps(value, ensure_ascii=not value.isprintable())


def _shown(key: str) -> str:
    return "".join(char if char.isprintable() else " " for char in key)


def report(discovery: Discovery, source: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Lines for a person, and the skeletons by file name with the last of them."""
    machines = discovery.machines
    yield f"# {source}: {counted(len(machines), 'machine')}", {}
    if machines:
        yield "machines:", {}
    for line in discovery.machine_lines():
        yield line, {}
    skeletons: dict[str, str] = {}
    for seen in machines:
        if not seen.payloads:
            yield f"# {_shown(seen.key)}: nothing has been heard of it", {}
        elif discovery.mapping(seen) is None:
            text = discovery.skeleton(seen)
            skeletons.setdefault(f"{text.splitlines()[1].partition('/')[2]}.yaml", text)
        elif rules := discovery.rules(seen):
            yield f"# {_shown(seen.key)}: fields that its mapping does not take", {}
            yield from ((f"# {rule}", {}) for rule in rules)
    yield "", skeletons
