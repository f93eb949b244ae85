"""OPC UA users where they are written: found in a site's files, added to them, given another password.

Only this list is looked at, so that a login can be made before the rest of the site is right.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bridge.config.documents import Document, read_document
from bridge.config.edit import with_item, with_value
from bridge.config.expand import expand
from bridge.config.keypath import KeyPath
from bridge.config.rewrite import rewrite
from bridge.config.site import site_files
from bridge.errors import ConfigError, Fault, NotEdited, did_you_mean

USERS = ("northbound", "opcua", "users")
HASH = "password_hash"
_NAME = re.compile(r"[^\W_][\w.@-]{0,63}\Z")
_REFERENCE = re.compile(r"\$\{(file:)?([^}:]*)")


@dataclass(frozen=True, slots=True)
class WrittenUser:
    """One entry of `northbound: opcua: users:`."""

    name: str
    role: str
    email: str
    file: Path
    line: int
    path: KeyPath
    kept_in: str
    """What the hash is taken from, where the file only refers to it: "the variable X", "the file x"."""
    password_hash: str = field(repr=False)
    """"" where what it is kept in cannot be read here."""
    certificate: str = ""
    """Thumbprint of the certificate it logs in with."""


def name_fault(name: str) -> str:
    """Why nobody may be called so; "" where one may."""
    if _NAME.match(name):
        return ""
    return "a user name has letters, digits and . _ - @, begins with a letter or digit, and has 64 characters at most"


def users_of(paths: Sequence[Path], environment: Mapping[str, str]) -> list[WrittenUser]:
    """The users written in these files. Raises ConfigError for a file that cannot be read."""
    return [user for document in _documents(paths) for user in _users(document, environment)]


def add_user(paths: Sequence[Path], fields: Mapping[str, str]) -> WrittenUser:
    """Write a user into the file that has users, else the one that has OPC UA, else the first.

    Raises NotEdited, with every file as it was.
    """
    document = max(_documents(paths), key=_depth)
    _change(Path(document.file), lambda text: with_item(text, USERS, fields))
    return next(user for user in users_of([Path(document.file)], {}) if user.name == fields["name"])


def change_hash(user: WrittenUser, password_hash: str) -> None:
    """Give a user another password. Raises NotEdited, with the file as it was."""
    if user.kept_in:
        raise NotEdited(f"its hash is not in {user.file} but in {user.kept_in}: put the new one there")
    _change(user.file, lambda text: with_value(text, (*user.path, HASH), password_hash))


def _change(path: Path, change: Callable[[str], str]) -> None:
    before = path.read_bytes()
    text = before.decode("utf-8")
    bom = "\ufeff" * text.startswith("\ufeff")
    rewrite(path, before, (bom + change(text.removeprefix(bom))).encode())


def _documents(paths: Sequence[Path]) -> list[Document]:
    files = [file for path in paths for file in site_files(path)]
    if not files:
        raise ConfigError([Fault(str(paths[0]), 0, 0, "", "no configuration file is here", "bridge.yaml")])
    return [read_document(file) for file in files]


def _depth(document: Document) -> int:
    """How much of the way to the users a file has."""
    return next((depth for depth in range(len(USERS), 0, -1) if document.says(USERS[:depth])), 0)


def _users(document: Document, environment: Mapping[str, str]) -> Iterator[WrittenUser]:
    entries = document.written(USERS)
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        if isinstance(entry, dict):
            path: KeyPath = (*USERS, index)
            said = {key: _expanded(document, (*path, key), str(value), environment) for key, value in entry.items()}
            written = str(entry.get(HASH, ""))
            yield WrittenUser(
                said.get("name", ""),
                said.get("role", "Observer"),
                said.get("email", ""),
                Path(document.file),
                document.position(path)[0],
                path,
                _kept_in(written),
                said.get(HASH, ""),
                said.get("certificate", ""),
            )


def _expanded(document: Document, path: KeyPath, text: str, environment: Mapping[str, str]) -> str:
    try:
        alone = replace(document, data=text)
        return str(expand(alone, environment).data)
    except ConfigError:
        return ""


def _kept_in(written: str) -> str:
    reference = _REFERENCE.search(written)
    if reference is None:
        return ""
    kind, name = reference.groups()
    return f"the file {name}" if kind else f"the environment variable {name}"


def nearest(name: str, users: Sequence[WrittenUser]) -> str:
    """'did you mean "anna"?', or ""."""
    return did_you_mean(name, [user.name for user in users])
