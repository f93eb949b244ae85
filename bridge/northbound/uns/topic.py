"""Topics: where a machine's branch is, what hangs below it, and what collides. Pure.

    acme/essen/extrusion/line-1/extruder-1/Monitoring/Pressure        a tag
                                          /_meta                      what there is
                                          /event/<kind>               what happened; not retained
                                          /backfill                   what its tags were; not retained
                                          /cmd/<name>                 what it is told; its answer at …/result
                                          /_snapshot                  all its values, for whoever asks; at …/result
    acme/essen/_bridge/<name>/online, _info, …                        the bridge itself

A snapshot is asked for beside cmd, not below it: whoever may read may ask, and no ACL line for readers opens cmd.

Source: design.md section 3; facts on UNS 12.1: segments of `[A-Za-z0-9_-]`, no empty level, the whole below 200 bytes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bridge.model.path import SEGMENT, Place, slugged
from bridge.model.plant import BRIDGE_MACHINE_ID

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from bridge.model.plant import Machine, Plant

DEFAULT_TEMPLATE = "{enterprise}/{site}/{area}/{line}/{machine}"
MAX_TOPIC = 200
"""Bytes of a topic; MQTT allows 65 535, brokers in the cloud far less."""

META = "_meta"
ONLINE = "online"
INFO = "_info"
MACHINES = "_machines"
CMD = "cmd"
SNAPSHOT = "_snapshot"
RESULT = "result"
"""Last level of an answer's topic."""
BACKFILL = "backfill"
RESERVED = (META, "event", CMD, SNAPSHOT, BACKFILL)
"""What may hang below a machine besides its tags."""
RESERVED_BRIDGE = (*RESERVED, ONLINE, INFO, MACHINES)

SPARKPLUG = "spB"
"""How the first level of every version of Sparkplug begins."""

MAX_ANSWER_TOPIC, MAX_ANSWER_LEVELS = 1024, 64
"""Characters and levels of a response topic somebody may ask for; mosquitto ends a session that uses more than 200."""

_TOPIC = re.compile(r"[A-Za-z0-9_-]{1,64}(?:/[A-Za-z0-9_-]{1,64})*\Z")  # SEGMENT, level by level
_PUBLISHABLE = re.compile(r"[^+#\x00-\x1f\x7f-\x9f\ud800-\udfff]+\Z")
"""MQTT 5, 4.7.1 and 1.5.4: no wildcards, and none of the characters a broker may end a session for."""
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_PLACEHOLDERS = ("enterprise", "site", "area", "line", "machine")


def template_fault(template: str) -> str | None:
    """Why this template cannot be used, or None."""
    for name in _PLACEHOLDER.findall(template):
        if name not in _PLACEHOLDERS:
            return f"unknown placeholder {{{name}}}; known are {', '.join(f'{{{one}}}' for one in _PLACEHOLDERS)}"
    if "{machine}" not in template:
        return "without {machine} all machines would share one branch"
    for level in template.split("/"):
        if not SEGMENT.match(_PLACEHOLDER.sub("x", level)):
            return f"level {level!r} may hold letters, digits, _, - and placeholders only"
    return None


def branch(template: str, place: Place, machine: str) -> str:
    """The topic of a machine, levels that are empty left out."""
    fields = {
        "enterprise": place.enterprise,
        "site": place.site,
        "area": place.area,
        "line": place.line,
        "machine": machine,
    }
    levels = (_PLACEHOLDER.sub(lambda found: fields[found[1]], level) for level in template.split("/"))
    return "/".join(level for level in levels if level)


