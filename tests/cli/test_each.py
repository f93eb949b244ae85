"""Tags that appear with the data: what `check`, `tags` and `docs` say of them, from files alone."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from bridge.cli.main import main
from bridge.model.known_tag import KnownTag
from bridge.model.value import DataType
from bridge.runtime.inventory import InventoryStore

SITE = """
version: 1
bridge: {name: b, enterprise: acme, site: essen, state_directory: state}
sources: {panel: {type: qitech, url: "http://127.0.0.1:1", profile: 3.x}}
machines: [{id: agent-1, source: panel, machine: {slug: mock, serial: 1}, mapping: test/agent}]
mappings: [agent.yaml]
"""
MAPPING = """
version: 1
mapping: test/agent
each:
  readings:
    in: readings
    key: [device, metric]
    tag: {"Monitoring/<device>/<metric>": {from: value}}
examples:
  - given: {channel: readings, payload: [{device: press, metric: temp, value: 21.5}]}
    expect: {Monitoring/press/temp: 21.5}
"""


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(list(map(str, arguments)))
    return (int(caught.value.code or 0), *capsys.readouterr())


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "agent.yaml").write_text(MAPPING)
    (tmp_path / "bridge.yaml").write_text(SITE)
    (tmp_path / "state").mkdir()
    inventory = InventoryStore(tmp_path / "state" / "inventory.json", 10)
    tags = [KnownTag("readings", ("p", "t"), ("Press", "Temp"), DataType.Double, "°C")]
    inventory.learn("panel", "1/7/1", tags)
    inventory.save()
    return tmp_path / "bridge.yaml"


def test_tags_shows_what_was_found_and_what_may_appear(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = told(capsys, "tags", site, "--only", "*.readings.*", "--json")
    found, rule = json.loads(out)
    assert code == 0
    assert (found["tag"], found["type"], found["unit"]) == ("agent-1.readings.p.t", "Double", "°C")
    assert found["uns"] == "acme/essen/agent-1/Monitoring/Press/Temp"
    assert (rule["tag"], rule["type"]) == ("agent-1.readings.<device>.<metric>", None)
    assert rule["uns"] == "acme/essen/agent-1/Monitoring/<device>/<metric>"


def test_docs_have_what_was_found(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = told(capsys, "docs", "tags", site)
    rows = {row["Tag"]: row for row in csv.DictReader(io.StringIO(out))}
    assert rows["agent-1.readings.p.t"]["UNECE"] == "CEL"
    code, out, _ = told(capsys, "docs", "nodeset", site)
    assert code == 0 and "agent-1.readings.p.t" in out


def test_check_runs_examples_and_says_where_a_fault_is(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    agent = site.parent / "agent.yaml"
    assert told(capsys, "check", agent)[:2] == (0, "ok: 1 example\n")
    agent.write_text(MAPPING.replace("temp: 21.5}", "temp: 22}"))
    assert f"{agent}:11:14: examples[0].expect.Monitoring/press/temp: is 21.5" in told(capsys, "check", agent)[2]
    agent.write_text(MAPPING.replace("[device, metric]", "[metric]").replace("in: readings", "in: readings["))
    lines = told(capsys, "check", agent)[2].splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"{agent}:6:5", f"{agent}:8:11"]
