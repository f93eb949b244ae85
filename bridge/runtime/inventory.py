"""What was found at the sources: ids, given once and kept, and identities, so that nodes exist when a vendor is down.

File: inventory.json in the state directory,
{"version": 1, "machines": [{"source", "key", "id", "identity": {…}, "first_seen": ISO 8601, "adopted_by"}],
"tags": [{"source", "key", "tags": [{"each", "key": […], "texts": […], "type", "unit", "labels": {…}, "description"}]}]
}. Tags are those that appeared with the data (`each` of a mapping), oldest first; how many is bounded by their rules.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson

from bridge.model.known_tag import KnownTag
from bridge.model.path import slugged
from bridge.model.value import DataType
from bridge.runtime.state_directory import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from bridge.model.observation import FoundMachine

logger = logging.getLogger(__name__)

ID_LENGTH = 48


@dataclass(frozen=True, slots=True)
class KnownMachine:
    """A machine that a source has shown at least once."""

    source: str
    key: str
    id: str
    identity: Mapping[str, str | int]
    first_seen: datetime
    adopted_by: str = ""
    """Who took it into the plant, where found machines wait for that."""


class InventoryStore:
    """Known machines by source and key. Bounded: beyond `limit` newcomers are refused and counted."""

    def __init__(self, file: Path, limit: int) -> None:
        self._file = file
        self._limit = limit
        self._known: dict[tuple[str, str], KnownMachine] = {}
        self._tags: dict[tuple[str, str], dict[tuple[str, tuple[str, ...]], KnownTag]] = {}
        self.refused_total = 0

    def load(self) -> None:
        """Read the file; one that cannot be read is put aside, not lost."""
        if not self._file.exists():
            return
        try:
            content = orjson.loads(self._file.read_bytes())
            for entry in content.get("tags", ()):
                self.learn(entry["source"], entry["key"], map(_known_tag, entry["tags"]))
            for entry in content["machines"]:
                known = KnownMachine(**{**entry, "first_seen": datetime.fromisoformat(entry["first_seen"])})
                self._known[known.source, known.key] = known
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            aside = self._file.with_suffix(".unreadable")
            self._file.replace(aside)
            self._known.clear()
            self._tags.clear()
            logger.error("The inventory could not be read (%s): put aside as %s; ids are given anew", error, aside)

    def __iter__(self) -> Iterator[KnownMachine]:
        return iter(self._known.values())

    def get(self, source: str, key: str) -> KnownMachine | None:
        """What is known of a machine."""
        return self._known.get((source, key))

    def tags(self, source: str, key: str) -> Sequence[KnownTag]:
        """Tags that appeared with the data of a machine, oldest first."""
        return tuple(self._tags.get((source, key), {}).values())

    def learn(self, source: str, key: str, tags: Iterable[KnownTag]) -> None:
        """Remember tags that appeared with the data of a machine; lasts beyond this run once it is saved."""
        self._tags.setdefault((source, key), {}).update(((tag.each, tag.key), tag) for tag in tags)

    def meet(self, source: str, found: FoundMachine, taken: set[str], now: datetime) -> KnownMachine | None:
        """Remember a machine that appeared; gives it its id the first time. None where there is no room for it.

        Lasts beyond this run once it is saved.
        """
        before = self._known.get((source, found.key))
        if before is None and len(self._known) >= self._limit:
            self.refused_total += 1
            return None
        if before is not None and before.identity == found.identity:
            return before
        identifier = before.id if before else new_id(source, found, taken)
        first_seen = before.first_seen if before else now
        adopted_by = before.adopted_by if before else ""
        known = KnownMachine(source, found.key, identifier, dict(found.identity), first_seen, adopted_by)
        self._known[source, found.key] = known
        return known

    def adopt(self, source: str, key: str, by: str) -> None:
        """Remember that somebody took it into the plant. Lasts beyond this run once it is saved."""
        self._known[source, key] = replace(self._known[source, key], adopted_by=by)

    def save(self) -> None:
        """Keep what was met. Blocks for some milliseconds: once for each inventory, not for each machine."""
        entries: list[dict[str, Any]] = [
            {**asdict(known), "identity": dict(known.identity)} for known in self._known.values()
        ]
        tags = [
            {"source": source, "key": key, "tags": [_tag_entry(tag) for tag in known.values()]}
            for (source, key), known in self._tags.items()
        ]
        content = {"version": 1, "machines": entries, "tags": tags}
        write_atomically(self._file, orjson.dumps(content, option=orjson.OPT_INDENT_2))


def _tag_entry(tag: KnownTag) -> dict[str, Any]:
    return {
        "each": tag.each,
        "key": tag.key,
        "texts": tag.texts,
        "type": tag.data_type.value,
        "unit": tag.unit,
        "labels": dict(tag.labels),
        "description": tag.description,
    }


def _known_tag(entry: Mapping[str, Any]) -> KnownTag:
    return KnownTag(
        entry["each"],
        tuple(entry["key"]),
        tuple(entry["texts"]),
        DataType(entry["type"]),
        entry["unit"],
        dict(entry["labels"]),
        entry["description"],
    )


def new_id(source: str, found: FoundMachine, taken: set[str]) -> str:
    """`<source>-<slug>-<serial>`, shortened, and made unique also in lower case."""
    words = [source, str(found.identity.get("slug", "")), str(found.identity.get("serial", found.key))]
    base = "-".join(slugged(word) for word in words if word)[:ID_LENGTH]
    folded = {identifier.lower() for identifier in taken}
    identifier, number = base, 2
    while identifier.lower() in folded:
        identifier = f"{base[: ID_LENGTH - 4]}-{number}"
        number += 1
    return identifier
