"""Pages that are made from the code are as the code is."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.cli.main import VERBS
from bridge.cli.reference import cli_page
from bridge.runtime.log_reference import log_page, sentences

PAGES = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize(("name", "page"), [("cli", cli_page), ("log", log_page)])
def test_the_page_is_what_the_code_says(name: str, page: object) -> None:
    assert callable(page)
    told = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    assert told == page(), f"make schema, or: plantbridge docs {name} --output docs/reference/{name}.md"


def test_every_verb_is_told() -> None:
    page = cli_page()
    assert all(f"\n## plantbridge {verb}\n" in page for verb in VERBS)
    assert "\n### plantbridge commands retry\n" in page


def test_no_two_sentences_have_one_id() -> None:
    found = {(one.id, one.template) for one in sentences()}
    assert len({identifier for identifier, _ in found}) == len(found) > 50
