"""A file replaced as a whole: whoever reads it sees the old one or the new one, also after a power cut."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from bridge.errors import NotEdited


def rewrite(path: Path, before: bytes, after: bytes) -> None:
    """Put `after` where `before` is, with the file's own mode, group and owner; a link goes on pointing to it.

    Raises NotEdited where the folder cannot be written to, the file is a mount of its own, somebody else has changed it
    meanwhile, or those who can read it now could not any more.
    """
    target = path.resolve()
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.new")  # no .yaml: a running bridge watches those
    try:
        _write(beside, after, target.stat())
        if target.read_bytes() != before:
            raise NotEdited(f"{path} was changed by somebody else meanwhile")
        beside.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        raise NotEdited(f"{path} cannot be replaced: {error.strerror or error}") from error
    finally:
        with suppress(FileNotFoundError, PermissionError):
            beside.unlink()


def _write(path: Path, data: bytes, like: os.stat_result) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(file, "wb") as stream:
        stream.write(data)
        stream.flush()
        _make_alike(file, like)
        os.fsync(file)


def _make_alike(file: int, like: os.stat_result) -> None:
    own = os.fstat(file)
    if (own.st_uid, own.st_gid) != (like.st_uid, like.st_gid):
        _give_away(file, like)
    os.fchmod(file, stat.S_IMODE(like.st_mode))


def _give_away(file: int, like: os.stat_result) -> None:
    """To its owner; where that is not permitted, only if everybody can read it anyway."""
    try:
        os.fchown(file, like.st_uid, like.st_gid)
    except PermissionError:
        if not like.st_mode & stat.S_IROTH:
            sentence = "it belongs to somebody else, who could not read it any more; do this as its owner or as root"
            raise NotEdited(sentence) from None
        with suppress(PermissionError):
            os.fchown(file, -1, like.st_gid)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
