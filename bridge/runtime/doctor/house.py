"""The computer the bridge runs on: its state directory, its disk, its time zones, its ports."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import socket
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from bridge.errors import StateDirectoryUnusable
from bridge.runtime.doctor.finding import Chart, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bridge.config.site import Site

LITTLE, NOTHING = 2**30, 2**27
"""Bytes that are free: below the first it is spoken of, below the second the bridge soon cannot keep anything."""


def is_held(directory: Path) -> bool:
    """A bridge runs on this state directory. Raises StateDirectoryUnusable where this user cannot know."""
    try:
        handle = os.open(directory / "lock", os.O_RDWR)
    except PermissionError:
        raise StateDirectoryUnusable(
            f"{directory} belongs to another user, so that it cannot be told whether a bridge runs there, and two "
            "logins of one account disturb each other; run this as the user of the bridge: sudo -u plantbridge …"
        ) from None
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.EWOULDBLOCK, errno.EACCES)
    finally:
        os.close(handle)
    return False


def house(site: Site, *, is_running: bool) -> Iterator[Finding]:
    """What the bridge needs of this computer. `is_running`: it runs already, so its ports are its own."""
    chart = Chart("this computer")
    yield from _state(chart, site.state_directory, is_running=is_running)
    yield _zones(chart, site.file.bridge.time_zone)
    north = site.file.northbound
    if not is_running:
        yield _port(chart, "status page", north.status.host, north.status.port)
        if site.file.broker.enabled:
            yield _port(chart, "embedded broker", site.file.broker.host, site.file.broker.port)


def _state(chart: Chart, directory: Path, *, is_running: bool) -> Iterator[Finding]:
    there = next(path for path in (directory, *directory.parents) if path.exists())
    if not os.access(there, os.W_OK | os.X_OK) or not there.is_dir():
        step = "Let the user of the bridge write there (chown), or choose another with bridge.state_directory"
        yield chart.fault("state directory", f"{directory} cannot be written by this user", step)
        return
    made = "" if directory.exists() else "; it is made at the first start"
    yield chart.ok("state directory", f"{directory} can be written{made}")
    if is_running:
        yield chart.note("lock", "a bridge runs on this state directory; it is asked about its sources")
    else:
        yield chart.ok("lock", "no bridge runs on this state directory")
    yield _disk(chart, there)


def _disk(chart: Chart, path: Path) -> Finding:
    free = shutil.disk_usage(path).free
    sentence = f"{free / 2**30:.1f} GiB free at {path}"
    step = "Make room, or put the state directory on another disk: what cannot be written is lost at a restart"
    if free < NOTHING:
        return chart.fault("disk", sentence, step)
    return chart.warning("disk", sentence, step) if free < LITTLE else chart.ok("disk", sentence)


def _zones(chart: Chart, zone: str | None) -> Finding:
    name = zone or "Europe/Berlin"
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return chart.fault("time zones", f"nothing is known of {name}", "Install time zones: pip install tzdata")
    return chart.ok("time zones", f"known, {name} among them")


def _port(chart: Chart, what: str, host: str, port: int) -> Finding:
    why = port_fault(host, port)
    if not why:
        return chart.ok("port", f"{what}: {host}:{port} is free")
    step = f"See what listens there: ss -ltnp 'sport = :{port}'; stop it, or choose another port"
    return chart.fault("port", f"{what}: {host}:{port} cannot be had: {why}", step)


def port_fault(host: str, port: int) -> str:
    """Why nobody may listen there, or ""."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except (OSError, UnicodeError) as error:
        return ((error.strerror if isinstance(error, OSError) else "") or str(error)).lower()
    return ""
