"""Dictionary: an agent's numbers for the names of fields, and messages written with them. Pure.

Source: facts 1.11, "Dictionary", and what the agent's own code does beyond that.

    {v, p: [[index, value], ["a", array, [[pair, …], …]], …]}    a frame of pairs; "$root" where all of it is an array
    {v, i: [index, …], d: [value, …]}                            the older form

Theory of operation. A name is a path with [] for each list on its way ("messages[].readings[].value"); the part behind
the last [] is what a frame of that list calls it. So a frame is read with the names of its own list only. Nothing more
would be needed if each number stood for one name, but agents count anew in five domains (key, metric, unit, quality,
device) and leave the domain out (recorded/iotistica): 0 in a reading is its device, its unit and its quality. Such a
frame is read by the order of its pairs, which is that of the plain message and so of ORDER (`_in_order`).

Rules
1. A name that has a number keeps it: dictionaries only grow. A message of a newer version, or with a number nobody has
   told yet, waits (`Unknown`); one of an older version is read with what is known.
2. What cannot be told apart is refused, with a sentence, and never guessed.
3. Qualities, units, codes, metrics and devices may be numbers too; they become words again here.
4. A whole dictionary is published once in an agent's run, and the broker keeps it; additions are not kept, and the
   version does not rise (recorded/iotistica). So what the broker kept may be older than what is known here: it is where
   its time stamp is not later than that of what was told last; one without a stamp, where it tells no name that is not
   known. Then it adds what is missing and takes nothing away. Any other whole dictionary was made later, has all that
   came before in it, and takes the place of what is known: where both differ, the agent has begun anew.
5. An addition is never kept by a broker, so it is of the newest run. Does it name a number otherwise than it was, then
   the agent has begun anew: all that is known is of another run and is forgotten, for a wrong name is worse than none.
   Messages wait for the whole, unless the addition is the beginning itself.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bridge.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FIELDS: Final = 20_000
"""Names and words of one dictionary: far more than any agent has, and a bound."""
PLANS: Final = 2000
"""Shapes of frames that are remembered."""
PAIRS: Final = 500
"""Pairs of one frame that are told apart by their order; a reading has some fifty."""
DEPTH: Final = 8
DOMAIN: Final = 40
"""Characters of a domain's name."""
QUALITIES: Final = {1: "GOOD", 2: "BAD", 3: "UNCERTAIN", 4: "NOT_CONNECTED"}
"""Frozen in the agent's code; sent with every dictionary all the same."""

LISTS: Final = frozenset({"messages", "readings", "tags", "features"})
"""Lists that hold readings; what else is a list in a message explains a reading's quality, and nobody needs it here."""

ORDER: Final = (
    "timestamp", "deviceName", "deviceId", "endpoint_uuid", "device_uuid", "protocol", "resolvedDisplayName", "metric",
    "value", "unit", "quality",
)  # fmt: skip
"""The fields of a reading, in the order in which agents write them; all others come behind them."""
_PLACE: Final = {name: number for number, name in enumerate(ORDER)}
_ALWAYS: Final = frozenset({"timestamp", "deviceName", "metric", "value", "quality"})
"""What no reading is without."""
_QUALITY_WORDS: Final = frozenset(QUALITIES.values())
_INDEXED: Final = re.compile(r"\[\d+\]")
_ISO: Final = re.compile(r"\d{4}-\d\d-\d\dT")
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.IGNORECASE)


class Unknown(Exception):
    """The message may be readable once the dictionary has grown."""


class _Name(NamedTuple):
    """A field as a frame calls it. `path` are its levels; none where the list holds the value itself."""

    text: str
    path: tuple[str, ...]


_Table = dict[int, list[_Name]]
_Entry = tuple[str, int, str]
"""Domain, index and name, of lists without their places."""


