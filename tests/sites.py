"""Sites for tests: text in, a checked Site out, without files of the shipped examples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bridge.config.site import load_site

if TYPE_CHECKING:
    from bridge.config.site import Site

BASE = """
version: 1
bridge: {name: bridge-1, enterprise: acme, site: essen, state_directory: state}
sources:
  panel: {type: qitech, url: "http://127.0.0.1:3001", profile: 3.x}
  other: {type: qitech, url: "http://127.0.0.1:3002", profile: 3.x}
machines:
  - {id: mock-1, area: lab, source: panel, machine: {slug: mock, serial: 1}}
  - {id: mock-2, area: lab, source: other, machine: {slug: mock, serial: 2}}
"""


def make_site(folder: Path, text: str = BASE) -> Site:
    """The site in `text`, as a file in `folder`."""
    file = folder / "bridge.yaml"
    file.write_text(text, encoding="utf-8")
    return load_site([file], {})
