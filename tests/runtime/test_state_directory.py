"""The state directory: owned by one bridge, readable by its user only, and clear about what is wrong with it."""

from __future__ import annotations

import resource
import stat
from pathlib import Path

import pytest

from bridge.errors import StateDirectoryBusy, StateDirectoryUnusable
from bridge.runtime.state_directory import StateDirectory, write_atomically


def test_a_second_owner_is_told_to_choose_another(tmp_path: Path) -> None:
    with (
        StateDirectory(tmp_path / "state").locked(),
        pytest.raises(StateDirectoryBusy, match="its own state directory"),
        StateDirectory(tmp_path / "state").locked(),
    ):
        pass


def test_a_folder_that_cannot_be_made_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(StateDirectoryUnusable, match=r"file/state cannot be written.*--state-dir"),
        StateDirectory(tmp_path / "file" / "state").locked(),
    ):
        pass


def test_a_disk_that_fills_up_half_way_leaves_the_file_before(tmp_path: Path) -> None:
    file, limits = tmp_path / "inventory.json", resource.getrlimit(resource.RLIMIT_FSIZE)
    write_atomically(file, b"whole")
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))  # the first 4096 bytes are taken, as by a full disk
    try:
        with pytest.raises(OSError, match="large"):
            write_atomically(file, b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert file.read_bytes() == b"whole"


def test_the_token_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    token = state.admin_token().get_secret_value()
    assert len(token) >= 32
    assert state.admin_token().get_secret_value() == token
    assert stat.S_IMODE((tmp_path / "admin.token").stat().st_mode) == 0o600