class Dictionary:
    """One agent's names. Made empty; `replace` and `grow` tell it."""

    def __init__(self) -> None:
        self.version: int | None = None
        """None: nothing was told yet."""
        self._stamp = 0
        """When the agent made what was told last, in milliseconds by its own clock; 0: it did not say."""
        self._names: dict[str, dict[int, list[str]]] = {}
        """As told: names by domain and index; the domain is "" where none was told."""
        self._tables: dict[str, _Table] = {}
        self._flat = 0
        self._is_late = False
        self._count = 0
        self._qualities = QUALITIES
        self._codes: dict[int, str] = {}
        self._units: dict[int, str] = {}
        self._metrics: dict[str, dict[int, str]] = {}
        self._devices: dict[str, dict[int, str]] = {}
        self._plans: dict[tuple[object, ...], tuple[_Name | None, ...]] = {}
        self._untold: set[tuple[str, int]] = set()
        """Numbers that were waited for in vain: agents send additions once, and nobody keeps them."""

    # -- learning

    def replace(self, told: Any, *, is_kept: bool = False) -> None:
        """The whole: {version, fields, fieldsByDomain?, enums?, metrics?, devices?, metadata?}.

        `is_kept`: the broker kept it, and it may be older than what is known (rule 4). Raises ProtocolError.
        """
        fresh = Dictionary()
        fresh.version = _version(told)
        fresh._stamp = _stamp(told)
        fresh._add_all(_whole(told))
        fresh._learn_words(told)
        if not (is_kept and self._is_older(fresh)):
            self.__dict__.update(fresh.__dict__)
        elif not any(self._is_other(*one) for one in fresh._entries()):
            self._add_all(fresh._entries())
            self._add_words(fresh)

    def _is_older(self, fresh: Dictionary) -> bool:
        if self.version is None or fresh.version is None:
            return False
        if self._stamp and fresh._stamp:
            return fresh._stamp <= self._stamp
        return fresh.version <= self.version and all(self._is_known(*one) for one in fresh._entries())

    def grow(self, told: Any) -> None:
        """What is new: {version, newFields, newFieldsWithDomains?, …}. Raises ProtocolError; Unknown: to what?"""
        version = _version(told)
        entries = told.get("newFieldsWithDomains", told.get("newFields", told.get("fields")))
        if not isinstance(entries, list):
            raise ProtocolError("the addition to the dictionary has no newFields")
        if self.version is None and not _is_beginning(entries):
            raise Unknown("an addition to a dictionary that was not heard")
        if self.version is not None and version > self.version + 1 and any(isinstance(one, str) for one in entries):
            raise Unknown("an addition without numbers, of which the one before was not heard")
        new = list(_entries_of(entries, "", self._flat))
        other = next((name for domain, index, name in new if self._is_other(domain, index, name)), None)
        if self.version is not None and (other is not None or version < self.version):
            self._begin_anew(entries, version, other)
        self._add_all(new)
        self._learn_words(told)
        self.version = version
        self._stamp = _stamp(told)

    def _begin_anew(self, entries: list[Any], version: int, other: str | None) -> None:
        """Forget what is of another run (rule 5). Raises ProtocolError where the new one's beginning was not heard."""
        if other is None and not _is_beginning(entries):
            raise ProtocolError(f"an addition of version {version} to a dictionary of version {self.version}")
        self.__dict__.update(Dictionary().__dict__)
        if not _is_beginning(entries):
            raise ProtocolError(
                f"an addition gives {other[:100] if other else 'a name'} a number that was another's: the agent has "
                "begun its dictionary anew. What was known of it is forgotten; its messages wait for the whole one"
            )

    def _is_known(self, domain: str, index: int, name: str) -> bool:
        return name in self._names.get(domain, {}).get(index, ())

    def _is_other(self, domain: str, index: int, name: str) -> bool:
        """The number stands for something else."""
        return bool(self._names.get(domain, {}).get(index)) and not self._is_known(domain, index, name)

    def _entries(self) -> Iterator[_Entry]:
        for domain, names in self._names.items():
            for index, known in names.items():
                for name in known:
                    yield domain, index, name

    def document(self) -> dict[str, Any]:
        """All of it, as `replace` takes it; empty where nothing was told."""
        if self.version is None:
            return {}
        fields = {
            domain: [{"index": index, "name": name} for index, known in names.items() for name in known]
            for domain, names in self._names.items()
        }
        words = {"quality": self._qualities, "qualityCode": self._codes, "unit": self._units}
        return {
            "version": self.version,
            "fieldsByDomain": fields,
            "enums": {kind: _numbers(known) for kind, known in words.items()},
            "metrics": {protocol: _numbers(known) for protocol, known in self._metrics.items()},
            "devices": {protocol: _numbers(known) for protocol, known in self._devices.items()},
            "metadata": {"timestamp": self._stamp},
        }

    def _add_all(self, entries: Iterable[_Entry]) -> None:
        for domain, index, name in entries:
            if self._is_known(domain, index, name):
                continue
            self._count += 1
            if self._count > FIELDS:
                raise ProtocolError(f"the dictionary has more than {FIELDS} names")
            self._names.setdefault(domain, {}).setdefault(index, []).append(name)
            self._flat = max(self._flat, index + 1)
            container, _, rest = name.rpartition("[]")
            container = container + "[]" if "[]" in name else ""
            rest = rest.removeprefix(".")
            known = self._tables.setdefault(container, {}).setdefault(index, [])
            if all(one.text != rest for one in known):
                known.append(_Name(rest, tuple(rest.split(".")) if rest else ()))
        self._plans.clear()
        self._untold.clear()

    def _learn_words(self, told: Any) -> None:
        enums = told.get("enums")
        if isinstance(enums, dict):
            self._qualities = {**QUALITIES, **_words(enums.get("quality"))}
            self._codes = _words(enums.get("qualityCode"))
            self._units = _words(enums.get("unit"))
        for name, kept in (("metrics", "_metrics"), ("devices", "_devices")):
            by_protocol = told.get(name)
            if isinstance(by_protocol, dict):
                setattr(self, kept, {str(protocol): _words(words) for protocol, words in by_protocol.items()})

    def _add_words(self, older: Dictionary) -> None:
        self._qualities = {**older._qualities, **self._qualities}
        self._codes = {**older._codes, **self._codes}
        self._units = {**older._units, **self._units}
        for mine, others in ((self._metrics, older._metrics), (self._devices, older._devices)):
            mine.update({protocol: {**words, **mine.get(protocol, {})} for protocol, words in others.items()})

    # -- reading

    def expand(self, message: dict[str, Any], *, is_late: bool = False) -> Any:
        """What the message says with all its names. Raises Unknown (it may wait), ProtocolError (it may not).

        `is_late`: it has waited long enough; an older version is then read with the names that are known, and fields
        and words that nobody has told are left out.
        """
        self._is_late = is_late
        version = _version({"version": message.get("v")})
        if self.version is None:
            raise Unknown("no dictionary of this agent was heard")
        if version > self.version or (version < self.version and not is_late):
            raise Unknown(f"it is written with version {version} of a dictionary of which {self.version} is known")
        pairs = message.get("p")
        if pairs is None:
            return self._older(message)
        if not isinstance(pairs, list):
            raise ProtocolError("its pairs (p) are no list")
        if len(pairs) == 1 and _is_array(pairs[0]) and pairs[0][1] == "$root":
            return [self._frame(item, "[]", "", 1) for item in _items(pairs[0])]
        return self._frame(pairs, "", "", 1)

    def _frame(self, pairs: Any, container: str, protocol: str, depth: int) -> Any:
        if not isinstance(pairs, list):
            raise ProtocolError("a frame is no list of pairs")
        if depth > DEPTH:
            raise ProtocolError(f"more than {DEPTH} lists in lists")
        leaves: list[list[Any]] = []
        arrays: list[list[Any]] = []
        for pair in pairs:
            if _is_array(pair):
                arrays.append(pair)
            elif isinstance(pair, list) and len(pair) == 2 and _is_index(pair[0]):
                leaves.append(pair)
            else:
                raise ProtocolError("a pair is neither [index, value] nor [a, name, items]")
        found = self._leaves(leaves, container)
        if found and not found[0][0].path:
            return found[0][1]
        told: dict[str, Any] = {}
        for name, value in found:
            _put(told, name.path, value)
        protocol = protocol or str(told.get("protocol", ""))
        self._say(told, protocol)
        for array in arrays:
            if array[1] in LISTS:
                inner = f"{container}.{array[1]}[]" if container else f"{array[1]}[]"
                told[array[1]] = [self._frame(item, inner, protocol, depth + 1) for item in _items(array)]
        return told

    def _leaves(self, leaves: list[list[Any]], container: str) -> list[tuple[_Name, Any]]:
        table = self._tables.get(container, {})
        try:
            candidates = [table[pair[0]] for pair in leaves]
        except KeyError:
            candidates = [table.get(pair[0]) or self._without_name(pair[0], container) for pair in leaves]
        if all(len(names) == 1 for names in candidates):
            return [(names[0], pair[1]) for names, pair in zip(candidates, leaves, strict=True)]
        shape = (container, tuple([pair[0] for pair in leaves]), tuple([_kind(pair[1]) for pair in leaves]))
        plan = self._plans.get(shape)
        if plan is None:
            plan = _in_order(leaves, candidates, container)
            if len(self._plans) >= PLANS:
                self._plans.clear()
            self._plans[shape] = plan
        return [(name, pair[1]) for name, pair in zip(plan, leaves, strict=True) if name is not None]

    def _without_name(self, index: int, container: str) -> list[_Name]:
        if self._is_late and len(self._untold) < FIELDS:
            self._untold.add((container, index))
        if (container, index) not in self._untold:
            raise Unknown(f"no name was told for the number {index} in {container or 'the message'}")
        return []

    def _say(self, told: dict[str, Any], protocol: str) -> None:
        """Words for numbers, of one frame."""
        for field, words in (
            ("quality", self._qualities),
            ("qualityCode", self._codes),
            ("unit", self._units),
            ("metric", self._metrics.get(protocol)),
            ("deviceName", self._devices.get(protocol)),
        ):
            number = told.get(field)
            if type(number) is int:
                word = (words or {}).get(number)
                if word is None:
                    self._without_name(number, f"the words of {field}")
                told[field] = word

    def _older(self, message: dict[str, Any], protocol: str = "", depth: int = 1) -> dict[str, Any]:
        indices, values = message.get("i"), message.get("d")
        if not isinstance(indices, list) or not isinstance(values, list) or len(indices) != len(values):
            raise ProtocolError("it has no pairs (p), and its numbers (i) and values (d) do not belong together")
        if depth > DEPTH:
            raise ProtocolError(f"more than {DEPTH} messages in messages")
        told: dict[str, Any] = {}
        for index, value in zip(indices, values, strict=True):
            if not _is_index(index):
                raise ProtocolError("a number (i) is none")
            _put(told, self._older_name(index), value)
        protocol = protocol or str(told.get("protocol", ""))
        self._say(told, protocol)
        return {name: self._older_value(value, protocol, depth) for name, value in told.items()}

    def _older_name(self, index: int) -> tuple[str, ...]:
        names = [
            name.path or (container.removesuffix("[]").rpartition(".")[2],)
            for container, table in self._tables.items()
            for name in table.get(index, ())
        ]
        if not names:
            raise Unknown(f"no name was told for the number {index}")
        if len(names) > 1:
            raise ProtocolError(f"the number {index} stands for {len(names)} fields, and nothing tells which")
        return names[0]

    def _older_value(self, value: Any, protocol: str, depth: int) -> Any:
        if isinstance(value, dict) and "i" in value and "d" in value:
            return self._older(value, protocol, depth + 1)
        if isinstance(value, list):
            return [self._older_value(one, protocol, depth) if isinstance(one, dict) else one for one in value]
        return value


