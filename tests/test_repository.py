"""What is committed beside the code is true: schemas, examples, links."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from asyncua import ua

from bridge.config.check import check_paths
from bridge.config.reference import reference
from bridge.config.schema import bridge_schema, mapping_schema
from tests import plc_examples

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {
    "QUANTIIX_PASSWORD": "x",
    "IOTISTICA_MQTT_PASSWORD": "x",
    "TRACKMYMACHINES_KEY": "x",
    "QITECH_PASSWORD": "word",
    "MQTT_PASSWORD": "word",
    "SCADA_HASH": "scrypt$16384$8$1$c2FsdA==$aGFzaA==",
    "PLC_HASH": "scrypt$16384$8$1$c2FsdA==$aGFzaA==",
    "LINE_LEAD_HASH": "scrypt$16384$8$1$c2FsdA==$aGFzaA==",
    "DEMO_OPERATOR_HASH": "scrypt$16384$8$1$c2FsdA==$aGFzaA==",
    "DEMO_OPERATOR_PASSWORD": "word",
}
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")


@pytest.mark.parametrize(
    ("file", "schema"),
    [("examples/bridge.schema.json", bridge_schema), ("mappings/mapping.schema.json", mapping_schema)],
)
def test_the_committed_schema_is_the_generated_one(file: str, schema: object) -> None:
    assert json.loads((ROOT / file).read_text()) == schema(), "run: make schema"  # type: ignore[operator]


@pytest.mark.parametrize(("page", "schema"), [("bridge", bridge_schema), ("mapping", mapping_schema)])
def test_the_committed_reference_is_the_generated_one(page: str, schema: object) -> None:
    committed = (ROOT / "docs" / "reference" / f"{page}.md").read_text(encoding="utf-8")
    assert committed == reference(schema()), "run: make schema"  # type: ignore[operator]


@pytest.mark.parametrize("example", sorted(path.parent.name for path in (ROOT / "examples").glob("*/bridge.yaml")))
def test_every_example_passes_check_and_names_its_schema(example: str) -> None:
    file = ROOT / "examples" / example / "bridge.yaml"
    checked = check_paths([file], ENVIRONMENT)
    assert [str(fault) for fault in checked.faults] == []
    assert len(checked.sites) == 1
    assert "$schema=../bridge.schema.json" in file.read_text().splitlines()[0]


def test_the_own_mapping_of_the_iotistica_example_passes_check(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples" / "iotistica", tmp_path / "site")
    file = tmp_path / "site" / "bridge.yaml"
    chosen = ("writes: true", "allow_hazards: [power]", "mapping: acme/hall-1", "mappings: [mappings]")
    text = file.read_text()
    for line in chosen:
        assert f"# {line}" in text
        text = text.replace(f"# {line}", line)
    file.write_text(text)
    checked = check_paths([file], ENVIRONMENT)
    assert [str(fault) for fault in checked.faults] == []
    assert "acme/hall-1" in str(checked)


@pytest.mark.parametrize("mapping", sorted((ROOT / "mappings").rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_mapping_names_its_schema(mapping: Path) -> None:
    assert "$schema=../mapping.schema.json" in mapping.read_text().splitlines()[0]


def test_the_codes_plc_programmers_look_up_are_those_of_opc_ua() -> None:
    page = (ROOT / "docs" / "how-to" / "command-from-a-plc.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| 16#(\w{4})_(\w{4}) \| (\w+)", page, re.MULTILINE)
    told = {name: int(high + low, 16) for high, low, name in rows}
    assert told == {name: getattr(ua.StatusCodes, name) for name in told}
    assert {"BadInvalidState", "BadInvalidArgument", "BadTimeout"} <= set(told)


@pytest.mark.parametrize("dialect", ["scl", "st"])
def test_the_committed_plc_sources_are_the_generated_ones_and_the_programs_use_them(dialect: str) -> None:
    (path, expected), *_ = [item for item in plc_examples.sources().items() if item[0].suffix == f".{dialect}"]
    assert path.read_text(encoding="utf-8") == expected, "run: make golden"
    program = re.sub(r"//(?!localhost).*", "", (path.parent / f"main.{dialect}").read_text(encoding="utf-8"))
    own = {"PB_Extruder_1"}
    assert {name for name in re.findall(r"\bPB_\w+", program) if name not in own and name not in expected} == set()
    assert "extruder-1.Setpoints.ScrewSpeed" in program
    for url in re.findall(r"opc\.tcp://[^']*", program):
        assert url in expected


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_links_between_documents_lead_somewhere(page: Path) -> None:
    missing = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert missing == []
