"""A site whose sources are played by simulators."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.sim.qitech.panel import DEFAULT_MACHINES
from bridge.sim.site import NoSimulator, machines_of
from tests.sites import BASE, make_site


def test_the_named_machines_are_played(tmp_path: Path) -> None:
    assert [(m.slug, m.serial) for m in machines_of(make_site(tmp_path), "panel", "3.0")] == [("mock", 1)]


def test_a_source_of_which_no_machine_is_named_plays_a_line(tmp_path: Path) -> None:
    assert machines_of(make_site(tmp_path), "nobody", "3.0") == list(DEFAULT_MACHINES)


def test_a_machine_type_that_no_simulator_knows_is_told_by_id(tmp_path: Path) -> None:
    own = BASE.replace("machine: {slug: mock, serial: 1}", "machine: {machine: 4711, serial: 1}, mapping: qitech/mock")
    with pytest.raises(NoSimulator, match="mock-1 cannot be simulated: no simulator plays machine type 4711"):
        machines_of(make_site(tmp_path, own), "panel", "3.0")
