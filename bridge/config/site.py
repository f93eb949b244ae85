"""A site: what bridge.yaml says, checked as a whole, with the mappings its machines use."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, product
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from bridge.config import status_access
from bridge.config.broker import EmbeddedBrokerConfig
from bridge.config.broker_access import broker_faults
from bridge.config.commands import CommandsConfig
from bridge.config.documents import validate
from bridge.config.faults import faults_of
from bridge.config.keypath import KeyPath
from bridge.config.library import Locator, MappingLibrary, is_mapping, yaml_files
from bridge.config.merge import Sheaf, read_sheaf
from bridge.config.shifts import ShiftRules, TimeZone
from bridge.config.vendor_profile import SHIPPED, own_profiles, profile_faults
from bridge.errors import ConfigError, Fault, did_you_mean
from bridge.mapping.clash import BRIDGE, Clash, clashes
from bridge.mapping.compile import CompiledMapping
from bridge.mapping.machine import PartMapping
from bridge.model.calendar import Calendar
from bridge.model.path import MACHINE_ID, SEGMENT, Place
from bridge.model.plant import BRIDGE_MACHINE_ID, Part
from bridge.northbound.opcua.config import OpcuaConfig
from bridge.northbound.sparkplug.config import SparkplugConfig
from bridge.northbound.status.config import StatusConfig
from bridge.northbound.uns.config import UnsConfig
from bridge.sources._rules import MachineChoice
from bridge.sources.iotistica.config import IotisticaConfig, IotisticaMachine
from bridge.sources.qitech.config import QitechConfig, QitechMachine
from bridge.sources.quantiix.config import QuantiixConfig, QuantiixMachine
from bridge.sources.replay.config import ReplayConfig, ReplayMachine
from bridge.sources.trackmymachines.config import TrackMyMachinesConfig, TrackMyMachinesMachine
from bridge.transport.duration import Duration
from bridge.transport.mqtt import BrokerConfig
from bridge.transport.mqtt_config import TLS_FILES

SourceConfig = Annotated[
    QitechConfig | QuantiixConfig | TrackMyMachinesConfig | IotisticaConfig | ReplayConfig, Field(discriminator="type")
]
"""The union of every vendor's configuration, told apart by `type`."""

SELECTORS: Mapping[str, type[MachineChoice]] = {
    "qitech": QitechMachine,
    "quantiix": QuantiixMachine,
    "trackmymachines": TrackMyMachinesMachine,
    "iotistica": IotisticaMachine,
    "replay": ReplayMachine,
}
"""How each vendor's machines are named in `machines:`, by source type."""

DEFAULT_PART = "values"


def _segment(text: str) -> str:
    if not SEGMENT.match(text):
        raise ValueError("only letters, digits, _ and -, at most 64 of them: it becomes a topic level")
    return text


def _machine_id(text: str) -> str:
    if not MACHINE_ID.match(text):
        raise ValueError("only letters, digits, _ and -, at most 48 of them: it becomes a NodeId and a topic level")
    if text.lower() == BRIDGE_MACHINE_ID.lower():
        raise ValueError(f"{text} is the bridge itself; choose another id")
    return text


RulesType = TypeVar("RulesType", bound=BaseModel)
Segment = Annotated[str, AfterValidator(_segment)]
MachineId = Annotated[str, AfterValidator(_machine_id)]


