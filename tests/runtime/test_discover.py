"""Discover: machines, skeletons that compile, fields nobody maps; without a bridge and beside one."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.cli.main import main
from bridge.config.site import load_site
from bridge.mapping.shape import rules_of
from bridge.model.observation import FoundMachine, Inventory, Observation
from bridge.runtime.discover import Discovery, report
from bridge.sim.qitech.panel import Panel
from tests.broker import broker
from tests.flow.plantfloor import HEAD, running_bridge, until
from tests.flow.test_loss_and_return import EXTRUDER, LASER, is_good, site
from tests.mapping.rig import START
from tests.sites import make_site

PRESS = {"vendor": 1, "machine": 999, "serial": 7, "slug": "press_v1", "profile": "3.x"}
PAYLOAD = {"force": 12.5, "on": True, "zones": [{"t": 20}, {"t": 21}], "odd name": "x\ny", "none": None}


def observed(channel: str, payload: Any, machine: str = "1/999/7", period: float | None = None) -> Observation:
    return Observation("panel", machine, channel, payload, START, period=period)


def test_a_skeleton_is_a_mapping_that_matches_and_compiles(tmp_path: Path) -> None:
    discovery = Discovery(make_site(tmp_path), "panel")
    discovery.take(Inventory("panel", (FoundMachine("1/999/7", PRESS),)))
    discovery.take(observed("live", PAYLOAD, period=0.033))
    discovery.take(observed("state", {"force": 3, "mode": "Run"}))
    told = [*report(discovery, "panel")]
    [(name, text)] = told[-1][1].items()
    (tmp_path / "mappings").mkdir()
    (tmp_path / "mappings" / name).write_text(text)
    text = f"mappings: [mappings]\n{(tmp_path / 'bridge.yaml').read_text()}"
    (tmp_path / "bridge.yaml").write_text(text)
    found = load_site([tmp_path / "bridge.yaml"], {}).library.choose(PRESS)
    assert found is not None
    assert found.name == "qitech/press_v1"
    assert {spec.definition.name: str(spec.sources[0][1]) for spec in found.tags} == {
        "Monitoring/Force": "live.force",
        "Monitoring/On": "live.on",
        "Monitoring/Zones/0/T": "live.zones[0].t",
        "Monitoring/Zones/1/T": "live.zones[1].t",
        "Monitoring/OddName": "live['odd name']",
        "Monitoring/Force2": "state.force",
        "Monitoring/Mode": "state.mode",
    }


def test_machine_lines_are_what_a_configuration_takes(tmp_path: Path) -> None:
    discovery = Discovery(make_site(tmp_path), "panel")
    mock = FoundMachine("1/7/1", {"slug": "mock", "serial": 1})
    discovery.take(Inventory("panel", (FoundMachine("1/999/7", PRESS), mock)))
    lines = [*discovery.machine_lines()]
    assert (
        lines[0] == "  - {id: mock-1, source: panel, machine: {slug: mock, serial: 1}}   # qitech/mock, named already"
    )
    parsed = yaml.safe_load("machines:\n" + "\n".join(lines))["machines"]
    assert parsed[1] == {"id": "panel-press_v1-7", "source": "panel", "machine": {"slug": "press_v1", "serial": 7}}


def test_words_of_a_vendor_stay_words_in_yaml(tmp_path: Path) -> None:
    discovery = Discovery(make_site(tmp_path), "panel")
    slugs = ["on", "null", 'a "b"', "c\\d", "e\nf: {g", "007", "1e3", "# h"]
    found = tuple(
        FoundMachine(f"1/999/{number}\n", {"slug": slug, "serial": number}) for number, slug in enumerate(slugs)
    )
    discovery.take(Inventory("panel", found))
    text = "\n".join(line for line, _ in report(discovery, "panel"))
    assert [one["machine"]["slug"] for one in yaml.safe_load(text)["machines"]] == slugs


def test_a_field_of_any_name_is_a_rule_in_yaml() -> None:
    [line] = rules_of("live", {('a "b" \\ ü\n', 0): "Double"})
    assert yaml.safe_load(line) == {"Monitoring/AB/0": {"from": "live['a \"b\" \\ ü\n'][0]", "type": "Double"}}


def test_fields_that_a_mapping_does_not_take_are_told(tmp_path: Path) -> None:
    discovery = Discovery(make_site(tmp_path), "panel")
    live = {"amplitude_sum": 1.0, "amplitude1": 0.1, "amplitude2": 0.2, "amplitude3": 0.3, "phase": 0.5}
    discovery.take(observed("live_values", live, "1/7/1"))
    [told] = discovery.told()
    assert told["mapping"] == "qitech/mock"
    assert told["unmapped"] == [{"path": "live_values.phase", "type": "Double"}]


def test_a_row_that_a_mapping_chooses_is_no_unmapped_one(tmp_path: Path) -> None:
    (tmp_path / "press.yaml").write_text(
        "version: 1\nmapping: qitech/press\nmatch: {slug: press_v1}\n"
        "tags:\n  Monitoring/T: {from: 'live.zones[no=2].t', type: Double}\n"
        "  Monitoring/U: {from: 'live.zones[no=9].t', type: Double}\n"
    )
    make_site(tmp_path)
    text = f"mappings: [press.yaml]\n{(tmp_path / 'bridge.yaml').read_text()}"
    discovery = Discovery(make_site(tmp_path, text), "panel")
    discovery.take(Inventory("panel", (FoundMachine("1/999/7", PRESS),)))
    discovery.take(observed("live", {"zones": [{"no": 1, "t": 20}, {"no": 2, "t": 21}]}))
    [told] = discovery.told()
    assert told["mapping"] == "qitech/press"
    unmapped = ["live.zones[0].no", "live.zones[0].t", "live.zones[1].no"]
    assert [one["path"] for one in told["unmapped"]] == unmapped


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["discover", *map(str, arguments)])
    return int(caught.value.code or 0)


async def test_a_panel_is_discovered_without_a_bridge_and_beside_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with broker() as mqtt, Panel([EXTRUDER, LASER], release="3.0") as panel:
        port = int(panel.url.rpartition(":")[2])
        make_site(tmp_path, HEAD + site(port))
        arguments = ("panel-1", tmp_path / "bridge.yaml", "--for", "2", "--json")
        assert await asyncio.to_thread(run, *arguments) == 0
        alone = {told["key"]: told for told in json.loads(capsys.readouterr().out)}
        assert {told["mapping"] for told in alone.values()} == {"qitech/extruder", "qitech/laser"}
        assert not (tmp_path / "state").exists()
        async with running_bridge(tmp_path, site(port), mqtt) as floor:
            await until(lambda: is_good(floor, "extruder-1.Monitoring.Temperature.Front"))
            assert await asyncio.to_thread(run, *arguments) == 0
            beside = {told["key"]: told for told in json.loads(capsys.readouterr().out)}
        assert beside == alone
        assert await asyncio.to_thread(run, "panl-1", tmp_path / "bridge.yaml") == 1
        assert 'did you mean "panel-1"' in capsys.readouterr().err
