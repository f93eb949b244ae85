"""The library of mappings: the shipped ones and a site's own, with `extends` resolved."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from bridge.config.documents import Document, read_document, validate
from bridge.errors import ConfigError, Fault, did_you_mean
from bridge.mapping.compile import CompiledMapping, compile_mapping, deep_merge
from bridge.mapping.examples import run_examples
from bridge.mapping.match import matches, may_match
from bridge.mapping.prefix import prefixed
from bridge.mapping.schema import MappingFile
from bridge.mapping.tag_spec import KeyPath

OWN_KEYS = ("mapping", "extends", "abstract", "match", "examples", "version")
"""What a mapping does not inherit."""


def shipped_folder(name: str) -> Path:
    """A folder that comes with plantbridge ("mappings", "examples"): in the wheel, else in the checkout."""
    package = Path(str(files("bridge")))
    inside = package / "shipped" / name
    return inside if inside.is_dir() else package.parent / name


def yaml_files(path: Path) -> list[Path]:
    """The YAML files of a folder and its subfolders, in order; a file is itself."""
    if path.is_dir():
        return sorted(found for found in path.rglob("*.y*ml") if found.is_file())
    return [path]


def is_mapping(path: Path) -> bool:
    """The file is a mapping, and no part of a site: a folder may hold both."""
    try:
        data = read_document(path).data
    except ConfigError:
        return False
    return isinstance(data, dict) and "mapping" in data and "bridge" not in data


@dataclass(eq=False)
class MappingLibrary:
    """Mappings by name. Faults are collected in `faults`; a mapping with faults is not in `names`."""

    faults: list[Fault] = field(default_factory=list)
    _documents: dict[str, Document] = field(default_factory=dict)
    _resolved: dict[str, MappingFile] = field(default_factory=dict)
    _compiled: dict[tuple[str, str, str], CompiledMapping] = field(default_factory=dict)
    _proved: set[str] = field(default_factory=set)
    """Files that were tried before they were shipped."""

    @classmethod
    def load(cls, folders: Iterable[Path], *, shipped: bool = True) -> MappingLibrary:
        """Read every mapping of these folders (and the shipped ones); a later one of a name replaces an earlier."""
        library = cls()
        if shipped:
            for file in yaml_files(shipped_folder("mappings")):
                library.add(file)
            library._proved = {document.file for document in library._documents.values()}
        for folder in folders:
            for file in yaml_files(folder):
                library.add(file)
        library.resolve()
        return library

    @property
    def names(self) -> list[str]:
        """Names of the mappings that machines can have."""
        return sorted(name for name, file in self._resolved.items() if not file.abstract)

    def add(self, path: Path) -> None:
        """Read one file; what is wrong with it goes to `faults`."""
        try:
            self.add_document(read_document(path))
        except ConfigError as error:
            self.faults.extend(error.faults)

    def add_document(self, document: Document) -> None:
        """Take one mapping file that was read already."""
        name = document.data.get("mapping") if isinstance(document.data, dict) else None
        if not isinstance(name, str):
            self.faults.append(document.fault((), "is no mapping: it has no name", "mapping: <vendor>/<machine type>"))
            return
        other = self._documents.get(name)
        here = Path(document.file)
        if other is not None and Path(other.file) != here and Path(other.file).parent == here.parent:
            self.faults.append(document.fault(("mapping",), f"{name} is also in {other.file}", "a name of its own"))
            return
        self._documents[name] = document

    def resolve(self) -> None:
        """Resolve `extends`, validate everything; compile all that is not proved, and run its examples."""
        for name, document in self._documents.items():
            try:
                self._resolved[name] = self._validated(name, document)
            except ConfigError as error:
                self.faults.extend(error.faults)
        extended = {document.data.get("extends") for document in self._documents.values()}
        for name, file in list(self._resolved.items()):
            if self._documents[name].file in self._proved:
                continue  # it is compiled when a machine has it: to compile all takes a quarter of a second
            if file.abstract and name in extended:
                continue  # may be incomplete; it is compiled as part of those that extend it
            before = len(self.faults)
            self.compiled(name)
            if len(self.faults) > before:
                del self._resolved[name]
        self.faults[:] = dict.fromkeys(self.faults)  # a fault of a base shows in all that extend it

    def prove(self) -> list[Fault]:
        """Compile the shipped ones too, and run their examples; every fault there is."""
        self._proved.clear()
        self.resolve()
        return self.faults

    def _validated(self, name: str, document: Document) -> MappingFile:
        if not isinstance(document.data, dict) or "extends" not in document.data:
            return validate(document, MappingFile)
        merged = self._merged(name, ())
        try:
            return validate(document, MappingFile, merged)
        except ConfigError as error:
            told = self._told_of(str(document.data["extends"]))
            raise ConfigError([one for one in error.faults if (one.key_path, one.problem) not in told]) from None

    def _told_of(self, base: str) -> set[tuple[str, str]]:
        """What is told of the base in its own file, and so need not be told of those that extend it."""
        try:
            self._validated(base, self._documents[base])
        except ConfigError as error:
            return {(fault.key_path, fault.problem) for fault in error.faults}
        return set()

    def _merged(self, name: str, below: tuple[str, ...]) -> dict[str, Any]:
        document = self._documents[name]
        data: dict[str, Any] = document.data
        base = data.get("extends")
        if base is None:
            return data
        if base not in self._documents:
            hint = did_you_mean(str(base), self._documents)
            raise ConfigError([document.fault(("extends",), f"there is no mapping {base!r}", "a mapping's name", hint)])
        if base in (name, *below):
            raise ConfigError([document.fault(("extends",), f"{' -> '.join((*below, name, str(base)))} is a circle")])
        inherited = {key: value for key, value in self._merged(base, (*below, name)).items() if key not in OWN_KEYS}
        merged: dict[str, Any] = deep_merge(inherited, data)
        return merged

    def compiled(
        self, name: str, overrides: Mapping[str, Any] | None = None, at: Locator | None = None, prefix: str = ""
    ) -> CompiledMapping:
        """A mapping, compiled, with a part's prefix and a machine's overrides. Raises KeyError.

        Faults of the overrides are located by `at`.
        """
        key = (name, prefix, json.dumps(overrides or {}, sort_keys=True, default=str))
        if key not in self._compiled:
            self._compiled[key] = self._compile(name, prefix, overrides or {}, at)
        return self._compiled[key]

    def _compile(self, name: str, prefix: str, overrides: Mapping[str, Any], at: Locator | None) -> CompiledMapping:
        document, file = self._documents[name], self._resolved[name]

        def report(path: KeyPath, problem: str, expected: str, hint: str) -> None:
            if path[0] == "overrides":
                if at is not None:
                    self.faults.append(at.document.fault((*at.prefix, *path[1:]), problem, expected, hint, at_key=True))
            elif not overrides and not prefix:
                self.faults.append(self._owner(document, path).fault(path, problem, expected, hint, at_key=True))

        before = len(self.faults)
        compiled = compile_mapping(prefixed(file, prefix) if prefix else file, report, overrides)
        if not overrides and len(self.faults) == before:
            run_examples(compiled, report)
        return compiled

    def _owner(self, document: Document, path: KeyPath) -> Document:
        """The file of the `extends` chain that says what is at `path`."""
        while isinstance(document.data, dict):
            inner = document.data.get(path[0])
            if len(path) < 2 or (isinstance(inner, dict | list) and _has(inner, path[1])):
                return document
            base = self._documents.get(str(document.data.get("extends")))
            if base is None:
                return document
            document = base
        return document

    @property
    def fingerprint(self) -> tuple[MappingFile, ...]:
        """Equal for two libraries that say the same."""
        return tuple(self._resolved[name] for name in sorted(self._resolved))

    def adopt(self, before: MappingLibrary) -> None:
        """Keep what `before` compiled from files that say the same, so that machines need not be made anew."""
        for key, compiled in before._compiled.items():
            name = key[0]
            if name in self._resolved and self._resolved[name] == before._resolved.get(name):
                self._compiled[key] = compiled

    @property
    def files(self) -> list[Path]:
        """The files it was read from."""
        return [Path(document.file) for document in self._documents.values()]

    def candidates(self, identity: Mapping[str, str | int]) -> list[CompiledMapping]:
        """Mappings that match, or would once the source has said more of the machine's identity."""
        return [self.compiled(name) for name in self.names if may_match(self._resolved[name].match, identity)]

    def examples(self, files: Collection[str] | None = None) -> int:
        """How many examples there are, in all files or in these."""
        return sum(
            len(mapping.examples)
            for name, mapping in self._resolved.items()
            if files is None or self._documents[name].file in files
        )

    def choose(self, identity: Mapping[str, str | int]) -> CompiledMapping | None:
        """The mapping for a machine with this identity: of those that match, the one that asks most."""
        matching = [name for name in self.names if matches(self._resolved[name].match, identity)]
        chosen = max(matching, key=lambda name: len(self._resolved[name].match), default=None)
        return None if chosen is None else self.compiled(chosen)


@dataclass(frozen=True, slots=True)
class Locator:
    """Where overrides stand in a person's file."""

    document: Document
    prefix: KeyPath


def _has(inner: dict[Any, Any] | list[Any], key: str | int) -> bool:
    return key in inner if isinstance(inner, dict) else isinstance(key, int) and key < len(inner)