class Rules(BaseModel):
    """Base: unknown keys are faults."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class HistoryRules(Rules):
    """How much of tags with `history: true` is kept."""

    size: int = Field(
        256, ge=1, le=100_000, description="Megabytes on disk; beyond it the oldest values go.", examples=[1024]
    )
    age: Duration = Field(7 * 86_400.0, ge=60, le=3650 * 86_400, description="Older values go.", examples=["30d"])


class BridgeRules(Rules):
    """Who and where this bridge is."""

    name: Segment = Field("plantbridge", description="Name of this bridge: edge node id, topic level, log field.")
    enterprise: Segment = Field(description="ISA-95 enterprise: first level of topics.")
    site: Segment = Field(description="ISA-95 site: second level of topics.")
    time_zone: TimeZone | None = Field(
        None, description="Zone of days and shifts; needed by what counts by them.", examples=["Europe/Berlin"]
    )
    shifts: tuple[ShiftRules, ...] = Field(
        (), max_length=20, description="Shifts of this site, in its time zone; they must not overlap."
    )
    state_directory: str = Field(
        "state", description="Where the bridge keeps what must survive a restart; relative to this file."
    )

    history: HistoryRules = Field(
        default_factory=lambda: HistoryRules.model_validate({}),
        description="How much of tags with history: true is kept, for faces that could not deliver it.",
    )

    @property
    def calendar(self) -> Calendar | None:
        """Days and shifts; None where no time zone is given."""
        if self.time_zone is None:
            return None
        return Calendar(ZoneInfo(self.time_zone), tuple(rules.shift() for rules in self.shifts))

    @model_validator(mode="after")
    def _shifts_fit(self) -> BridgeRules:
        if self.shifts and self.time_zone is None:
            raise ValueError("shifts are local times: say time_zone, such as Europe/Berlin, beside them")
        for one, other in combinations((rules.shift() for rules in self.shifts), 2):
            if one.overlaps(other):
                raise ValueError(f"the shifts {one.name} and {other.name} overlap")
        return self


class PartRules(Rules):
    """One source's share of a machine."""

    source: str = Field(description="Name of a source.")
    machine: dict[str, Any] = Field(description="Which of the source's machines; QiTech: slug and serial.")
    mapping: str | None = Field(None, description="Mapping to use instead of the one that matches.")
    prefix: Segment | None = Field(
        None,
        description="A level after the group in the names of all its tags (KPI/<prefix>/…) and before those of its "
        "commands, where another part has the same names; keep it for ever, ids are made of it.",
        examples=["Quantiix"],
    )


class MachineRules(Rules):
    """One machine: an asset with an id and a place, fed by one source or by several parts."""

    id: MachineId = Field(description="Its id for ever: NodeId, Sparkplug device, topic level.")
    label: str = Field("", description="Display name.")
    area: Segment | Literal[""] = Field("", description="ISA-95 area; left out of topics when empty.")
    line: Segment | Literal[""] = Field("", description="ISA-95 line; left out of topics when empty.")
    source: str | None = Field(None, description="Short for one part: name of the source.")
    machine: dict[str, Any] | None = Field(None, description="Short for one part: which of its machines.")
    mapping: str | None = Field(None, description="Short for one part: mapping to use.")
    parts: dict[Segment, PartRules] = Field(default_factory=dict, description="Several sources of one machine.")
    primary: str | None = Field(
        None, description="Part that gives item state and identification; the first by default."
    )
    alive: str = Field(
        "primary", description="any, all, primary or a part's name: when the machine counts as connected."
    )
    tags: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="This machine's own changes of tag rules."
    )


class NorthboundRules(Rules):
    """The faces. A face that is not mentioned runs with its defaults; `enabled: false` turns it off."""

    opcua: OpcuaConfig = Field(default_factory=OpcuaConfig)
    sparkplug: SparkplugConfig = Field(default_factory=SparkplugConfig)
    uns: UnsConfig = Field(default_factory=UnsConfig)
    status: StatusConfig = Field(default_factory=StatusConfig)

    @property
    def faces(self) -> tuple[str, ...]:
        """Those that show the plant and are enabled."""
        faces = {"opcua": self.opcua.enabled, "sparkplug": self.sparkplug.enabled, "uns": self.uns.enabled}
        return tuple(name for name, is_enabled in faces.items() if is_enabled)


class LimitRules(Rules):
    """Bounds of what grows."""

    tags: int = Field(200_000, ge=1000, description="Tag ids one run may ever see.")
    discovered_machines: int = Field(500, ge=0, description="Machines found at sources, not named in machines:.")
    log_rows: int = Field(100_000, ge=1000, description="Events kept on disk.")


