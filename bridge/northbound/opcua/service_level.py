"""ServiceLevel: how much of what this server is for it can do, from the bridge's own tags. Pure.

255: values flow from every source · 2 to 199: from some · 1: from none (Part 4, 6.6.2.4.2: NoData).
A client of several servers goes to the one with the highest level.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.model.plant import Plant
    from bridge.model.tag import Tag
    from bridge.model.value import DataValue

FULL, NO_DATA = 255, 1
_DEGRADED = (2, 199)
_CONNECTED = re.compile(r"Sources/[^/]+/Connected")


def service_level(plant: Plant, read: Callable[[Tag], DataValue]) -> int:
    """The level now; a source that has not said anything yet does not count as connected."""
    tags = [tag for tag in plant.bridge.tags if _CONNECTED.fullmatch(tag.name)]
    flowing = sum(read(tag).value is True for tag in tags)
    if flowing == len(tags):
        return FULL
    if not flowing:
        return NO_DATA
    low, high = _DEGRADED
    return low + (high - low) * flowing // len(tags)
