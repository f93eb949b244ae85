"""The protocols between the rooms, with the rules of calling them (design.md 2.1)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol, runtime_checkable

from bridge.model.action import Action
from bridge.model.alarm import AlarmCondition
from bridge.model.command import Argument, Command, Door, Outcome, Role
from bridge.model.event import Event
from bridge.model.history import Continuation, EventPage, Gap, HistoricValue, Page
from bridge.model.observation import Condition, Inventory, Observation, Reading
from bridge.model.plant import Batch, Plant
from bridge.model.tag import Tag
from bridge.model.value import DataValue, Value

Published = Observation | Condition | Inventory | Event | Reading
"""What a source says."""

Publish = Callable[[Published], None]
"""How a source speaks. Never blocks, never raises for what it is given."""


class Clock(Protocol):
    """The one source of time."""

    def now(self) -> datetime:
        """UTC, aware, whole milliseconds."""

    def monotonic(self) -> float:
        """Seconds; only differences mean anything."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class Source(Protocol):
    """A vendor's connection. The constructor does no I/O."""

    @property
    def name(self) -> str:
        """The source's name in the configuration."""

    async def run(self, publish: Publish) -> None:
        """Serve until everything it has is gone, or it is cancelled.

        Raises NotConnected, AuthFailed or RateLimited when the whole connection is gone; the supervisor waits and
        calls `run` again, on the same object. It never sleeps to retry the whole connection itself. A part that
        fails (one machine, one channel, one bad payload) is published as a Condition, not raised.
        """


class Memory(Protocol):
    """What a source must still know after a restart: one small document of plain JSON data."""

    async def recall(self) -> Mapping[str, Any]:
        """What was kept last; empty where nothing was, or where it cannot be read any more."""

    async def keep(self, document: Mapping[str, Any]) -> None:
        """Keep this instead, durably: once it returns, a crash or a power cut does not take it away.

        Every event published before is durable first: who keeps how far it has told never loses what it told.
        A disk that does not take it is logged, not raised: the source goes on, and tells more again after a restart.
        """


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that is sent for a command: a set point, a command, or one set point of a recipe."""

    action: Action
    set_point: Tag | None = None
    """The tag that is set; None for a command."""
    value: Value = None
    """What it is set to, as a command says it: an enum's text."""


class Target(Protocol):
    """Something that can be commanded: a set point, a command or a recipe of a machine."""

    @property
    def id(self) -> str:
        """The command's target."""

    @property
    def machine(self) -> str:
        """The plant's id of the machine."""

    @property
    def lane(self) -> tuple[str, str]:
        """Source and the source's machine: commands of one lane go one after the other."""

    @property
    def set_point(self) -> Tag | None:
        """The tag that is set; None for a command and for a recipe."""

    @property
    def arguments(self) -> Sequence[Argument]:
        """What it takes; a set point takes "value"."""

    @property
    def max_delay(self) -> float | None:
        """Of a booking (a record, kept while its vendor is offline): seconds it may be late; None: it is none."""

    def items(self, arguments: Mapping[str, Value]) -> Sequence[Item]:
        """What is sent, in order, for arguments that were checked and converted; more than one for a recipe only. Pure.

        A recipe is what has no set point itself, and items that have one.
        """


Targets = Callable[[str], Target | None]
"""Finds a target by its id; None where there is none that accepts commands."""


class Executor(Protocol):
    """The second face of a source that accepts commands."""

    def validate(self, action: Action) -> str | None:
        """Why this action must not be sent, or None. Pure; holds the vendor's deny-list."""

    async def execute(self, action: Action, deadline: float) -> Outcome:
        """Send it. Called at most once per command id, in the machine's lane. A refusal is an outcome."""

    async def refresh(self, machine: str) -> None:
        """Ask for the machine's state now, so that observations requested after this moment arrive."""

    def can_reconcile(self, action: Action) -> bool:
        """Whether reading can tell what became of an action. Pure."""

    async def reconcile(self, action: Action) -> Outcome:
        """Find out by reading what became of an action whose fate is unknown. Never does it again.

        Confirmed: it was done. Accepted: the machine reads as asked, which may have been so before. Changed: it reads
        otherwise. Unreached: it certainly never arrived, so that a booking is sent again. Unknown: it does not tell.
        """


class Projector(Protocol):
    """One machine part's mapping, compiled. No I/O; remembers only the last payload of each channel."""

    def project(self, observation: Observation) -> Sequence[tuple[int, DataValue]]:
        """The tags (by slot) that this observation changes, and to what."""