def _whole(told: dict[str, Any]) -> Iterator[_Entry]:
    domains, fields = told.get("fieldsByDomain"), told.get("fields")
    if isinstance(domains, dict):
        for domain, entries in domains.items():
            yield from _entries_of(entries if isinstance(entries, list) else [], str(domain)[:DOMAIN], 0)
    elif isinstance(fields, list):
        yield from _entries_of(fields, "", 0)
    else:
        raise ProtocolError("the dictionary has no fields")


def _entries_of(entries: list[Any], domain: str, begin: int) -> Iterator[_Entry]:
    """Names with their numbers; one without a number follows the one before it, the first has `begin`."""
    following = begin
    for entry in entries:
        if isinstance(entry, str):
            index, name, own = following, entry, domain
        elif isinstance(entry, dict) and isinstance(entry.get("name"), str) and _is_index(entry.get("index")):
            index, name, own = entry["index"], entry["name"], domain or _domain(entry)
        else:
            raise ProtocolError("a field of the dictionary is neither a name nor a name with its index")
        if len(name) > 500:
            raise ProtocolError("a name in the dictionary is longer than 500 characters")
        following = max(following, index + 1)
        yield own, index, _INDEXED.sub("[]", name)


def _domain(entry: dict[str, Any]) -> str:
    domain = entry.get("domain")
    return domain[:DOMAIN] if isinstance(domain, str) else ""


