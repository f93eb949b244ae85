"""`plantbridge docs plc` from files: what it prints, and what it says when it cannot."""

import csv
import io
import json
import threading
from pathlib import Path
from typing import ClassVar

import pytest

from bridge.cli.main import main
from bridge.model.tag import Tag
from bridge.runtime.documents import _safe, document
from tests.one_of_everything import filled_table

SITE = """\
version: 1
bridge: {name: press-shop, enterprise: acme, site: essen, state_directory: state}
sources:
  panel: {type: qitech, url: "http://127.0.0.1:3001", writes: true}
machines:
  - {id: extruder-1, area: extrusion, source: panel, machine: {slug: extruder_v1, serial: 5}}
northbound: {opcua: {host: 127.0.0.1, port: 4855}}
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
            first = () if arguments[0] in ("nodeset", "tags", "ignition", "flow", "asyncapi") else ("plc",)
            main(["docs", *first, *map(str, arguments)])
        return (int(caught.value.code or 0), *self._capsys.readouterr())


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    return Told(capsys)


@pytest.mark.parametrize("dialect", ["scl", "st"])
def test_files_alone_are_enough_and_say_the_same_twice(site: Path, told: Told, dialect: str) -> None:
    code, out, err = told("extruder-1", "--dialect", dialect, site)
    assert (code, err) == (0, "")
    for words in (
        "opc.tcp://localhost:4855/",
        "urn:plantbridge:press-shop:instances",
        "PB_Handshake",
        "qitech/extruder",
    ):
        assert words in out
    assert told("extruder-1", "--dialect", dialect, site) == (0, out, "")


def test_output_goes_to_a_file(site: Path, told: Told, tmp_path: Path) -> None:
    path = tmp_path / "extruder-1.st"
    code, out, err = told("extruder-1", "--dialect", "st", site, "--output", path)
    assert (code, out) == (0, "")
    assert err == f"{path}: {len(path.read_text().splitlines())} lines\n"
    assert path.read_text() == told("extruder-1", "--dialect", "st", site)[1]


def test_output_that_cannot_be_written_is_said(site: Path, told: Told, tmp_path: Path) -> None:
    code, _, err = told("extruder-1", "--dialect", "st", site, "--output", tmp_path / "no" / "file.st")
    assert (code, "cannot be written: No such file" in err) == (1, True)


def test_one_command_can_be_chosen(site: Path, told: Told) -> None:
    out = told("extruder-1", "--dialect", "st", "--command", "Standby", site)[1]
    assert "PB_extruder_1_Standby_Order" in out
    assert "SetPid_Front_Order" not in out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["extruder-2", "--dialect", "st"], 1, 'there is no machine "extruder-2"; did you mean "extruder-1"?'),
        (["extruder-1", "--dialect", "st", "--command", "Standbye"], 1, 'did you mean "Standby"?'),
        (["extruder-1", "--dialect", "ladder"], 2, "'ladder' is not one of 'scl', 'st'"),
        (["extruder-1"], 2, "Missing option '--dialect'"),
    ],
)
def test_what_is_not_there_is_named(site: Path, told: Told, arguments: list[str], code: int, words: str) -> None:
    exit_code, out, err = told(*arguments, site)
    assert (exit_code, out) == (code, "")
    assert words in err


def test_without_files_and_without_a_bridge_it_says_what_to_give(told: Told) -> None:
    code, _, err = told("extruder-1", "--dialect", "st")
    assert (code, "--state-dir" in err) == (2, True)


def test_a_site_without_an_opcua_server_has_nothing_to_declare(site: Path, told: Told) -> None:
    site.write_text(SITE.replace("opcua: {", "opcua: {enabled: false, "))
    code, _, err = told("extruder-1", "--dialect", "st", site)
    assert (code, "no OPC UA server" in err) == (1, True)


def test_tags_are_rows_with_every_address(site: Path, told: Told) -> None:
    code, out, err = told("tags", site)
    assert (code, err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(out)))
    [pressure] = [row for row in rows if row["Tag"] == "extruder-1.Monitoring.Pressure"]
    assert (pressure["Type"], pressure["Unit"], pressure["UNECE"], pressure["Access"]) == (
        "Double",
        "bar",
        "BAR",
        "read",
    )
    assert pressure["opcua"] == "ns=2;s=extruder-1.Monitoring.Pressure"
    [mode] = [row for row in rows if row["Tag"] == "extruder-1.Setpoints.Mode"]
    assert (mode["Enumeration"], mode["Access"]) == ("0 Standby, 1 Heat, 2 Extrude", "write")


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@a", "\tx"])
def test_a_cell_is_never_a_formula(cell: str) -> None:
    assert _safe(cell) == f"'{cell}"


def test_ignition_gets_folders_and_item_paths(site: Path, told: Told) -> None:
    code, out, err = told("ignition", site, "--connection", "Line1")
    assert (code, err) == (0, "")
    root = json.loads(out)
    assert (root["name"], root["tagType"]) == ("press-shop", "Folder")
    here = root
    for level in ("extruder-1", "Monitoring", "Pressure"):
        [here] = [one for one in here["tags"] if one["name"] == level]
    assert here["opcItemPath"] == "ns=2;s=extruder-1.Monitoring.Pressure"
    assert (here["opcServer"], here["dataType"], here["readOnly"]) == ("Line1", "Float8", True)
    assert (here["engUnit"], here["engLow"], here["engHigh"]) == ("bar", 0.0, 350.0)


def test_nodeset_of_files_needs_no_network(site: Path, told: Told) -> None:
    code, out, err = told("nodeset", site)
    assert (code, err) == (0, "")
    assert '<UAVariable NodeId="ns=1;s=extruder-1.Monitoring.Pressure"' in out


def test_without_a_bridge_or_files_it_asks_which(told: Told) -> None:
    code, _, err = told("tags")
    assert code == 2
    assert "--state-dir" in err


def test_the_data_flow_is_a_chart_of_sources_machines_and_faces(site: Path, told: Told) -> None:
    code, out, err = told("flow", site)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "flowchart LR"
    assert '  s_panel(["panel"])' in lines
    assert '  s_panel -->|"qitech/extruder"| m0' in lines
    assert any(line.startswith('  m0["extruder-1<br/>') for line in lines)
    assert {"  m0 --> f_opcua", "  m0 --> f_sparkplug", "  m0 --> f_uns"} <= set(lines)


def test_many_machines_of_a_type_are_one_in_the_chart(site: Path, told: Told) -> None:
    entry = "  - {{id: extruder-{0}, source: panel, machine: {{slug: extruder_v1, serial: {0}}}}}\n"
    head, _, tail = SITE.partition("  - {id: extruder-1")
    site.write_text(head + "".join(entry.format(n) for n in range(60)) + tail.partition("\n")[2])
    lines = told("flow", site)[1].splitlines()
    assert len([line for line in lines if line.startswith("  m0[")]) == 1
    assert "60 machines" in "".join(lines)
    assert not [line for line in lines if line.startswith("  m1[")]


def test_topics_are_an_asyncapi_document(site: Path, told: Told) -> None:
    code, out, err = told("asyncapi", site)
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert document["asyncapi"] == "3.0.0"
    channel = document["channels"]["extruder-1.Monitoring.Pressure"]
    assert channel["address"] == "acme/essen/extrusion/extruder-1/Monitoring/Pressure"
    value = channel["messages"]["value"]["payload"]["properties"]["value"]["oneOf"][0]
    assert (value["type"], value["x-unit"]) == ("number", "bar")
    referred = {operation["channel"]["$ref"] for operation in document["operations"].values()}
    assert referred == {f"#/channels/{key}" for key in document["channels"]}


def test_topics_of_a_bridge_without_any_are_refused_with_words(site: Path, told: Told) -> None:
    site.write_text(SITE.replace("northbound: {", "northbound: {uns: {enabled: false}, "))
    assert "publishes no plain topics" in told("asyncapi", site)[2]


async def test_a_page_of_a_big_plant_is_made_beside_the_loop() -> None:
    class Face:
        threads: ClassVar[set[int]] = set()

        def address(self, tag: Tag) -> str:
            self.threads.add(threading.get_ident())
            return tag.id

    text = await document("tags", filled_table()[0].plant, {"uns": Face()})  # type: ignore[dict-item]
    assert "extruder-1.Monitoring.Plain" in text
    assert Face.threads.isdisjoint({threading.get_ident()})
    assert Face.threads
