"""What is committed beside the code is true: schemas, examples, links."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bridge.config.check import check_paths
from bridge.config.schema import bridge_schema, mapping_schema

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {
    "QITECH_PASSWORD": "word",
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


@pytest.mark.parametrize("example", sorted(path.parent.name for path in (ROOT / "examples").glob("*/bridge.yaml")))
def test_every_example_passes_check_and_names_its_schema(example: str) -> None:
    file = ROOT / "examples" / example / "bridge.yaml"
    checked = check_paths([file], ENVIRONMENT)
    assert [str(fault) for fault in checked.faults] == []
    assert len(checked.sites) == 1
    assert "$schema=../bridge.schema.json" in file.read_text().splitlines()[0]


@pytest.mark.parametrize("mapping", sorted((ROOT / "mappings").rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_mapping_names_its_schema(mapping: Path) -> None:
    assert "$schema=../mapping.schema.json" in mapping.read_text().splitlines()[0]


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda p: p.name)
def test_links_between_documents_lead_somewhere(page: Path) -> None:
    missing = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert missing == []
