"""What files say, unchecked: for what must be known of a configuration that is faulty."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bridge.config.documents import read_document
from bridge.errors import ConfigError


def as_written(files: Sequence[Path]) -> dict[str, Any]:
    """Top-level keys of the files that can be read at all; the first file that has one wins."""
    merged: dict[str, Any] = {}
    for file in files:
        try:
            data = read_document(file).data
        except ConfigError:
            continue
        if isinstance(data, dict):
            merged = {**data, **merged}
    return merged
