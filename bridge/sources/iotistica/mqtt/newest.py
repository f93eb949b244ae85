"""Newest: which readings are news, which are from earlier, and which were there already. Pure.

An agent that was offline tells later what it kept: then old readings come after new ones, and a broker may deliver a
message twice. A current value never goes back in time.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.sources.iotistica.mqtt.telemetry import Row

SERIES: Final = 100_000
"""Devices' metrics of one source that are remembered. What is beyond them is always news: it may go back in time."""
AHEAD: Final = timedelta(seconds=5)
"""A time further ahead than this is a wrong clock; once that is right again, its values would look old for ever."""


class Newest:
    """When each metric of each device was last heard of, of one source."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, str], tuple[datetime, Any, str]] = {}
        self.repeated = 0
        """Readings that came more than once."""
        self.earlier = 0
        """Readings that came after newer ones."""

    def recall(self, agent: str, device: str, metric: str, moment: datetime) -> None:
        """Before a restart something was told of this series, as it was at that moment."""
        if len(self._known) < SERIES:
            self._known.setdefault((agent, device, metric), (moment, None, ""))

    def split(
        self, agent: str, rows: Iterable[tuple[datetime, Row]], received: datetime
    ) -> tuple[list[Row], list[tuple[datetime, Row]]]:
        """What is so now, and what was so earlier. A reading that was there already is in neither.

        The same metric several times in one message: its latest is so now, the others were.
        """
        known = self._known
        current: dict[tuple[str, str], tuple[datetime, Row]] = {}
        earlier: list[tuple[datetime, Row]] = []
        limit = received + AHEAD
        for moment, row in rows:
            key = agent, row["device_uuid"], row["metric"]
            stamp = moment if moment <= limit else received
            before = known.get(key)
            if before is not None and stamp <= before[0]:
                if stamp < before[0]:
                    earlier.append((moment, row))
                    self.earlier += 1
                    continue
                if before[1] == row["value"] and before[2] == row["quality"]:
                    self.repeated += 1
                    continue
            if before is not None or len(known) < SERIES:
                known[key] = stamp, row["value"], row["quality"]
            replaced = current.get(key[1:])
            if replaced is not None:
                earlier.append(replaced)
            current[key[1:]] = moment, row
        return [row for _, row in current.values()], earlier

    def fresh(self, agent: str, rows: Iterable[Row], received: datetime) -> list[Row]:
        """Of what the cloud tells of the same series, which is late, all that takes no value back."""
        kept: list[Row] = []
        for row in rows:
            key, moment = (agent, row["device_uuid"], row["metric"]), datetime.fromisoformat(row["time"])
            before = self._known.get(key)
            if before is not None and moment < before[0]:
                continue
            if before is not None or len(self._known) < SERIES:
                stamp = moment if moment <= received + AHEAD else received
                self._known[key] = stamp, row["value"], row["quality"]
            kept.append(row)
        return kept

    def latest(self, agent: str) -> datetime | None:
        """When the newest reading of an agent is from; None where there is none."""
        return max((told[0] for key, told in self._known.items() if key[0] == agent), default=None)