class SiteFile(Rules):
    """bridge.yaml."""

    version: Literal[1] = Field(description="Version of the file format.")
    bridge: BridgeRules
    sources: dict[Segment, SourceConfig] = Field(
        default_factory=dict, max_length=64, description="Connections to vendors, by name."
    )
    machines: list[MachineRules] = Field(default_factory=list, description="Machines you name yourself.")
    discovery: Literal["publish", "adopt"] = Field(
        "publish",
        description="publish: found machines appear at once; adopt: they wait until you adopt them "
        "on the status page, or name them in machines:.",
    )
    mappings: list[str] = Field(
        default_factory=list, description="Folders with your own mappings, relative to this file."
    )
    northbound: NorthboundRules = Field(default_factory=NorthboundRules)
    commands: CommandsConfig = Field(default_factory=CommandsConfig)
    broker: EmbeddedBrokerConfig = Field(default_factory=EmbeddedBrokerConfig)
    limits: LimitRules = Field(default_factory=LimitRules)


@dataclass(frozen=True, slots=True)
class ConfiguredPart:
    """A part of a configured machine. `mapping` is None where it depends on what the source will say."""

    part: Part
    identity: Mapping[str, str | int]
    mapping: str | None
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class ConfiguredMachine:
    """A machine of `machines:`. Its primary part is the first."""

    id: str
    label: str
    place: Place
    parts: tuple[ConfiguredPart, ...]
    alive: str
    overrides: Mapping[str, Any]
    locator: Locator


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """A configuration without faults."""

    file: SiteFile
    library: MappingLibrary
    machines: tuple[ConfiguredMachine, ...]
    folder: Path
    paths: tuple[Path, ...]
    """Every file it was made of, mappings included: what a reload watches."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Those of `paths` that are the site itself: no mapping, no vendor's profile."""
        others = {*self.library.files, *own_profiles(self.file.sources)}
        return tuple(path for path in self.paths if path not in others)

    @property
    def state_directory(self) -> Path:
        """Absolute path of the state directory."""
        return (self.folder / self.file.bridge.state_directory).resolve()

    @property
    def people(self) -> dict[str, str]:
        """E-mail addresses by badge number and user name: those of `commands: people`, and of logins that have one."""
        logins = {user.name: user.email for user in self.file.northbound.opcua.users if user.email}
        return {**logins, **self.file.commands.people}

    def identities(self, source: str) -> dict[str, Mapping[str, str | int]]:
        """What the file says of the machines it names at a source, by their keys."""
        parts = (part for machine in self.machines for part in machine.parts if part.part.source == source)
        return {part.part.source_machine: part.identity for part in parts}

    def mapping(self, machine: ConfiguredMachine | None, part: ConfiguredPart) -> CompiledMapping | None:
        """The compiled mapping of a part, with the machine's overrides; None while it cannot be known."""
        chosen = self.library.compiled(part.mapping) if part.mapping else self.library.choose(part.identity)
        return None if chosen is None else self._changed(chosen, machine, part.prefix)

    def mappings(self, machine: ConfiguredMachine, part: ConfiguredPart) -> list[CompiledMapping]:
        """The compiled mapping of a part, or each that it may turn out to have, with the machine's overrides."""
        known = self.mapping(machine, part)
        if known is not None:
            return [known]
        return [self._changed(chosen, machine, part.prefix) for chosen in self.library.candidates(part.identity)]

    def _changed(self, chosen: CompiledMapping, machine: ConfiguredMachine | None, prefix: str) -> CompiledMapping:
        if prefix:
            chosen = self.library.compiled(chosen.name, prefix=prefix)
        if machine is None or not machine.overrides:
            return chosen
        names = {spec.definition.name for spec in chosen.tags}
        overrides = {name: change for name, change in machine.overrides.items() if name in names}
        return self.library.compiled(chosen.name, overrides, machine.locator, prefix)


def site_files(path: Path) -> list[Path]:
    """The files at a path that a site is made of; a folder may hold the site's own mappings beside them."""
    return [file for file in yaml_files(path) if not path.is_dir() or not is_mapping(file)]


def load_site(paths: Sequence[Path], environment: Mapping[str, str] | None = None) -> Site:
    """The site described by these files (or all YAML files of a folder). Raises ConfigError with every fault."""
    files = [file for path in paths for file in site_files(path)]
    if not files:
        raise ConfigError(
            [Fault(str(paths[0]) if paths else "", 0, 0, "", "no configuration file is here", "bridge.yaml")]
        )
    sheaf = read_sheaf(files, os.environ if environment is None else environment)
    folder = paths[0] if paths[0].is_dir() else paths[0].parent
    return load_sheaf(sheaf, folder, tuple(files))


