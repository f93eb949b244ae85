"""What a broker does not take, as the lines its ACL lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from bridge.hub.slots import Slots
from bridge.northbound.uns.branches import Branch
from bridge.northbound.uns.refused import Refused
from bridge.transport.clock import VirtualClock
from bridge.transport.mqtt import BrokerConfig, Link
from bridge.transport.mqtt_refusals import Refusals
from tests.one_of_everything import machine

if TYPE_CHECKING:
    from collections.abc import Sequence

LINE = "acme/essen/extrusion/line-1"


class Session:
    """As much of a link as is looked at."""

    def __init__(self, topics: Sequence[str]) -> None:
        self.oversized = 0
        self.refusals = Refusals()
        for topic in topics:
            self.refusals.note(topic, "Not authorized")


@pytest.mark.parametrize(
    ("topics", "lines"),
    [
        (["extruder-1/_meta"], f"topic write {LINE}/extruder-1/_meta"),
        (["extruder-1/_meta", "extruder-1/Monitoring/Pressure"], f"topic write {LINE}/extruder-1/#"),
        (
            ["extruder-1/_meta", "extruder-1/Status/A", "extruder-10/_meta"],
            f"topic write {LINE}/extruder-1/#; topic write {LINE}/extruder-10/_meta",
        ),
        (["stranger/_meta", "stranger/A"], f"topic write {LINE}/stranger/A; topic write {LINE}/stranger/_meta"),
    ],
)
def test_a_machine_that_lacks_more_lacks_the_line_for_all_of_it(topics: list[str], lines: str) -> None:
    slots = Slots()
    branches = [Branch(machine(slots, name), f"{LINE}/{name}", {}) for name in ("extruder-1", "extruder-10")]
    refused = Refused(BrokerConfig(username="bridge-1"), VirtualClock(), 60.0, lambda: branches)
    refused.begin_session(cast("Link", Session([f"{LINE}/{topic}" for topic in topics])))
    assert refused.trouble.endswith(f'Its ACL lacks, for user "bridge-1": {lines}')
