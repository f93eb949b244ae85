"""Backup and restore of a state directory: whole, private, refused where it must be."""

from __future__ import annotations

import os
import sqlite3
import stat
import zipfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson
import pytest

from bridge.errors import NotBackedUp, StateDirectoryBusy
from bridge.runtime import backup as module
from bridge.runtime.backup import MANIFEST, backup, manifest_of, restore
from bridge.runtime.state_directory import StateDirectory

NOW = datetime(2026, 3, 4, tzinfo=UTC)
FILES = {
    "inventory.json": b'{"version": 1}',
    "pki/own/key.pem": b"-----BEGIN PRIVATE KEY-----",
    "pki/trusted/a.der": bytes(range(256)),
    "admin.token": b"t0ken",
    "bdseq/acme-essen-bridge-1": b"7",
}


def quiet(path: str) -> None:
    """No progress."""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    directory = tmp_path / "state"
    for name, data in FILES.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(data)
    (directory / "admin.json").write_text("{}")
    (directory / "lock").write_text("")
    return directory


def contents(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and path.name != "lock"
    }


def test_what_is_restored_is_what_was_backed_up(state: Path, tmp_path: Path) -> None:
    assert backup(state, tmp_path / "b.zip", NOW, quiet) == sorted(FILES)
    assert restore(tmp_path / "b.zip", tmp_path / "other", replace=False, tell=quiet) is None
    assert contents(tmp_path / "other") == FILES
    assert stat.S_IMODE((tmp_path / "b.zip").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "other" / "pki" / "own" / "key.pem").stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.zip", "other", "state"]