def load_sheaf(sheaf: Sheaf, folder: Path, files: tuple[Path, ...]) -> Site:
    """The site in documents that were read already. Raises ConfigError with every fault."""
    faults: list[Fault] = []
    library = MappingLibrary.load(_mapping_folders(sheaf, folder, faults))
    faults.extend(library.faults)
    file: SiteFile | None = None
    try:
        file = validate(sheaf, SiteFile)
    except ConfigError as error:
        faults.extend(error.faults)
    machines: tuple[ConfiguredMachine, ...] = ()
    if file is not None:
        file = _rooted(file, folder)
        checker = _Checker(file, sheaf, library)
        machines = tuple(checker.machines())
        faults.extend(checker.faults)
        faults.extend(_people_faults(file, sheaf))
        faults.extend(broker_faults(file, sheaf))
        faults.extend(status_access.user_faults(file, sheaf))
        faults.extend(profile_faults(file.sources, sheaf))
    if faults or file is None:
        raise ConfigError(faults)
    site = Site(file, library, machines, folder, (*files, *library.files, *own_profiles(file.sources)))
    before = len(library.faults)
    own = _override_faults(site, sheaf)
    if own or len(library.faults) > before:
        raise ConfigError([*library.faults[before:], *own])
    return site


def _rooted(file: SiteFile, folder: Path) -> SiteFile:
    """The file with the paths in it counted from its folder, wherever the bridge is started."""

    def rooted(rules: RulesType, key: str) -> RulesType:
        name = getattr(rules, key, None)
        return rules if name is None else rules.model_copy(update={key: str((folder / name).resolve())})

    def rooted_broker(broker: BrokerConfig) -> BrokerConfig:
        return functools.reduce(rooted, TLS_FILES, broker)

    north = file.northbound
    faces = {
        "opcua": rooted(north.opcua, "pki"),
        "sparkplug": north.sparkplug.model_copy(
            update={"broker": tuple(rooted_broker(broker) for broker in north.sparkplug.brokers)}
        ),
        "uns": north.uns.model_copy(update={"broker": rooted_broker(north.uns.broker)}),
        "status": rooted(rooted(north.status, "cert_file"), "key_file"),
    }

    def rooted_source(source: SourceConfig) -> SourceConfig:
        if not isinstance(source, IotisticaConfig):
            return rooted(rooted(source, "ca_file"), "file")
        mqtt = source.mqtt and source.mqtt.model_copy(update={"broker": rooted_broker(source.mqtt.broker)})
        own = source if source.profile in SHIPPED else rooted(source, "profile")
        return own.model_copy(update={"mqtt": mqtt, "rest": source.rest and rooted(source.rest, "ca_file")})

    sources = {name: rooted_source(source) for name, source in file.sources.items()}
    return file.model_copy(update={"sources": sources, "northbound": north.model_copy(update=faces)})


def _mapping_folders(sheaf: Sheaf, folder: Path, faults: list[Fault]) -> list[Path]:
    listed = sheaf.data.get("mappings")
    found = []
    for index, name in enumerate(listed if isinstance(listed, list) else []):
        path = folder / str(name)
        if path.exists():
            found.append(path)
        else:
            faults.append(sheaf.fault(("mappings", index), f"{path} does not exist", "a folder with mapping files"))
    return found


def _people_faults(file: SiteFile, sheaf: Sheaf) -> Iterator[Fault]:
    """One name, one person: also in another case, and for a login that has an address of its own."""
    seen = {user.name.casefold(): (user.name, user.email) for user in file.northbound.opcua.users if user.email}
    for name, email in file.commands.people.items():
        other, known = seen.setdefault(name.casefold(), (name, email))
        if known != email:
            problem = f"{other} has another e-mail address"
            yield sheaf.fault(("commands", "people", name), problem, "one for each name, in whatever case", at_key=True)


