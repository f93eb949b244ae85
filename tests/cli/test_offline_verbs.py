from __future__ import annotations

import json
from pathlib import Path

import pytest

from bridge.cli.main import main
from bridge.runtime.inventory import InventoryStore

SITE = """\
version: 1
bridge: {name: press-shop, enterprise: acme, site: essen}
sources:
  panel: {type: qitech, url: "http://127.0.0.1:3001"}
machines:
  - {id: mock-1, area: extrusion, source: panel, machine: {slug: mock, serial: 5}}
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    path = tmp_path / "bridge.yaml"
    path.write_text(SITE)
    return path


class Told:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(list(map(str, arguments)))
        return (int(caught.value.code or 0), *self._capsys.readouterr())


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    return Told(capsys)


def test_good_site_is_ok_with_counts(site: Path, told: Told) -> None:
    code, out, err = told("check", site)
    assert (code, err) == (0, "")
    words = out.split()
    assert [words[0], words[1], words[2], words[4], words[6]] == ["ok:", "1", "machine,", "tags,", "examples"]
    assert int(words[3]) > 5
    assert int(words[5]) >= 1


def test_shipped_mappings_are_ok(told: Told) -> None:
    code, out, _ = told("check", Path(__file__).parents[2] / "mappings")
    assert (code, out.split()[2]) == (0, "examples")


def test_every_fault_of_every_path_is_one_line_and_exit_2(site: Path, told: Told, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(SITE.replace("slug: mock", "slgu: mock").replace("enterprise: acme", "entreprise: acme"))
    site.write_text(SITE.replace("type: qitech", "type: qitec"))
    code, out, err = told("check", site, other, tmp_path / "missing.yaml")
    lines = err.splitlines()
    assert (code, out) == (2, "")
    (kind,) = [
        line for line in lines if line.startswith(f'{site}:4:17: sources.panel.type: is "qitec"; expected one of')
    ]
    assert kind.endswith('; did you mean "qitech"?')
    assert f'{other}:2:28: bridge.entreprise: unknown key; did you mean "enterprise"?' in lines
    assert any(line.startswith(f"{tmp_path / 'missing.yaml'}: cannot be read") for line in lines)


def test_faulty_example_of_a_mapping_is_a_fault(told: Told, tmp_path: Path) -> None:
    shipped = Path(__file__).parents[2] / "mappings" / "qitech" / "mock.yaml"
    mapping = tmp_path / "mock.yaml"
    mapping.write_text(
        shipped.read_text().replace("examples:", "examples:\n  - {write: {No/Such: 1}, expect_send: {}}", 1)
    )
    code, _, err = told("check", mapping)
    assert (code, f"{mapping}:" in err, "examples[0]" in err) == (2, True, True)


def test_tags_as_json_say_where_each_tag_is(site: Path, told: Told) -> None:
    code, out, _ = told("tags", site, "--json", "--only", "mock-1.Monitoring.AmplitudeSum")
    [tag] = json.loads(out)
    assert code == 0
    assert set(tag) == {"tag", "type", "unit", "range", "access", "node_id", "sparkplug", "uns"}
    assert (tag["tag"], tag["type"], tag["access"]) == ("mock-1.Monitoring.AmplitudeSum", "Double", "read")
    assert tag["node_id"] == "ns=2;s=mock-1.Monitoring.AmplitudeSum"
    assert "mock-1" in tag["sparkplug"]
    assert tag["uns"] == "acme/essen/extrusion/mock-1/Monitoring/AmplitudeSum"


def test_tags_are_one_line_each_whatever_the_width(site: Path, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    _, out, _ = told("tags", site)
    _, text, _ = told("tags", site, "--json")
    assert [line.split()[0] for line in out.splitlines()] == ["Tag", *(tag["tag"] for tag in json.loads(text))]


def test_no_matching_tag_is_said_so(site: Path, told: Told) -> None:
    code, out, err = told("tags", site, "--only", "nothing*", "--json")
    assert (code, json.loads(out), "no tag matches" in err) == (0, [], True)


def test_machines_found_in_earlier_runs_are_listed(site: Path, told: Told, tmp_path: Path) -> None:
    identity = {"vendor": 1, "machine": 7, "serial": 9, "slug": "mock"}
    entry = {"source": "panel", "key": "1/7/9", "id": "panel-mock-9", "identity": identity}
    (tmp_path / "state").mkdir()
    known = {"version": 1, "machines": [{**entry, "first_seen": "2026-01-01T00:00:00+00:00"}]}
    (tmp_path / "state" / "inventory.json").write_text(json.dumps(known))
    store = InventoryStore(tmp_path / "state" / "inventory.json", 10)
    store.load()
    assert len(list(store)) == 1
    _, out, _ = told("tags", site, "--json", "--only", "panel-mock-9.*")
    assert json.loads(out)


def test_tags_of_a_faulty_site_are_its_faults(site: Path, told: Told) -> None:
    site.write_text(SITE.replace("version: 1", "version: 2"))
    code, _, err = told("tags", site)
    assert (code, err) == (2, f"{site}:1:10: version: is 2; expected 1\n")


@pytest.mark.parametrize("kind", ["bridge", "mapping"])
def test_schema_of_each_kind_is_printed(told: Told, kind: str) -> None:
    code, out, _ = told("schema", kind)
    schema = json.loads(out)
    assert (code, schema["$schema"]) == (0, "https://json-schema.org/draft/2020-12/schema")
    assert schema["additionalProperties"] is False
    both = json.loads(told("schema")[1])
    assert both[kind] == schema


def test_schemas_are_written_as_they_are_printed(told: Told, tmp_path: Path) -> None:
    code, out, _ = told("schema", "--write", tmp_path)
    assert (code, len(out.splitlines())) == (0, 2)
    assert (tmp_path / "mapping.schema.json").read_text() == told("schema", "mapping")[1]


def test_check_prints_a_warning_and_is_content(site: Path, told: Told) -> None:
    broker = "northbound: {uns: {enabled: true, broker: {host: broker.plant, username: me, password: tr0ub4dor}}}\n"
    site.write_text(SITE + broker)
    code, out, err = told("check", site)
    assert code == 0
    assert out.startswith("ok: ")
    assert err.startswith(f"warning: {site}:")
    assert "unencrypted" in err
    assert "tr0ub4dor" not in err


MILL = """
version: 1
bridge: {name: bridge-1, enterprise: acme, site: essen, state_directory: state}
sources:
  tmm:
    type: trackmymachines
    events_url: "http://127.0.0.1:3003"
    step_events_url: "http://127.0.0.1:3003"
    api_key: k
    writes: true
    allow: {part: P1}
    user_email: a@b.example
