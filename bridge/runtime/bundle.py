"""Support bundle: what whoever helps needs to know, in one zip that may be shown to strangers.

about.json           versions, computer, state directory's files with their sizes, no content
configuration.json   as it is in force, defaults included; secrets, persons, hosts hidden
faults.txt           what `check` says
health.json events.json commands.json tags.json metrics.txt log.txt    of the running bridge, where one runs

Everything goes through `Redactor`; tags.json has those that are not Good, with their reasons.
"""

from __future__ import annotations

import os
import platform
import sys
import zipfile
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import orjson

from bridge import __version__
from bridge.errors import NotBackedUp
from bridge.runtime.redaction import Known, Redactor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from bridge.config.site import Site

EVENTS, COMMANDS, TAGS = 500, 200, 500
"""Of the newest; a bundle stays small enough for an e-mail."""
NOBODY = frozenset({"", "admin", "uns", "sparkplug"})
"""Requesters that are no person."""
LIBRARIES = ("asyncua", "aiomqtt", "paho-mqtt", "amqtt", "httpx", "aiohttp", "pydantic", "starlette", "uvicorn")


@dataclass(frozen=True, slots=True)
class Running:
    """What a running bridge's admin API says."""

    health: Mapping[str, Any]
    events: Mapping[str, Any]
    commands: Mapping[str, Any]
    tags: Sequence[Mapping[str, Any]]
    log: Mapping[str, Any]
    metrics: str
    token: str = field(repr=False)


def bundle(
    target: Path,
    site: Site | None,
    faults: Sequence[str],
    running: Running | None,
    state: Path | None,
    now: datetime,
    *,
    keep_hosts: bool = False,
) -> list[str]:
    """Write the bundle, readable by its owner alone; the names of what is in it. Raises NotBackedUp."""
    own = {running.token} if running else set[str]()
    people = {*_logins(site), *_requesters(running)}
    known = Known.of(site.file, people, own) if site is not None else Known(frozenset(own), frozenset(people))
    redactor = Redactor(known, keep_hosts=keep_hosts)
    parts = {"about.json": _json(redactor.tree(_about(state, now, redactor.description)))}
    if site is not None:
        parts["configuration.json"] = _json(redactor.tree(site.file.model_dump(mode="json")))
    parts["faults.txt"] = _text(redactor, faults or ["none"])
    if running is not None:
        parts |= _of_running(redactor, running)
    try:
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, data in parts.items():
                packed.writestr(name, data)
    except FileExistsError:
        raise NotBackedUp(f"{target} is there already; choose another name") from None
    except OSError as error:
        raise NotBackedUp(f"{target} cannot be written: {error.strerror or error}") from error
    return [*parts]


def _logins(site: Site | None) -> set[str]:
    """Names of users: often a person's, and then in many a sentence."""
    return {*site.people, *(user.name for user in site.file.northbound.opcua.users)} if site is not None else set()


def _requesters(running: Running | None) -> set[str]:
    """Who commanded: on MQTT a client says any name."""
    said = (
        (str(command.get("requester", "")).removeprefix("claimed:") for command in running.commands["commands"])
        if running
        else ()
    )
    return {name for name in said if name not in NOBODY}


def _about(state: Path | None, now: datetime, redaction: str) -> dict[str, Any]:
    return {
        "plantbridge": __version__,
        "made": now.isoformat(),
        "hidden": redaction,
        "python": sys.version,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processors": os.cpu_count(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "state_directory": _sizes(state) if state is not None and state.is_dir() else {},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _sizes(state: Path) -> dict[str, int]:
    """Bytes by folder, and of what lies directly in the state directory; names of certificates tell who connects."""
    sizes: dict[str, int] = {}
    for path in state.rglob("*"):
        if path.is_file():
            first, *below = path.relative_to(state).parts
            name = f"{first}/…" if below else first
            sizes[name] = sizes.get(name, 0) + path.stat().st_size
    return sizes


def _of_running(redactor: Redactor, running: Running) -> dict[str, bytes]:
    doubtful = [tag for tag in running.tags if tag["status"] != "Good"]
    shown = [{key: tag[key] for key in ("id", "status", "reason", "since", "age")} for tag in doubtful[:TAGS]]
    tags = {"tags": len(running.tags), "not_good": len(doubtful), "shown": shown}
    told = {"health": running.health, "events": running.events, "commands": running.commands, "tags": tags}
    files = {f"{name}.json": _json(redactor.tree(tree)) for name, tree in told.items()}
    lines = [str(line) for line in running.log["lines"]]
    return {**files, "log.txt": _text(redactor, lines), "metrics.txt": _text(redactor, running.metrics.splitlines())}


def _json(tree: Any) -> bytes:
    return orjson.dumps(tree, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)


def _text(redactor: Redactor, lines: Sequence[str]) -> bytes:
    return "".join(redactor.text(line) + "\n" for line in lines).encode()