def _override_faults(site: Site, sheaf: Sheaf) -> Iterator[Fault] | list[Fault]:
    """Compile what every machine overrides; names that no part has are faults here, rules in the library."""
    faults: list[Fault] = []
    for index, machine in enumerate(site.machines):
        possible = [mapping for part in machine.parts for mapping in site.mappings(machine, part)]
        names = {spec.definition.name for mapping in possible for spec in mapping.tags}
        path: KeyPath = ("machines", index)
        faults.extend(
            sheaf.fault(
                (*path, "tags", name),
                f"{machine.id} has no tag of this name",
                "the name of a tag of its mapping",
                did_you_mean(name, names),
                at_key=True,
            )
            for name in machine.overrides
            if name not in names
        )
        faults.extend(_clash_fault(clash, others, machine, sheaf, path) for clash, others in _clashes(site, machine))
    return faults


def _clashes(site: Site, machine: ConfiguredMachine) -> list[tuple[Clash, int]]:
    """For each two parts that clash, whichever mappings they turn out to have: the first name, and how many more."""
    mapped = [
        [PartMapping(part.part, mapping, part.identity) for mapping in site.mappings(machine, part)]
        for part in machine.parts
    ]
    alone = ([part] for possible in mapped for part in possible)
    pairs = (list(pair) for one, other in combinations(mapped, 2) for pair in product(one, other))
    found: dict[tuple[str, str], dict[str, Clash]] = {}
    for clash in (clash for parts in chain(alone, pairs) for clash in clashes(parts)):
        found.setdefault((clash.part, clash.other_part), {}).setdefault(clash.name, clash)
    return [(next(iter(names.values())), len(names) - 1) for names in found.values()]


def _clash_fault(clash: Clash, others: int, machine: ConfiguredMachine, sheaf: Sheaf, path: KeyPath) -> Fault:
    more = f" (and {others} more)" if others else ""
    if clash.other_part == BRIDGE:
        owner, expected = f"the bridge makes {clash.other}", "another prefix"
    else:
        makes = "it too" if clash.other == clash.name else clash.other
        owner, expected = f"the part {clash.other_part} makes {makes}", "prefix: <Word> in one of the two parts"
    named = any(part.part.name == clash.part for part in machine.parts) and len(machine.parts) > 1
    where = (*path, "parts", clash.part) if named else path
    return sheaf.fault(where, f"makes {clash.name}{more}, but {owner}", expected, at_key=True)


def _even(parts: int) -> str:
    """An even share, rounded down."""
    return f"{math.floor(100 / parts) / 100:g}"


