"""A tag that appeared with the data, as it is kept: plain data, for ever."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bridge.model.value import DataType


@dataclass(frozen=True, slots=True)
class KnownTag:
    """What was decided when the first row of a key was seen; nothing of it changes, but that a unit may come later.

    Args:
        each: name of the rule in the mapping's `each`.
        key: texts of the row's key fields; identity, and what the tag's id is made of.
        texts: what stands for each `<x>` of the tag's name; levels are parted by "/".
        data_type: given with the first value.
        unit: as the vendor writes it; "" where it says none.
        labels: display name by language.
        description: what a person should know.
    """

    each: str
    key: tuple[str, ...]
    texts: tuple[str, ...]
    data_type: DataType
    unit: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