def _is_beginning(entries: list[Any]) -> bool:
    """Nothing came before these: in each of their domains they count from 0."""
    counted: dict[str, int] = {}
    for entry in entries:
        if not isinstance(entry, dict) or entry.get("index") != counted.get(_domain(entry), 0):
            return False
        counted[_domain(entry)] = entry["index"] + 1
    return bool(entries)


def is_compact(message: Any) -> bool:
    """It is written with a dictionary."""
    return (
        isinstance(message, dict)
        and "v" in message
        and (isinstance(message.get("p"), list) or (isinstance(message.get("i"), list) and "d" in message))
    )


def _in_order(leaves: list[list[Any]], candidates: list[list[_Name]], container: str) -> tuple[_Name | None, ...]:
    """Which name each pair stands for, None where nobody needs to know. Raises ProtocolError: nobody could tell.

    Names in ORDER, of which those are taken that can be what came; of several such readings of the frame, the one with
    the most fields that no reading is without, and with the most fields at all. Found from the end: what is best for
    the pairs from one on depends on the last place in ORDER only.
    """
    if len(leaves) > PAIRS:
        raise ProtocolError(f"more than {PAIRS} pairs in one frame, whose numbers may stand for several fields")
    best: list[dict[int, _Best]] = [{} for _ in range(len(leaves) + 1)]
    best[-1] = dict.fromkeys(range(-1, len(ORDER)), _Best(0, 0, 1, ()))
    for place in reversed(range(len(leaves))):
        names, value, after = candidates[place], leaves[place][1], best[place + 1]
        only = names[0] if len(names) == 1 and names[0].text not in _PLACE else None
        for last in range(-1, len(ORDER)):
            found = after[last]
            found = found._replace(names=(only, *found.names))
            for name in names:
                rank = _PLACE.get(name.text, -1)
                if rank > last and _may_be(name.text, value):
                    found = found.or_else(after[rank].with_one(name))
            best[place][last] = found
    chosen = best[0][-1]
    if chosen.ways > 1:
        raise ProtocolError(f"its numbers in {container or 'the message'} may stand for fields in {chosen.ways} ways")
    return chosen.names