class _Checker:
    """What can only be seen when the whole file is there."""

    def __init__(self, file: SiteFile, sheaf: Sheaf, library: MappingLibrary) -> None:
        self.file = file
        self.sheaf = sheaf
        self.library = library
        self.faults: list[Fault] = []
        self._ids: dict[str, str] = {}
        self._taken: dict[tuple[str, str], str] = {}
        self._selectors: dict[tuple[str, str], tuple[KeyPath, Mapping[str, str | int]]] = {}
        """Where each source's machine is named, and its identity."""

    def machines(self) -> Iterator[ConfiguredMachine]:
        for index, rules in enumerate(self.file.machines):
            machine = self._machine(rules, ("machines", index))
            if machine is not None:
                yield machine
        for name, source in self.file.sources.items():
            identities = {key: identity for (of, key), (_, identity) in self._selectors.items() if of == name}
            for fault in source.faults(identities, self.file.bridge.calendar):
                chosen = self._selectors.get((name, fault.machine))
                where: KeyPath = ("sources", name) if chosen is None else chosen[0]
                self._say((*where, *fault.key), fault.problem, fault.expected)
        self._shared_limits()

    def _shared_limits(self) -> None:
        """Sources of one credential must not ask for more of its limit than there is."""
        shares: dict[str, dict[str, float]] = {}
        for name, source in self.file.sources.items():
            if (part := source.part_of_limit) is not None:
                shares.setdefault(part[0], {})[name] = part[1]
        for told in shares.values():
            if len(told) > 1 and sum(told.values()) > 1 + 1e-9:
                names, last = ", ".join(told), list(told)[-1]
                problem = f"{names} use one account and take {sum(told.values()):g} of its limit together"
                self._say(
                    ("sources", last, "share"), problem, f"shares that sum up to 1, such as {_even(len(told))} each"
                )

    def _say(self, path: KeyPath, problem: str, expected: str = "", hint: str = "") -> None:
        self.faults.append(self.sheaf.fault(path, problem, expected, hint))

    def _machine(self, rules: MachineRules, path: KeyPath) -> ConfiguredMachine | None:
        other = self._ids.setdefault(rules.id.lower(), rules.id)
        if other != rules.id or sum(m.id == rules.id for m in self.file.machines) > 1:
            self._say(
                (*path, "id"), f"{rules.id} is also the id of another machine", "an id of its own, also in lower case"
            )
        named = self._named_parts(rules, path)
        if not named:
            return None
        primary = rules.primary or next(iter(named))
        if primary not in named:
            self._say(
                (*path, "primary"), f"there is no part {primary!r}", ", ".join(named), did_you_mean(primary, named)
            )
            return None
        alive = primary if rules.alive == "primary" else rules.alive
        if alive not in ("any", "all", *named):
            self._say((*path, "alive"), f"there is no part {alive!r}", f"any, all, primary, {', '.join(named)}")
        ordered = sorted(named.items(), key=lambda item: item[0] != primary)
        parts = [self._part(rules, name, part, where) for name, (part, where) in ordered]
        place = Place(self.file.bridge.enterprise, self.file.bridge.site, rules.area, rules.line)
        document, own = self.sheaf.place((*path, "tags"))
        known = tuple(part for part in parts if part is not None)
        return ConfiguredMachine(rules.id, rules.label, place, known, alive, rules.tags, Locator(document, tuple(own)))

    def _named_parts(self, rules: MachineRules, path: KeyPath) -> dict[str, tuple[PartRules, KeyPath]]:
        short = rules.source is not None or rules.machine is not None
        if short == bool(rules.parts):
            problem = "says both source and parts" if short else "says nothing about where its values come from"
            self._say(path, problem, "either source: and machine:, or parts:")
            return {}
        if not short:
            return {name: (part, (*path, "parts", name)) for name, part in rules.parts.items()}
        if rules.source is None or rules.machine is None:
            self._say(path, "source and machine belong together", self._together(rules.source))
            return {}
        return {DEFAULT_PART: (PartRules(source=rules.source, machine=rules.machine, mapping=rules.mapping), path)}

    def _together(self, source: str | None) -> str:
        """What is to be written, with the keys by which that source's vendor knows a machine."""
        known = self.file.sources.get(source or "")
        fields = SELECTORS[known.type].model_fields if known is not None else {}
        keys = ", ".join(f"{name}: …" for name, field in fields.items() if field.is_required())
        return f"source: {source or '<name>'} and machine: {{{keys or '…'}}}"

    def _part(self, machine: MachineRules, name: str, rules: PartRules, path: KeyPath) -> ConfiguredPart | None:
        source = self.file.sources.get(rules.source)
        if source is None:
            hint = did_you_mean(rules.source, self.file.sources)
            self._say((*path, "source"), f"there is no source {rules.source!r}", "a name from sources:", hint)
            return None
        selector = SELECTORS[source.type]
        try:
            chosen = selector.model_validate(rules.machine)
        except ValidationError as error:
            self.faults.extend(faults_of(error, selector, self.sheaf, (*path, "machine")))
            return None
        if rules.mapping is not None and rules.mapping not in self.library.names:
            hint = did_you_mean(rules.mapping, self.library.names)
            self._say((*path, "mapping"), f"there is no mapping {rules.mapping!r}", "a mapping's name", hint)
            return None
        key = chosen.key()
        other = self._taken.setdefault((rules.source, key), machine.id)
        if other != machine.id:
            self._say((*path, "machine"), f"is already part of {other}", "a machine that no other id has")
        identity = {**chosen.identity(), **source.hints()}
        self._selectors[rules.source, key] = (*path, "machine"), identity
        if rules.mapping is None and not self.library.candidates(identity):
            self._say((*path, "machine"), "no mapping matches this machine", "a known machine type, or mapping: <name>")
            return None
        part = Part(name, rules.source, key, rules.mapping or "")
        return ConfiguredPart(part, identity, rules.mapping, rules.prefix or "")


__all__ = ["ConfiguredMachine", "ConfiguredPart", "Site", "SiteFile", "load_sheaf", "load_site", "site_files"]