class Feed(Protocol):
    """A reader's view of the table. The first batch is the whole plant; then what changed since the last one.

    A reader that is slow gets the newest value per tag and the sum of plant changes; nothing queues up.
    """

    def __aiter__(self) -> Feed:
        """Itself."""

    async def __anext__(self) -> Batch:
        """The next batch; waits until there is something to tell. Never ends; may be cancelled without loss."""

    @property
    def has_news(self) -> bool:
        """Whether values have come since the last batch."""

    def newer(self, slot: int) -> DataValue | None:
        """What has come for this tag since the last batch, if anything; it will not be in the next one.

        For a reader that takes long to tell a batch, and would rather tell the newest value.
        """


class EventLog(Protocol):
    """Events and history with a cursor per reader; bounded on disk."""

    async def read(self, reader: str, limit: int = 100) -> Sequence[tuple[int, Event]]:
        """The next events for this reader, oldest first, with their positions. Waits until there is one."""

    def acknowledge(self, reader: str, position: int) -> None:
        """The reader has delivered everything up to `position`: it will not be shown again, also after a restart."""

    async def query(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        machine: str | None = None,
        newest_first: bool = False,
        limit: int = 1000,
        after: Continuation | None = None,
    ) -> EventPage:
        """Events whose own time is from `start` to `end`, both included, of a machine or (None) of all.

        Order, bounds and pages as in `History.query`. Raises HistoryUnreadable.
        """


class HistoryReader(Protocol):
    """One face's part of the history: it learns what it said live, and reads what it did not. One task at a time each.

    A stored value is delivered when the face acknowledged it, live or read. Each is delivered once while all goes well,
    and at least once whatever happens, kill -9 included, or is counted in a Gap. How a face keeps to that:

    1. It asks for its reader before its first `subscribe`, which must have the same name. From then on it is owed every
       value that is stored; from before its first time ever, nothing.
    2. What its feed gives it (a batch, `newer`) is in its hands. When it has published that, `said` tells which stored
       values it was; when the broker has acknowledged it, it passes them to `acknowledge`.
    3. When the session is lost it calls `abandon`, or ends its subscription: what was not acknowledged is owed.
    4. Owed is besides what the feed merged into a newer value, what came while nobody listened, and what came late.
       `read` gives it, and `acknowledge_read` takes it when it has arrived. `read` never gives what may still be said
       live, so it may go on beside live values; it must not be told as a current value.

    A face whose births say current values without the feed uses `hand_current`; one that takes a value and cannot say
    it (its device is dead) uses `put_back`.
    """

    def said(self) -> Sequence[int]:
        """Positions of the stored values among what it took since it asked last; empty where nothing has a history."""

    def acknowledge(self, said: Sequence[int]) -> None:
        """These have arrived."""

    def abandon(self) -> None:
        """What it took and did not acknowledge did not arrive."""

    def hand_current(self, slots: Iterable[int]) -> None:
        """It says the current values of these tags now, as if it had just taken them."""

    def put_back(self, slots: Iterable[int]) -> None:
        """Of what it took since `said`, it does not say these tags."""

    async def read(self, limit: int, machines: Collection[str] | None = None) -> Sequence[HistoricValue | Gap]:
        """The oldest of what it is owed, in the order in which it came, of these machines (None: of all).

        Waits until there is something, and as long as the face has no feed. The same comes again until it is
        acknowledged. A tag may be one the plant does not have any more.
        """

    def acknowledge_read(self, items: Iterable[HistoricValue | Gap]) -> None:
        """These have arrived."""


class History(Protocol):
    """Values of tags with `history: true`, and late ones of any tag; bounded on disk. Positions: see HistoricValue."""

    def reader(self, name: str) -> HistoryReader:
        """The reader of this name, made at the first call. Raises ValueError: too many."""

    async def query(
        self,
        tag: str,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        newest_first: bool = False,
        limit: int = 1000,
        after: Continuation | None = None,
    ) -> Page:
        """Values of a tag (by id) whose source time is from `start` to `end`, both included; None: without bound.

        Oldest first, or newest first, by source time; those of one time in the order in which they came, or against
        it. The value that was valid at a moment is the first one of `end=moment, newest_first=True, limit=1`. At most
        10 000 at once; the next page begins `after` what this one says. Raises HistoryUnreadable.
        """


class TagView(Protocol):
    """What a northbound may look at."""

    @property
    def plant(self) -> Plant:
        """The plant now."""

    @property
    def log(self) -> EventLog:
        """Events, by the reader's own cursor."""

    @property
    def history(self) -> History | None:
        """What tags have been; None where nothing is kept."""

    def read(self, tag: Tag) -> DataValue:
        """The current value of a tag."""

    def snapshot(self) -> Mapping[int, DataValue]:
        """Every current value by slot; a copy."""

    def subscribe(self, name: str) -> AbstractContextManager[Feed]:
        """Begin reading; leaving the context ends it. `name` is for metrics and must be unique among readers."""


