"""`plantbridge plan`: against files, against a running bridge, and what the bridge then really does."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from bridge.cli.main import main
from tests.broker import broker
from tests.flow.plantfloor import MqttView, running_bridge, until

HEAD = """
version: 1
bridge: {name: bridge-1, enterprise: acme, site: essen, state_directory: state}
"""
SOURCES = (
    'sources:\n  panel: {type: qitech, url: "http://127.0.0.1:1", profile: 3.x, password: hunter2-secret}\nmachines:\n'
)
MOCK = "  - {id: mock-1, area: lab, source: panel, machine: {slug: mock, serial: 1}}\n"
LASER = "  - {id: laser-1, area: lab, source: panel, machine: {slug: laser_v1, serial: 2}}\n"
CHANGED = (
    "  - {id: mock-1, area: lab, source: panel, machine: {slug: mock, serial: 1},"
    " tags: {Monitoring/AmplitudeSum: {range: [0, 7]}}}\n"
)


class Planned:
    def __init__(self, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        self._capsys = capsys
        self._folder = folder

    def file(self, name: str, text: str) -> Path:
        path = self._folder / name
        path.write_text(HEAD + text)
        return path

    async def __call__(self, *arguments: object) -> tuple[int, str]:
        def run() -> int:
            with pytest.raises(SystemExit) as caught:
                main(["plan", *map(str, arguments)])
            return int(caught.value.code or 0)

        code = await asyncio.to_thread(run)
        out, err = self._capsys.readouterr()
        assert "hunter2" not in out + err
        return code, out or err

    async def json(self, *arguments: object) -> dict[str, Any]:
        code, out = await self(*arguments, "--json")
        assert code == 0
        told: dict[str, Any] = json.loads(out)
        return told


@pytest.fixture
def planned(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Planned:
    return Planned(capsys, tmp_path)


def face(plan: dict[str, Any], name: str) -> dict[str, Any]:
    [found] = [face for face in plan["faces"] if face["name"] == name]
    told: dict[str, Any] = found
    return told


async def test_the_same_files_change_nothing(planned: Planned) -> None:
    file = planned.file("a.yaml", SOURCES + MOCK)
    assert await planned(file, "--against", file) == (0, "Nothing changes.\n")


async def test_a_machine_that_goes_leaves_stale_metrics_and_one_that_comes_is_born(planned: Planned) -> None:
    old, new = planned.file("old.yaml", SOURCES + MOCK), planned.file("new.yaml", SOURCES + LASER)
    told = await planned.json(new, "--against", old)
    assert {machine["id"]: machine["fate"] for machine in told["machines"]} == {"mock-1": "removed", "laser-1": "added"}
    sparkplug = face(told, "sparkplug")
    assert "DBIRTH anew: laser-1" in sparkplug["consequences"]
    assert "DDEATH: mock-1" in sparkplug["consequences"]
    assert any(f"hosts keep {len(sparkplug['removed'])} metrics" in said for said in sparkplug["consequences"])
    assert "ns=2;s=mock-1.Monitoring.AmplitudeSum" in face(told, "opcua")["removed"]
    assert "acme/essen/lab/laser-1/Monitoring/Diameter" in face(told, "uns")["added"]
    code, out = await planned(new, "--against", old)
    assert (code, "- machine  mock-1" in out, "+ machine  laser-1" in out) == (0, True, True)


async def test_a_range_is_a_birth_and_no_address(planned: Planned) -> None:
    old, new = planned.file("old.yaml", SOURCES + MOCK), planned.file("new.yaml", SOURCES + CHANGED)
    told = await planned.json(new, "--against", old)
    [machine] = told["machines"]
    assert [(one["id"], one["what"], one["after"]) for one in machine["changed"]] == [
        ("mock-1.Monitoring.AmplitudeSum", "range", [0.0, 7.0])
    ]
    assert face(told, "sparkplug")["consequences"] == ["DBIRTH anew: mock-1"]
    assert face(told, "uns")["removed"] == []


async def test_another_machine_behind_the_same_tags_is_told(planned: Planned) -> None:
    old = planned.file("old.yaml", SOURCES + MOCK)
    new = planned.file("new.yaml", SOURCES + MOCK.replace("serial: 1}", "serial: 9}, label: Mock 9"))
    told = await planned.json(new, "--against", old)
    [machine] = told["machines"]
    assert {(one["key"], one["after"]) for one in machine["behind"]} >= {("label", "Mock 9")}
    assert any(one["key"].endswith(".machine") and "9" in one["after"] for one in machine["behind"])
    assert (face(told, "sparkplug")["consequences"], face(told, "uns")["consequences"]) == ([], [])
    _, out = await planned(new, "--against", old)
    assert "Mock 9" in out


async def test_a_rule_that_makes_another_value_is_told(planned: Planned, tmp_path: Path) -> None:
    text = (
        "version: 1\nmapping: acme/mock\nchannels: {{live_values: {{periodic: 1s}}}}\n"
        "tags:\n  Monitoring/X: {{from: live_values.x, type: Double, scale: {}}}\n"
    )
    for name, scale in (("old", 1.5), ("new", 10)):
        folder = tmp_path / name
        (folder / "mappings").mkdir(parents=True)
        (folder / "mappings" / "mock.yaml").write_text(text.format(scale))
        machine = MOCK.replace("serial: 1}", "serial: 1}, mapping: acme/mock")
        (folder / "bridge.yaml").write_text(HEAD + "mappings: [mappings]\n" + SOURCES + machine)
    files = tmp_path / "new" / "bridge.yaml", "--against", tmp_path / "old" / "bridge.yaml"
    told = await planned.json(*files)
    assert told["rules"] == [{"key": "acme/mock: tags.Monitoring/X.scale", "before": 1.5, "after": 10.0}]
    assert told["machines"] == []
    assert "rule       acme/mock: tags.Monitoring/X.scale: 1.5 → 10.0" in (await planned(*files))[1]


async def test_a_machine_that_moves_has_other_topics_and_the_same_nodes(planned: Planned) -> None:
    old = planned.file("old.yaml", SOURCES + MOCK)
    new = planned.file("new.yaml", SOURCES + MOCK.replace("area: lab", "area: hall"))
    told = await planned.json(new, "--against", old)
    assert told["machines"][0]["moved"] == ["acme/essen/lab", "acme/essen/hall"]
    uns = face(told, "uns")
    assert ["acme/essen/lab/mock-1/Monitoring/AmplitudeSum", "acme/essen/hall/mock-1/Monitoring/AmplitudeSum"] in uns[
        "renamed"
    ]
    assert (face(told, "opcua")["renamed"], face(told, "sparkplug")["renamed"]) == ([], [])


async def test_another_data_type_is_refused(planned: Planned, tmp_path: Path) -> None:
    mapping = "version: 1\nmapping: acme/mock\nchannels: {{live_values: {{periodic: 1s}}}}\ntags:\n  Monitoring/X: {}\n"
    for name, rule in (("old", "{from: live_values.x, type: Double}"), ("new", "{from: live_values.x, type: String}")):
        folder = tmp_path / name
        (folder / "mappings").mkdir(parents=True)
        (folder / "mappings" / "mock.yaml").write_text(mapping.format(rule))
        machine = MOCK.replace("serial: 1}", "serial: 1}, mapping: acme/mock")
        (folder / "bridge.yaml").write_text(HEAD + "mappings: [mappings]\n" + SOURCES + machine)
    code, out = await planned(tmp_path / "new" / "bridge.yaml", "--against", tmp_path / "old" / "bridge.yaml")
    assert (code, "mock-1.Monitoring.X would change from Double to String: give it a new name" in out) == (1, True)


async def test_a_new_name_of_the_bridge_and_other_limits_say_what_follows(planned: Planned) -> None:
    old = planned.file("old.yaml", SOURCES + MOCK)
    new = planned.file("new.yaml", SOURCES + MOCK + "limits: {tags: 5000}\n")
    new.write_text(new.read_text().replace("name: bridge-1", "name: bridge-2"))
    told = await planned.json(new, "--against", old)
    assert told["needs_restart"] == ["limits.tags"]
    assert "every device is born again" in face(told, "sparkplug")["consequences"][0]
    assert face(told, "opcua")["renamed"] == []


async def test_what_is_planned_against_a_running_bridge_is_what_it_does(planned: Planned, tmp_path: Path) -> None:
    async with (
        broker() as mqtt,
        MqttView(mqtt) as view,
        running_bridge(tmp_path, SOURCES + MOCK, mqtt, reloadable=True) as floor,
    ):
        running = (tmp_path / "bridge.yaml").read_text()
        changed = tmp_path / "changed.yaml"
        changed.write_text(running.replace(MOCK, LASER))
        state = ("--state-dir", tmp_path / "state")
        assert await planned(tmp_path / "bridge.yaml", *state) == (0, "Nothing changes.\n")
        told = await planned.json(changed, *state)
        topics = face(told, "uns")
        await until(lambda: set(topics["removed"]) <= {topic for topic, payload in view.uns.items() if payload})
        (tmp_path / "bridge.yaml").write_text(changed.read_text())
        assert await floor.bridge.reload() == []
        await until(lambda: not any(view.uns.get(topic) for topic in topics["removed"]))
        await until(lambda: all(view.uns.get(topic) for topic in topics["added"]))
        assert await planned(changed, *state) == (0, "Nothing changes.\n")
        limited = tmp_path / "limited.yaml"
        limited.write_text(changed.read_text() + "limits: {tags: 5000}\n")
        code, out = await planned(limited, *state)  # as the bridge itself says of it
        assert (code, "restart    needed for limits.tags" in out) == (1, True)
        (tmp_path / "bridge.yaml").write_text(limited.read_text())
        assert "limits cannot change" in (await floor.bridge.reload())[0]