class Namespace:
    """Where everything is: one template, one bridge."""

    def __init__(self, template: str, enterprise: str, site: str, bridge_name: str) -> None:
        self._template = template
        self._bridge_name = bridge_name
        self.bridge = "/".join(level for level in (enterprise, site, "_bridge", bridge_name) if level)
        self.online = f"{self.bridge}/{ONLINE}"
        self.info = f"{self.bridge}/{INFO}"
        self.machines = f"{self.bridge}/{MACHINES}"

    def branch(self, machine: Machine) -> str:
        """The topic below which everything of a machine is."""
        return self.branch_at(machine.place, machine.id)

    def branch_at(self, place: Place, machine: str) -> str:
        """The topic of the machine with this id at this place."""
        return self.bridge if machine == BRIDGE_MACHINE_ID else branch(self._template, place, machine)

    def event(self, machine: Machine | None, kind: str) -> str:
        """Where an event of this kind goes; those of no machine, or of one that is gone, are the bridge's."""
        where = self.bridge if machine is None else self.branch(machine)
        return f"{where}/event/{slugged(kind)[:64]}"

    def backfill(self, machine: Machine) -> str:
        """Where values of the past go."""
        return f"{self.branch(machine)}/{BACKFILL}"

    def faults(self, plant: Plant) -> Iterator[str]:
        """What of this plant cannot be published, one sentence each."""
        if not SEGMENT.match(self._bridge_name):
            yield f"the bridge's name {self._bridge_name!r} is not a topic level: letters, digits, _ and - only"
        topics = list(self._topics(plant))
        yield from _bad_topics(topics)
        yield from _collisions(topics)

    def _topics(self, plant: Plant) -> Iterator[tuple[str, str]]:
        for machine in plant.everything():
            where = self.branch(machine)
            reserved = RESERVED_BRIDGE if machine is plant.bridge else RESERVED
            yield from ((f"{where}/{name}", f"{machine.id} ({name})") for name in reserved)
            yield from ((f"{where}/{tag.name}", tag.id) for tag in machine.tags)


def is_valid(topic: str) -> bool:
    """Strict: every level a plain segment, the whole not too long."""
    return len(topic) <= MAX_TOPIC and _TOPIC.match(topic) is not None


def command_name(topic: str, roots: Container[str]) -> tuple[str, str] | None:
    """The branch and the name of a command's topic; None for answers, and where no answer could be published."""
    if not is_valid(f"{topic}/{RESULT}") or topic.endswith(f"/{RESULT}"):
        return None
    levels = topic.split("/")
    for at, level in enumerate(levels):
        if level == CMD and (root := "/".join(levels[:at])) in roots:
            name = "/".join(levels[at + 1 :])
            return (root, name) if name else None
    return None


def is_answer_topic(topic: str, roots: Container[str]) -> bool:
    """An answer may be published there: a topic that does no harm with our rights.

    Not the broker's own, none of Sparkplug (facts 13), no command of anybody's, and in our branches only a result's.
    """
    if not 0 < len(topic) <= MAX_ANSWER_TOPIC or topic[0] == "$" or not _PUBLISHABLE.match(topic):
        return False
    levels = topic.split("/")
    if len(levels) > MAX_ANSWER_LEVELS or levels[0].startswith(SPARKPLUG):
        return False
    if CMD in levels and levels[-1] != RESULT:
        return False
    for depth in range(1, len(levels) + 1):
        if "/".join(levels[:depth]) in roots:
            return _is_result(levels[depth:])
    return True


def _is_result(levels: list[str]) -> bool:
    """Of what is below a branch."""
    return levels == [SNAPSHOT, RESULT] or (levels[:1] == [CMD] and len(levels) > 2 and levels[-1] == RESULT)


def _bad_topics(topics: Iterable[tuple[str, str]]) -> Iterator[str]:
    for topic, owner in topics:
        if is_valid(topic):
            continue
        if len(topic) > MAX_TOPIC:
            yield f"{owner}: topic {topic} is longer than {MAX_TOPIC} bytes"
        for level in topic.split("/"):
            if not SEGMENT.match(level):
                yield f"{owner}: topic level {level!r} may hold letters, digits, _ and - only"


def _collisions(topics: list[tuple[str, str]]) -> Iterator[str]:
    """Two owners of a topic, also when only case differs; a leaf that is also a folder."""
    owners: dict[str, str] = {}
    for topic, owner in topics:
        first = owners.setdefault(topic.lower(), owner)
        if first != owner:
            yield f"{owner} and {first} have the same topic {topic}, at least where case does not count"
    seen: set[str] = set()
    for topic, owner in topics:
        folder = topic.lower()
        while (folder := folder.rpartition("/")[0]) and folder not in seen:
            if folder in owners:
                yield f"{owner} hangs below {owners[folder]}: {folder} would be a value and a folder"
            seen.add(folder)