def test_what_root_restores_belongs_to_whose_directory_it_is(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup(state, tmp_path / "b.zip", NOW, quiet)
    given: dict[str, tuple[int, int]] = {}
    other = tmp_path / "other"
    monkeypatch.setattr(module.os, "geteuid", lambda: 0)
    monkeypatch.setattr(
        module.os, "chown", lambda path, *ids, **_: given.update({path.relative_to(other).as_posix(): ids})
    )
    restore(tmp_path / "b.zip", other, replace=False, tell=quiet)
    owner = other.stat()
    assert {*FILES, "lock", "pki/own"} <= set(given)
    assert set(given.values()) == {(owner.st_uid, owner.st_gid)}


def test_a_directory_whose_parent_is_somebody_elses_is_restored(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup(state, tmp_path / "b.zip", NOW, quiet)
    asked: list[Path] = []

    def made(dir: Path, prefix: str) -> TemporaryDirectory[str]:
        asked.append(dir)
        return TemporaryDirectory(dir=dir, prefix=prefix)

    monkeypatch.setattr(module, "TemporaryDirectory", made)
    restore(tmp_path / "b.zip", tmp_path / "other", replace=False, tell=quiet)
    assert asked == [tmp_path / "other"]
    assert contents(tmp_path / "other") == FILES


def test_a_backup_is_whole_or_none(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FILES", len(FILES) - 1)
    with pytest.raises(NotBackedUp, match="5 files, more than 4"):
        backup(state, tmp_path / "b.zip", NOW, quiet)
    assert not (tmp_path / "b.zip").exists()


def test_what_an_interrupted_restore_left_is_no_state(state: Path, tmp_path: Path) -> None:
    (state / ".plantbridge-x" / "state").mkdir(parents=True)
    (state / ".plantbridge-x" / "state" / "admin.token").write_bytes(b"old")
    assert backup(state, tmp_path / "b.zip", NOW, quiet) == sorted(FILES)


def test_a_database_that_is_written_to_is_one_moment_of_it(state: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(state / "log.db", isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE event (position INTEGER PRIMARY KEY, body TEXT)")
        database.executemany("INSERT INTO event (body) VALUES (?)", [("x" * 100,)] * 5000)
        database.execute("BEGIN IMMEDIATE")
        database.execute("INSERT INTO event (body) VALUES ('not committed')")
        assert "log.db" in backup(state, tmp_path / "b.zip", NOW, quiet)
        database.execute("ROLLBACK")
    restore(tmp_path / "b.zip", tmp_path / "other", replace=False, tell=quiet)
    with closing(sqlite3.connect(tmp_path / "other" / "log.db")) as database:
        assert database.execute("SELECT count(*) FROM event").fetchone() == (5000,)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert not any("-wal" in path for path in manifest_of(tmp_path / "b.zip")["files"])


def test_a_bridge_that_runs_keeps_its_state(state: Path, tmp_path: Path) -> None:
    backup(state, tmp_path / "b.zip", NOW, quiet)
    before = contents(state)
    with StateDirectory(state).locked(), pytest.raises(StateDirectoryBusy):
        restore(tmp_path / "b.zip", state, replace=True, tell=quiet)
    assert contents(state) == before


def test_a_state_is_replaced_only_when_asked_and_put_aside(state: Path, tmp_path: Path) -> None:
    backup(state, tmp_path / "b.zip", NOW, quiet)
    (state / "inventory.json").write_bytes(b"newer")
    with pytest.raises(NotBackedUp, match="--replace"):
        restore(tmp_path / "b.zip", state, replace=False, tell=quiet)
    assert (state / "inventory.json").read_bytes() == b"newer"
    aside = restore(tmp_path / "b.zip", state, replace=True, tell=quiet)
    assert aside == tmp_path / "state.before-1"
    assert (aside / "inventory.json").read_bytes() == b"newer"
    assert contents(state) == FILES


def changed(file: Path, path: str, data: bytes) -> Path:
    """The same backup, with one entry replaced."""
    other = file.with_name("changed.zip")
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(other, "w") as new:
        for name in old.namelist():
            new.writestr(name, data if name == path else old.read(name))
    return other


def test_a_damaged_backup_changes_nothing(state: Path, tmp_path: Path) -> None:
    backup(state, tmp_path / "b.zip", NOW, quiet)
    before = contents(state)
    damaged = changed(tmp_path / "b.zip", "state/pki/trusted/a.der", bytes(256))
    with pytest.raises(NotBackedUp, match="damaged at pki/trusted/a"):
        restore(damaged, state, replace=True, tell=quiet)
    assert contents(state) == before
    (tmp_path / "no.zip").write_bytes(b"PK nothing")
    with pytest.raises(NotBackedUp, match="no backup of plantbridge"):
        restore(tmp_path / "no.zip", state, replace=True, tell=quiet)
    with pytest.raises(NotBackedUp, match="there is no file"):
        manifest_of(tmp_path / "nowhere.zip")


@pytest.mark.parametrize("key", ["version", "format"])
def test_a_backup_of_a_newer_version_is_refused(state: Path, tmp_path: Path, key: str) -> None:
    backup(state, tmp_path / "b.zip", NOW, quiet)
    manifest = {**manifest_of(tmp_path / "b.zip"), key: "99.0.0" if key == "version" else 99}
    newer = changed(tmp_path / "b.zip", MANIFEST, orjson.dumps(manifest))
    with pytest.raises(NotBackedUp, match="install that version first"):
        restore(newer, tmp_path / "other", replace=False, tell=quiet)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("path", ["../../evil", "/etc/evil", "a/../../b", ""])
def test_a_path_that_leads_out_is_refused(state: Path, tmp_path: Path, path: str) -> None:
    backup(state, tmp_path / "b.zip", NOW, quiet)
    manifest = manifest_of(tmp_path / "b.zip")
    manifest["files"][path] = {"size": 1, "sha256": ""}
    evil = changed(tmp_path / "b.zip", MANIFEST, orjson.dumps(manifest))
    with pytest.raises(NotBackedUp, match="damaged, or nobody's"):
        restore(evil, tmp_path / "other", replace=False, tell=quiet)


def test_an_interrupted_backup_leaves_nothing(state: Path, tmp_path: Path) -> None:
    def interrupt(path: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backup(state, tmp_path / "b.zip", NOW, interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_nothing_is_overwritten_and_nothing_is_made_of_nothing(state: Path, tmp_path: Path) -> None:
    (tmp_path / "b.zip").write_text("mine")
    with pytest.raises(NotBackedUp, match="there already"):
        backup(state, tmp_path / "b.zip", NOW, quiet)
    with pytest.raises(NotBackedUp, match="no state directory"):
        backup(tmp_path / "none", tmp_path / "c.zip", NOW, quiet)
    assert not os.path.exists(tmp_path / "c.zip")