class Ticket(Protocol):
    """A command on its way. Its task belongs to the desk: a caller that vanishes cancels nothing."""

    @property
    def accepted(self) -> Awaitable[Outcome | None]:
        """None once the command is in its lane, or the outcome that refused it."""

    @property
    def result(self) -> Awaitable[Outcome]:
        """How it ended."""


Submit = Callable[[Command], Ticket]
"""How a door hands in a command. Never blocks."""


@dataclass(frozen=True, slots=True)
class RecordingWish:
    """What is to be recorded: sources by name, machines by the plant's id; all where none is named."""

    sources: tuple[str, ...] = ()
    machines: tuple[str, ...] = ()
    keep_hosts: bool = False
    anonymous: bool = False


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """One source as a person wants to see it. `state` is one of the words of Connection/<part>/State."""

    name: str
    type: str
    state: str
    reason: str
    since: datetime
    advice: str
    last_update: datetime | None
    reconnects: int
    next_try_in: float | None = None


@dataclass(frozen=True, slots=True)
class FaceHealth:
    """One northbound."""

    name: str
    running: bool
    detail: str = ""
    """What is wrong with it, in a sentence; "" where nothing is known to be."""


@dataclass(frozen=True, slots=True)
class Health:
    """The bridge's own state. Ready means: values flow from every source that is configured to every face."""

    live: bool
    ready: bool
    why_not_ready: tuple[str, ...]
    version: str
    started: datetime
    configuration: str
    """Hash of the configuration that runs."""
    sources: tuple[SourceHealth, ...] = ()
    faces: tuple[FaceHealth, ...] = ()
    refused: tuple[str, ...] = ()
    """Faults of the configuration that was refused at the last start or reload."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    descriptions: Mapping[str, str] = field(default_factory=dict)
    """What a metric is, by its name."""


@dataclass(frozen=True, slots=True)
class FoundWaiting:
    """A machine that a source has shown and nobody has named yet. `mapping` is "" where none matches."""

    source: str
    key: str
    id: str
    identity: Mapping[str, str | int]
    first_seen: datetime
    mapping: str


class Taken(NamedTuple):
    """A command that the desk took."""

    id: str
    at: datetime


class Operations(Protocol):
    """What the admin API and the status page show and do."""

    def health(self) -> Health:
        """The bridge's state now."""

    def addresses(self, tag: Tag) -> Mapping[str, str]:
        """Where the tag is on each face, by the face's name."""

    async def events(self, limit: int) -> Sequence[Event]:
        """The newest events, newest first."""

    async def reload(self) -> Sequence[str]:
        """Read the configuration again; the faults that kept it from being taken, or none."""

    async def commands(self, limit: int, machine: str, dead: bool) -> Sequence[Mapping[str, Any]]:
        """The newest commands of a machine ("" for all), newest first; `dead`: only what waits for a person."""

    async def command(self, identifier: str) -> Mapping[str, Any] | None:
        """One command with its whole life."""

    def newest_taken(self, target: str, door: Door, within_s: float) -> Taken | None:
        """The command of this door and target that the desk took last, also before a restart, if it is so young."""

    async def retry(self, identifier: str, requester: str, role: Role) -> Outcome:
        """Send a dead letter again, as a new command of this requester; try a kept booking now. Raises KeyError."""

    async def discard(self, identifier: str, requester: str, reason: str) -> None:
        """Put a dead letter or a kept booking aside. Raises KeyError."""

    def plc_source(self, machine: str, dialect: str, commands: Sequence[str]) -> str:
        """What a PLC's programmer declares for a machine, for these commands or all. Raises NotDeclared."""

    def alarms(self) -> Sequence[AlarmCondition]:
        """What is active or not acknowledged."""

    def acknowledge(self, condition: str, by: str, comment: str | None) -> bool:
        """Somebody has seen an alarm; False where it is none, or acknowledged already. Who may is the door's to say.

        Without a comment (None) the one it has stays.
        """

    def comment(self, condition: str, by: str, comment: str) -> bool:
        """Somebody says something about an alarm; False where it is none, or over."""

    async def certificates(self) -> Sequence[Mapping[str, Any]]:
        """Certificates of the OPC UA server and its clients: the server's own, the trusted, the refused."""

    async def trust(self, thumbprint: str, by: str) -> None:
        """Let a client in that was refused, from its next connect on. Raises KeyError."""

    async def distrust(self, thumbprint: str, by: str) -> None:
        """Shut a client out that was trusted, from its next connect on. Raises KeyError."""

    def found(self) -> Sequence[FoundWaiting]:
        """Machines that were found and wait for somebody to adopt them (`discovery: adopt`)."""

    async def adopt(self, source: str, key: str, by: str) -> str:
        """Take a found machine into the plant, for good; its id there. Raises KeyError."""

    async def document(self, kind: str, connection: str) -> str:
        """A page of the plant as it is: "nodeset", "tags" or "ignition". Raises NotDeclared.

        `connection` is what Ignition calls its connection to this server; "" for the usual name.
        """

    async def outline(self) -> Mapping[str, Any]:
        """The plant, its addresses and the settings as plain data, without values and secrets: to compare with."""

    def log(self) -> Sequence[str]:
        """The newest lines of the log, oldest first; bounded."""

    def log_levels(self) -> Mapping[str, str]:
        """From which level on each part of the bridge tells."""

    def set_log_level(self, room: str, level: str) -> None:
        """Tell more or less of a part. Raises NotChanged, which says what there is."""

    def drift(self) -> Sequence[Mapping[str, Any]]:
        """Fields of vendors' answers that are new, gone or of another kind since the start; bounded."""

    def record(self, wish: RecordingWish) -> AsyncGenerator[bytes, None]:
        """A header, then what sources publish, redacted, as lines of JSON, in portions; until it is closed.

        There is a portion every second at least, an empty line where there is nothing else. Nothing is recorded
        before the first is asked for. Raises NotRecordable, at once: an unknown name, or too many at a time.
        """

    def explain(self, tag: Tag) -> Mapping[str, Any]:
        """Where a value comes from and why it is as it is."""


