"""Backup: a state directory as one file, of a bridge that runs or does not, and back again.

Form: a zip with manifest.json first, then state/<path>. SQLite files are copied by SQLite itself, so that each is one
moment's; the other files are replaced whole by the bridge, so that each is the one before or the one after.

manifest.json: {"format": 1, "version": plantbridge's, "made": ISO 8601, "files": {path: {"size", "sha256"}}}.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sqlite3
import zipfile
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import orjson

from bridge import __version__
from bridge.errors import NotBackedUp
from bridge.runtime.state_directory import StateDirectory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

FORMAT = 1
MANIFEST = "manifest.json"
ROOT = "state"
SQLITE = b"SQLite format 3\0"
PAGES, PIECE = 2000, 2**20
"""Pages of SQLite, and bytes of another file, that are copied before somebody may interrupt."""
MAX_FILES = 10_000
WORK = ".plantbridge-"
"""How folders begin that are there while something is copied."""
LEFT_OUT = re.compile(r"(?:^|/)(?:lock|admin\.json|[^/]*-(?:wal|shm|journal)|[^/]*\.new)$|^\.plantbridge-")
"""What belongs to the process that runs, not to the state."""
PRIVATE = re.compile(r"(?:^|/)(?:key\.pem(?:\.before)?|admin\.token)$")
"""Files that let in whoever has them."""


def backup(directory: Path, target: Path, now: datetime, tell: Callable[[str], None]) -> list[str]:
    """Write the state directory into `target`, readable by its owner alone; the paths that are in it.

    Raises NotBackedUp: there is no state or too much of it, the file is there already, the disk is full.
    """
    if not directory.is_dir():
        raise NotBackedUp(f"there is no state directory {directory}")
    if target.exists():
        raise NotBackedUp(f"{target} is there already; choose another name")
    part = target.with_name(f"{target.name}.part")
    try:
        with TemporaryDirectory(dir=target.parent, prefix=WORK) as work:
            files = _write(directory, part, Path(work), now, tell)
        part.replace(target)
    except (OSError, sqlite3.Error) as error:
        raise NotBackedUp(f"the backup cannot be written: {error}") from error
    finally:
        part.unlink(missing_ok=True)
    return files


def _write(directory: Path, part: Path, work: Path, now: datetime, tell: Callable[[str], None]) -> list[str]:
    paths = _paths(directory)
    known: dict[str, Any] = {}
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in paths:
            tell(path)
            source = _settled(directory / path, work)
            if source is not None:
                known[path] = _pack(packed, f"{ROOT}/{path}", source)
        manifest = {"format": FORMAT, "version": __version__, "made": now.isoformat(), "files": known}
        packed.writestr(MANIFEST, orjson.dumps(manifest, option=orjson.OPT_INDENT_2))
    return [*known]


def _paths(directory: Path) -> list[str]:
    found = (path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())
    paths = sorted(path for path in found if not LEFT_OUT.search(path))
    if len(paths) > MAX_FILES:
        raise NotBackedUp(f"{directory} has {len(paths)} files, more than {MAX_FILES}: is it a state directory?")
    return paths


def _settled(path: Path, work: Path) -> Path | None:
    """A file that does not change while it is read; None where it went meanwhile."""
    try:
        with path.open("rb") as stream:
            is_database = stream.read(len(SQLITE)) == SQLITE
    except FileNotFoundError:
        return None
    return _copied(path, work / "database") if is_database else path


def _copied(path: Path, to: Path) -> Path:
    to.unlink(missing_ok=True)
    with (
        closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(to)) as copy,
    ):
        source.backup(copy, pages=PAGES)
    return to


def _pack(packed: zipfile.ZipFile, name: str, source: Path) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as stream, packed.open(name, "w", force_zip64=True) as entry:
        while piece := stream.read(PIECE):
            digest.update(piece)
            size += len(piece)
            entry.write(piece)
    return {"size": size, "sha256": digest.hexdigest()}


def manifest_of(file: Path) -> dict[str, Any]:
    """What a backup says of itself. Raises NotBackedUp: it is none, it is damaged, a newer version has made it."""
    try:
        with zipfile.ZipFile(file) as packed:
            manifest: dict[str, Any] = orjson.loads(packed.read(MANIFEST))
            names = set(packed.namelist())
        files, version, form = dict(manifest["files"]), str(manifest["version"]), int(manifest["format"])
    except FileNotFoundError:
        raise NotBackedUp(f"there is no file {file}") from None
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise NotBackedUp(f"{file} is no backup of plantbridge, or is damaged: {error}") from error
    if form > FORMAT or _numbers(version) > _numbers(__version__):
        other = f"{file} was made by plantbridge {version}, this is {__version__}"
        raise NotBackedUp(f"{other}: install that version first")
    strange = [path for path in files if not _is_inside(path) or f"{ROOT}/{path}" not in names]
    if strange or len(files) > MAX_FILES:
        raise NotBackedUp(f"{file} is damaged, or nobody's backup: {', '.join(strange[:3])}")
    return manifest


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("+")[0])[:3])


def _is_inside(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return bool(parts) and not PurePosixPath(path).is_absolute() and ".." not in parts and "\\" not in path


def restore(file: Path, directory: Path, *, replace: bool, tell: Callable[[str], None]) -> Path | None:
    """Put a backup into the state directory; where the state that was there is now, None where there was none.

    Everything is unpacked and compared with its checksum before anything is touched.

    Raises NotBackedUp (also where there is a state and `replace` is False), StateDirectoryBusy while a bridge runs,
    StateDirectoryUnusable.
    """
    manifest = manifest_of(file)
    with StateDirectory(directory).locked():
        there = [path for path in directory.iterdir() if path.name != "lock"]
        if there and not replace:
            raise NotBackedUp(f"{directory} has a state already; with --replace it is put aside, not deleted")
        aside = None
        try:
            with _unpacked(file, manifest, directory, tell) as fresh:
                aside = _put_aside(there, directory) if there else None
                for path in fresh.iterdir():
                    path.replace(directory / path.name)
            _give_to_owner(directory)
        except OSError as error:
            where = f"; what was there is in {aside}" if aside else ""
            raise NotBackedUp(f"the backup cannot be put into {directory}: {error}{where}") from error
    return aside


def _give_to_owner(directory: Path) -> None:
    """What root restores is for the user the bridge runs as: whose the directory is."""
    if os.geteuid() == 0:
        owner = directory.stat()
        for path in directory.rglob("*"):
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


@contextmanager
def _unpacked(file: Path, manifest: dict[str, Any], directory: Path, tell: Callable[[str], None]) -> Iterator[Path]:
    """In the directory itself: it may be a volume of its own, or its parent somebody else's."""
    with TemporaryDirectory(dir=directory, prefix=WORK) as work:
        fresh = Path(work) / ROOT
        fresh.mkdir(mode=0o700)
        with zipfile.ZipFile(file) as packed:
            for path, known in manifest["files"].items():
                tell(path)
                _unpack(packed, path, fresh, known)
        yield fresh


def _unpack(packed: zipfile.ZipFile, path: str, fresh: Path, known: dict[str, Any]) -> None:
    to = fresh / path
    to.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    digest, size = hashlib.sha256(), 0
    handle = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream, packed.open(f"{ROOT}/{path}") as entry:
            while piece := entry.read(PIECE):
                size += len(piece)
                if size > int(known["size"]):
                    break
                digest.update(piece)
                stream.write(piece)
    except zipfile.BadZipFile as error:
        raise NotBackedUp(f"the backup is damaged at {path}: {error}") from error
    if size != known["size"] or digest.hexdigest() != known["sha256"]:
        raise NotBackedUp(f"the backup is damaged at {path}: its checksum is another; nothing was changed")


def _put_aside(there: list[Path], directory: Path) -> Path:
    for number in range(1, 1000):
        aside = directory.with_name(f"{directory.name}.before-{number}")
        if not aside.exists():
            break
    aside.mkdir(mode=0o700)
    for path in there:
        shutil.move(path, aside / path.name)
    return aside
