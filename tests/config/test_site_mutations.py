"""A thousand bad sites and a thousand bad mappings: faults, never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.config.check import check_paths
from bridge.config.documents import parse_document
from bridge.config.library import MappingLibrary, shipped_folder
from bridge.config.site import load_site
from bridge.errors import ConfigError

from .mutations import assert_refused_without_traceback

SITE = """\
version: 1
bridge:
  name: bridge-1
  enterprise: acme
  site: essen
  time_zone: Europe/Berlin
  state_directory: ${STATE:-state}
sources:
  panel:
    type: qitech
    url: https://panel.example
    poll_period: 500ms
    profile: 2.x
  other: {type: qitech, url: "http://127.0.0.1:3001"}
machines:
  - id: mock-1
    label: The mock
    area: extrusion
    line: line-1
    source: panel
    machine: {slug: mock, serial: 5}
    tags:
      Monitoring/AmplitudeSum: {range: [0, 35]}
  - id: mock-2
    parts:
      values: {source: other, machine: {slug: mock, serial: 6}}
    primary: values
    alive: any
discovery: adopt
northbound:
  uns: {enabled: true}
  status: {port: 8081}
broker: {enabled: true, port: 1884}
limits: {tags: 1000}
"""


MAPPING = """\
version: 1
mapping: qitech/mock
match: {vendor: 1, machine: 7}
channels: {state: {periodic: 33ms}}
tags:
  Monitoring/AmplitudeSum: {from: state.amplitude_sum, type: Double, unit: V, range: [0, 10]}
"""


@pytest.fixture
def small_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One small mapping is shipped: every one of a thousand loads reads all of them anew."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    (folder / "mock.yaml").write_text(MAPPING)
    monkeypatch.setattr("bridge.config.library.shipped_folder", lambda name: folder)
    monkeypatch.setattr("bridge.config.check.shipped_folder", lambda name: folder)


@pytest.mark.usefixtures("small_library")
def test_thousand_bad_sites_never_give_a_traceback(tmp_path: Path) -> None:
    path = tmp_path / "bridge.yaml"

    def load(text: str) -> object:
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        return load_site([path], {})

    load(SITE)
    assert assert_refused_without_traceback(load, SITE, 1000) > 600


def test_thousand_bad_mappings_never_give_a_traceback() -> None:
    good = (shipped_folder("mappings") / "qitech" / "mock.yaml").read_text()

    def load(text: str) -> None:
        library = MappingLibrary()
        library.add_document(parse_document(text, "mapping.yaml"))
        library.resolve()
        if library.faults:
            raise ConfigError(library.faults)

    load(good)
    assert assert_refused_without_traceback(load, good, 1000) > 600


@pytest.mark.usefixtures("small_library")
def test_check_collects_what_loading_would_raise(tmp_path: Path) -> None:
    path = tmp_path / "bridge.yaml"

    def check(text: str) -> None:
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        faults = check_paths([path], {}).faults
        if faults:
            raise ConfigError(faults)

    assert assert_refused_without_traceback(check, SITE, 100, seed=2) > 60
