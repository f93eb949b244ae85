"""What one machine may change of its mapping's rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.errors import ConfigError
from tests.sites import BASE, make_site


def faults(folder: Path, tags: str) -> str:
    text = BASE.replace("machine: {slug: mock, serial: 1}", f"machine: {{slug: mock, serial: 1}}, tags: {tags}")
    with pytest.raises(ConfigError) as raised:
        make_site(folder, text)
    return str(raised.value)


@pytest.mark.parametrize(
    ("tags", "problem"),
    [
        ("{Setpoints/Frequency1: {range: [35, 0]}}", "the low end is not below the high end"),
        ("{Setpoints/Frequency1: {range: [0, 99999]}}", "is wider than what the mapping allows"),
        ("{Setpoints/Frequency1: {range: [-1, 5]}}", "expected a range within [0, 10000]"),
        ("{Setpoints/Frequenzy1: {range: [0, 5]}}", "did you mean"),
        ("{Setpoints/Frequency1: {rnage: [0, 5]}}", "rnage"),
    ],
)
def test_a_wrong_override_is_told_where_it_stands(tmp_path: Path, tags: str, problem: str) -> None:
    told = faults(tmp_path, tags)
    assert problem in told
    assert f"{tmp_path / 'bridge.yaml'}:8:" in told


def test_a_narrower_range_is_taken(tmp_path: Path) -> None:
    text = BASE.replace(
        "machine: {slug: mock, serial: 1}",
        "machine: {slug: mock, serial: 1}, tags: {Setpoints/Frequency1: {range: [10, 35]}}",
    )
    site = make_site(tmp_path, text)
    mapping = site.mapping(site.machines[0], site.machines[0].parts[0])
    assert mapping is not None
    chosen = {spec.definition.name: spec.definition.eu_range for spec in mapping.tags}
    assert chosen["Setpoints/Frequency1"] == (10.0, 35.0)
    assert chosen["Setpoints/Frequency2"] == (0.0, 10000.0)
