"""The state directory: what must survive a restart, and the lock that keeps a second bridge off it."""

from __future__ import annotations

import fcntl
import os
import secrets
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
from pydantic import SecretStr

from bridge.errors import StateDirectoryBusy, StateDirectoryUnusable

if TYPE_CHECKING:
    from collections.abc import Iterator


class StateDirectory:
    """Files below one folder. The folder is made when it is first locked, for its owner only."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Own the folder. Raises StateDirectoryBusy where another process does, StateDirectoryUnusable."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StateDirectoryUnusable(
                f"The state directory {self.path} cannot be written: {error.strerror}; "
                "let this user write there, or choose another with bridge.state_directory or --state-dir"
            ) from error
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise StateDirectoryBusy(
                    f"{self.path} is in use by another bridge; stop it, or give this one its own state directory"
                ) from error
            yield
        finally:
            os.close(handle)

    def admin_token(self) -> SecretStr:
        """The token of the admin API; made once, readable by the owner only."""
        file = self.path / "admin.token"
        if not file.exists():
            write_atomically(file, secrets.token_urlsafe(32).encode(), mode=0o600)
        return SecretStr(file.read_text().strip())

    def announce(self, admin_url: str, certificate: str | None = None) -> None:
        """Write where the admin API is, and its certificate, so that `plantbridge watch --state-dir` finds it."""
        told = {"url": admin_url, "pid": os.getpid(), "certificate": certificate}
        write_atomically(self.path / "admin.json", orjson.dumps(told))

    def withdraw(self) -> None:
        """The admin API is gone."""
        (self.path / "admin.json").unlink(missing_ok=True)


def write_atomically(file: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a file by fsync and rename: a crash leaves the old one or the new one."""
    temporary = file.with_suffix(file.suffix + ".new")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(handle, "wb") as stream:  # unlike os.write, it writes all or raises: a disk may fill up half-way
        stream.write(data)
        stream.flush()
        os.fsync(handle)
    temporary.replace(file)