@runtime_checkable
class Troubled(Protocol):
    """A face that knows what is wrong with it while it runs."""

    @property
    def trouble(self) -> str:
        """Why clients do not see all there is, in a sentence; "" while they do."""


@runtime_checkable
class Originator(Protocol):
    """A source that can say where an observation came from."""

    def origin(self, observation: Observation) -> str:
        """The request or the event, as a person would look for it in the vendor's documents; no secret. Pure."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """What a server speaks, in a sentence for a person; `advice`: it is not what is configured, and what to do."""

    sentence: str
    advice: str = ""


@runtime_checkable
class Probing(Protocol):
    """A source that can find out what its server speaks."""

    async def probe(self) -> Spoken:
        """What the server speaks. A request or two; raises SourceError."""


@dataclass(frozen=True, slots=True)
class Rights:
    """What a broker must let a face do."""

    subscribes: tuple[str, ...] = ()
    publishes: tuple[str, ...] = ()
    """Topics nobody uses, beside those that are: an empty message there harms nobody."""
    untried: str = ""
    """What else it publishes, as a filter: nothing can be tried there, because others would take it for data."""


@runtime_checkable
class Brokered(Protocol):
    """A face behind a broker."""

    def rights(self) -> Rights:
        """What it needs, for the plant it was last asked about; also before it runs. Pure."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a face said of one tag."""

    value: DataValue | None = None
    """What it said last, in this session; None where it has said nothing."""
    why_not: str = ""
    """Why clients do not see the tag as it is now, in a sentence; "" while they do."""
    readers: int | None = None
    """How many clients have asked to be told of it; None where nobody can know, as behind a broker."""


@runtime_checkable
class Witness(Protocol):
    """A face that remembers what it said."""

    def told(self, tag: Tag) -> Told:
        """What it said of a tag of the plant, and to how many. Quick, also before it runs."""


@runtime_checkable
class Measured(Protocol):
    """A face that counts what it does."""

    def metrics(self) -> dict[str, float]:
        """Counters and gauges, named `<face>_…`; also before it runs."""


class CertificateDays(NamedTuple):
    """Days until certificates end; below 0 where they have, None where there is none."""

    own: int | None = None
    trusted: int | None = None
    """Of the trusted one that ends first."""


@runtime_checkable
class Certified(Protocol):
    """A face that shows a certificate and trusts others."""

    @property
    def certificate_days(self) -> CertificateDays:
        """How long they last, as it was seen last."""


class Northbound(Protocol):
    """A face of the bridge. The constructor does no I/O."""

    @property
    def name(self) -> str:
        """The face's name: "opcua", "sparkplug", "uns", "status"."""

    async def run(self, view: TagView, submit: Submit, operations: Operations) -> None:
        """Serve until cancelled; then say goodbye in its own language, within a few seconds.

        It owns its own reconnecting: what it raises ends the process. It may be called again.
        """

    def address(self, tag: Tag) -> str:
        """Where this tag is on this face (a NodeId, a metric, a topic). Pure; used at compile time."""

    def faults(self, plant: Plant) -> Sequence[str]:
        """What of this plant this face cannot carry (colliding topics, ids with forbidden characters). Pure."""
