"""The recorder: what sources publish, as lines for whoever asks; nothing at all while nobody does.

    PlantKeeper.publish -> Recorder.offer -> Recording's queue (bounded) -> its task: redact, encode -> the admin API

A recording begins whole: the inventory, the readings, the last observation of every machine's channels, and what is
wrong now. A reader that is slow loses items; how many is said at the place where they are missing.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bridge import __version__
from bridge.errors import NotRecordable, did_you_mean
from bridge.model.connection import ConnectionState
from bridge.model.event import Event
from bridge.model.observation import Condition, FoundMachine, Inventory, Reading
from bridge.model.status import StatusCode
from bridge.runtime.bridge_machine import READINGS
from bridge.runtime.redaction import Known, Redactor
from bridge.sources.replay.record import Header, RecordedPart, gap_line, header_line, item_line

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Iterator

    from bridge.config.site import Site
    from bridge.ports import Clock, Published, RecordingWish
    from bridge.runtime.machine import PartState
    from bridge.runtime.plant_keeper import PlantKeeper

MAX_RECORDINGS: Final = 4
QUEUE: Final = 5000
"""Items that wait to be encoded, of one recording: over a second of a hundred machines at 30 Hz."""
PORTION: Final = 100
"""Items encoded without a pause: about 5 ms."""
PERIOD_S: Final = 0.25
"""How often what waits is taken. Items are only referred to until then: the hot path pays for nothing else."""
MAX_BYTES: Final = 2**31
"""Of lines; a recording ends there."""

_STATUSES = {
    ConnectionState.Refused: StatusCode.BadConfigurationError,
    ConnectionState.Failed: StatusCode.BadDeviceFailure,
    ConnectionState.Lost: StatusCode.UncertainNoCommunicationLastUsableValue,
}


@dataclass(frozen=True, slots=True)
class _Missing:
    """Stands in the queue where items had no room."""

    count: int


_Choice = frozenset[tuple[str, str]] | None
"""Source and key of the machines that are wanted; None for all."""


class Recorder:
    """Recordings of one running bridge. `secrets`: what is secret and not in the configuration."""

    def __init__(self, keeper: PlantKeeper, clock: Clock, configuration: str, secrets: frozenset[str]) -> None:
        self._keeper = keeper
        self._clock = clock
        self._configuration = configuration
        self._secrets = secrets
        self._recordings: list[_Recording] = []

    def lines(self, wish: RecordingWish) -> AsyncGenerator[bytes, None]:
        """See `bridge.ports.Operations.record`."""
        if len(self._recordings) >= MAX_RECORDINGS:
            raise NotRecordable(f"{MAX_RECORDINGS} recordings are under way already")
        return self._recorded(wish, self._sources(wish), self._machines(wish))

    async def _recorded(
        self, wish: RecordingWish, sources: frozenset[str], chosen: _Choice
    ) -> AsyncGenerator[bytes, None]:
        site = self._keeper.site
        known = Known.of(site.file, site.people, self._secrets)
        redactor = Redactor(known, keep_hosts=wish.keep_hosts, anonymous=wish.anonymous)
        recording = _Recording(sources, chosen, redactor, self._clock)
        opening = Opening(self._keeper, self._clock)
        recording.take_all(opening.items())
        header = header_line(opening.header(sources, self._configuration, redactor, chosen))
        self._recordings.append(recording)
        self._keeper.recorded = self._offer
        try:
            yield header
            written = len(header)
            while written < MAX_BYTES:
                if self._keeper.site is not site:  # its secrets may be others
                    yield recording.gap("the configuration was changed: record anew")
                    return
                lines = recording.encoded()
                written += len(lines)
                yield lines or b"\n"
                await self._clock.sleep(0 if lines else PERIOD_S)
        finally:
            self._recordings.remove(recording)
            if not self._recordings:
                self._keeper.recorded = None

    def _offer(self, item: Published) -> None:
        for recording in self._recordings:
            recording.offer(item)

    def _sources(self, wish: RecordingWish) -> frozenset[str]:
        known = self._keeper.site.file.sources
        for name in wish.sources:
            if name not in known:
                raise NotRecordable(_unknown("source", name, known))
        return frozenset(wish.sources or known)

    def _machines(self, wish: RecordingWish) -> _Choice:
        states = self._keeper.states()
        for name in wish.machines:
            if name not in states:
                raise NotRecordable(_unknown("machine", name, states))
        if not wish.machines:
            return None
        parts = [part.part for name in wish.machines for part in states[name].parts]
        return frozenset((part.source, part.source_machine) for part in parts)


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    names = ", ".join(sorted(known)[:20]) or "none"
    return f"there is no {what} {name[:60]!r}; there is {names}" + (
        f"; {hint}" if (hint := did_you_mean(name, known)) else ""
    )


class Opening:
    """What a recording begins with: the sources' part of the bridge's state, said again."""

    def __init__(self, keeper: PlantKeeper, clock: Clock) -> None:
        self._keeper = keeper
        self._clock = clock
        self._parts = [part for state in keeper.states().values() for part in state.parts]

    def header(self, sources: frozenset[str], configuration: str, redactor: Redactor, chosen: _Choice) -> Header:
        """The first line. The clock is asked here: this is when the recording began."""
        site = self._keeper.site
        parts = tuple(part for part in self._recorded_parts(site, redactor, sources, chosen))
        kinds = {name: config.type for name, config in site.file.sources.items() if name in sources}
        zone = site.file.bridge.time_zone or ""
        return Header(self._clock.now(), __version__, configuration, kinds, parts, zone, redactor.description)

    def _recorded_parts(
        self, site: Site, redactor: Redactor, sources: frozenset[str], chosen: _Choice
    ) -> Iterator[RecordedPart]:
        configured = {(machine.id, part.part.name): part for machine in site.machines for part in machine.parts}
        for identifier, state in self._keeper.states().items():
            for part in state.machine.parts:
                address = (part.source, part.source_machine)
                if part.source not in sources or (chosen is not None and address not in chosen):
                    continue
                known = self._keeper.inventory.get(*address)
                written = configured.get((identifier, part.name))
                identity = {**(known.identity if known else {}), **(written.identity if written else {})}
                yield RecordedPart(
                    redactor.machine_id(identifier),
                    part.name,
                    part.source,
                    redactor.key(part.source_machine),
                    part.mapping,
                    redactor.identity(identity),
                    written.prefix if written else "",
                )

    def items(self) -> Iterator[Published]:
        """Inventory, readings, observations oldest first, what is wrong."""
        sources = self._keeper.site.file.sources
        for source, config in sources.items():
            found = [FoundMachine(m.key, m.identity) for m in self._keeper.inventory if m.source == source]
            yield Inventory(source, tuple(found))
            for name in READINGS[config.type]:
                reading = self._reading(source, name)
                if reading is not None:
                    yield reading
        heard = {(o.source, o.machine, o.channel): o for part in self._parts for o in part.last.values()}
        yield from sorted(heard.values(), key=lambda observation: observation.received)
        for part in self._parts:
            yield from self._wrong(part)

    def _reading(self, source: str, name: str) -> Reading | None:
        tag = self._keeper.table.plant.bridge.tag(f"Sources/{source}/{name}")
        value = None if tag is None else self._keeper.table.get(tag.slot)
        if value is None or value.value is None:
            return None
        return Reading(source, name, value.value, value.source_timestamp)

    @staticmethod
    def _wrong(part: PartState) -> Iterator[Published]:
        source, key = part.part.source, part.part.source_machine
        if part.state is ConnectionState.Vanished:
            yield Inventory(source, vanished=(key,))
        elif part.state in _STATUSES:
            yield Condition(source, _STATUSES[part.state], part.reason, part.since, key, None, part.advice)


class _Recording:
    """One reader's queue. Items wait as references, with the moment they came."""

    def __init__(self, sources: frozenset[str], chosen: _Choice, redactor: Redactor, clock: Clock) -> None:
        self._sources = sources
        self._chosen = chosen
        self._redactor = redactor
        self._clock = clock
        self._zero = clock.monotonic()
        self._waiting: deque[tuple[float, Published | _Missing]] = deque()
        self._opening: deque[tuple[float, Published | _Missing]] = deque()
        self._dropped = 0

    def take_all(self, items: Iterator[Published]) -> None:
        """What it begins with; as large as the plant, so not bounded by the queue."""
        self._opening.extend((0.0, item) for item in items if self._wants(item))

    def offer(self, item: Published) -> None:
        """The hot path: a reference, or a count."""
        if not self._wants(item):
            return
        if len(self._waiting) >= QUEUE:
            self._dropped += 1
            return
        if self._dropped:
            self._dropped, dropped = 0, self._dropped
            self._waiting.append((self._now(), _Missing(dropped)))
        self._waiting.append((self._now(), item))

    def _now(self) -> float:
        return self._clock.monotonic() - self._zero

    def _wants(self, item: Published) -> bool:
        if item.source not in self._sources:
            return False
        if self._chosen is None or isinstance(item, Reading | Inventory):
            return True
        machine = item.machine
        if machine is None or (isinstance(item, Event) and not machine):
            return True
        return (item.source, machine) in self._chosen

    def gap(self, why: str) -> bytes:
        """A line that says why no more is here."""
        return gap_line(self._now(), 0, why)

    def encoded(self) -> bytes:
        """The next lines; none where nothing waits."""
        queue = self._opening or self._waiting
        taken = [queue.popleft() for _ in range(min(PORTION, len(queue)))]
        if not taken and self._dropped:
            self._dropped, dropped = 0, self._dropped
            taken = [(self._now(), _Missing(dropped))]
        return b"".join(self._line(at, item) for at, item in taken)

    def _line(self, at: float, item: Published | _Missing) -> bytes:
        if isinstance(item, _Missing):
            return gap_line(at, item.count, "the reader was too slow")
        if isinstance(item, Inventory):
            item = self._chosen_of(item)
        return item_line(at, self._redactor.item(item), self._zero)

    def _chosen_of(self, item: Inventory) -> Inventory:
        if self._chosen is None:
            return item
        appeared = tuple(found for found in item.appeared if (item.source, found.key) in self._chosen)
        vanished = tuple(key for key in item.vanished if (item.source, key) in self._chosen)
        return Inventory(item.source, appeared, vanished)