machines:
  - {id: mill-1, area: a, source: tmm, machine: {foreign_id: M1, display_name: Machine 1, number: 6}}
northbound: {uns: {commands: {enabled: true}}}
"""


def test_commands_are_listed_with_what_they_take_and_where_they_are(site: Path, told: Told) -> None:
    site.write_text(MILL)
    code, out, _ = told("tags", site, "--commands", "--json", "--only", "mill-1.Commands.StartStep")
    [start] = json.loads(out)
    assert code == 0
    assert (start["command"], start["node_id"]) == ("mill-1.Commands.StartStep", "ns=2;s=mill-1.Commands.StartStep")
    assert start["method"] == "ns=2;s=mill-1.Commands.StartStepCall"
    assert (start["uns"], start["sparkplug"]) == ("acme/essen/a/mill-1/cmd/StartStep", None)
    takes = {one["name"]: one for one in start["arguments"]}
    assert (takes["PartUniqueIdentifier"]["required"], takes["PartUniqueIdentifier"]["default"]) == (True, None)
    assert (takes["RecipeVersion"]["required"], takes["RecipeVersion"]["default"]) == (False, "1")
    assert (takes["QtyExpected"]["type"], takes["QtyExpected"]["range"]) == ("Double", [-1, 999999999])
    assert takes["Start"]["default"] == "now"
    _, out, _ = told("tags", site, "--commands")
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == ["Command", "mill-1.Commands.StartStep", "mill-1.Commands.FinishStep"]
    assert "PartUniqueIdentifier: String, RecipeVersion: String = 1, " in lines[1]


def test_a_site_without_commands_says_what_they_need(site: Path, told: Told) -> None:
    code, out, err = told("tags", site, "--commands", "--json")
    assert (code, json.loads(out), "writes: true" in err) == (0, [], True)


def test_faults_that_hide_others_say_so(site: Path, told: Told) -> None:
    site.write_text(SITE.replace("source: panel", "source: pannel").replace("type: qitech", "type: qitec"))
    _, _, err = told("check", site)
    assert ("qitec" in err, "more may be found" in err) == (True, True)
    site.write_text(SITE)
    _, _, err = told("check", site)
    assert "more may be found" not in err