class _Best(NamedTuple):
    """The best reading of the rest of a frame, and in how many ways it comes about."""

    needed: int
    known: int
    ways: int
    names: tuple[_Name | None, ...]

    def with_one(self, name: _Name) -> _Best:
        """With this name before it."""
        return _Best(self.needed + (name.text in _ALWAYS), self.known + 1, self.ways, (name, *self.names))

    def or_else(self, other: _Best) -> _Best:
        """The better one of two."""
        mine, others = self[:2], other[:2]
        if mine == others:
            return self._replace(ways=self.ways + other.ways)
        return self if mine > others else other


def _may_be(name: str, value: Any) -> bool:
    """A field of a reading may hold this."""
    kind = _kind(value)
    if name == "timestamp":
        return kind in ("time", "number")
    if name == "quality":
        return kind in ("quality", "small", "text", "null")
    if name.endswith("uuid"):
        return kind in ("uuid", "null")
    return name == "value" or kind in ("text", "small", "null", "uuid", "time", "quality")


def _kind(value: Any) -> str:
    """As much of a value as tells fields apart. The hot path: looked at by place before by pattern."""
    if value.__class__ is str:
        if value in _QUALITY_WORDS:
            return "quality"
        length = len(value)
        if length == 36 and _UUID.match(value):
            return "uuid"
        return "time" if length > 18 and value[10] == "T" and _ISO.match(value) else "text"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int) and 0 <= value < FIELDS:
        return "small"
    return "number" if isinstance(value, int | float) else "other"


def _version(told: Any) -> int:
    version = told.get("version") if isinstance(told, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 0:
        raise ProtocolError("there is no version of a dictionary in it")
    return version


def _stamp(told: dict[str, Any]) -> int:
    """Milliseconds since 1970 by the agent's clock; 0 where it does not say."""
    metadata = told.get("metadata")
    stamp = metadata.get("timestamp") if isinstance(metadata, dict) else told.get("timestamp")
    return stamp if isinstance(stamp, int) and not isinstance(stamp, bool) and stamp > 0 else 0


def _numbers(words: dict[int, str]) -> dict[str, int]:
    """The other way round than `_words`."""
    return {word: number for number, word in words.items()}


def _words(numbers: Any) -> dict[int, str]:
    """{"GOOD": 1} as {1: "GOOD"}."""
    if not isinstance(numbers, dict):
        return {}
    return {number: str(word) for word, number in list(numbers.items())[:FIELDS] if _is_index(number)}


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < FIELDS


def _is_array(pair: Any) -> bool:
    return isinstance(pair, list) and len(pair) == 3 and pair[0] == "a" and isinstance(pair[1], str)


def _items(array: list[Any]) -> list[Any]:
    items: Any = array[2]
    if not isinstance(items, list):
        raise ProtocolError(f"the items of {array[1][:40]} are no list")
    return items


def _put(told: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for level in path[:-1]:
        inner = told.setdefault(level, {})
        if not isinstance(inner, dict):
            raise ProtocolError(f"{level[:40]} is a value and holds fields")
        told = inner
    if path:
        told[path[-1]] = value
