"""The table."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import bridge
from benchmarks.backfill import BackfillRate
from benchmarks.desk import DeskRate
from benchmarks.doors import DoorTime
from benchmarks.history import HistoryCost
from benchmarks.iotistica import DecodeCost
from benchmarks.mqtt_to_uns import MqttToUns
from benchmarks.nodered import NodeRed
from benchmarks.opcua import Served
from benchmarks.publishing import Published
from benchmarks.slow_vendor import CALLERS, SLOW_S, SlowVendor
from benchmarks.sparkplug_encode import EncodeCost
from benchmarks.startup import Start
from benchmarks.workload import Load, Size

GOAL_CPU, GOAL_BEYOND_MS, GOAL_STALL_MS = 60.0, 100.0, 50.0
GOAL_TAGS, GOAL_START_S, GOAL_RSS_MB = 10_000, 3.0, 200.0


@dataclass
class Report:
    """Everything measured in one run; what could not be is in `absent`, with the reason."""

    size: Size
    loads: list[Load] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    node_red: NodeRed | None = None
    encode: list[EncodeCost] = field(default_factory=list)
    desk: list[DeskRate] = field(default_factory=list)
    doors: list[DoorTime] = field(default_factory=list)
    slow_vendor: SlowVendor | None = None
    published: list[Published] = field(default_factory=list)
    mqtt_to_uns: MqttToUns | None = None
    history: HistoryCost | None = None
    backfill: BackfillRate | None = None
    decoded: list[DecodeCost] = field(default_factory=list)
    served: list[Served] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {"machine": machine(), "version": bridge.__version__, **asdict(self)}

    def lines(self) -> Iterator[str]:
        """For a person."""
        yield f"plantbridge {bridge.__version__} on {machine()}"
        if self.loads:
            yield from self._workload()
        if self.starts:
            yield from self._start()
        if self.node_red is not None:
            yield from self._peer(self.node_red)
        if self.encode:
            yield from self._encode()
        if self.desk:
            yield from self._desk()
        if self.doors:
            yield from self._doors()
        if self.slow_vendor is not None:
            yield from self._slow_vendor(self.slow_vendor)
        if self.published:
            yield from self._published()
        if self.mqtt_to_uns is not None:
            yield from self._mqtt_to_uns(self.mqtt_to_uns)
        if self.served:
            yield from self._served()
        if self.decoded:
            yield from self._decoded()
        if (filled := self.backfill) is not None:
            yield ""
            yield (
                f"Iotistica, backfill by REST: {filled.row_us:.1f} µs a row, {filled.rows_per_minute:,.0f} rows/min "
                f"within half of the vendor's limit ({filled.requests} requests, {filled.rows} rows)"
            )
        if (one := self.history) is not None:
            yield ""
            yield (
                f"history: true, µs a value: {one.on_loop:.2f} in table.update ({one.without:.2f} without), "
                f"{one.kept:.1f} CPU of all threads until it is on disk; {one.size:.0f} bytes each"
            )
        for what, why in self.absent.items():
            yield f"\n{what}: not measured: {why}"

    def _decoded(self) -> Iterator[str]:
        yield ""
        yield f"Iotistica, bytes of a message to readings, {self.decoded[0].metrics} readings a message, one processor"
        yield f"{'encoding':<26} {'bytes':>7} {'a message':>11} {'messages/s':>11} {'metrics/s':>11}"
        for one in self.decoded:
            yield (
                f"{one.encoding:<26} {one.size:>7} {one.message_us:>8.1f} µs {one.messages_per_second:>11,.0f} "
                f"{one.metrics_per_second:>11,.0f}"
            )

    def _workload(self) -> Iterator[str]:
        size = self.size
        yield ""
        yield (
            f"{size.machines} machines × 10 live tags × {size.rate_hz:g} Hz = {size.updates_per_s:.0f} updates/s, "
            f"every value changing; {size.seconds:g} s a row"
        )
        heads = f"{'stall':>9} {'own':>9} {'RSS':>8} {'computer':>9}"
        yield f"{'faces':<10} {'CPU':>7} {'a value':>9} {'updates/s':>10} {heads}"
        for one in self.loads:
            stalls = f"{one.longest_stall_ms:6.1f} ms {one.longest_busy_stall_ms:6.1f} ms"
            yield (
                f"{one.part:<10} {one.cpu_percent:5.1f} % {one.us_per_update:6.2f} µs {one.updates_per_s:>10.0f} "
                f"{stalls} {one.rss_mb:5.0f} MB {one.machine_busy_percent:7.0f} %"
            )
            for note in one.notes:
                yield f"           {note}"
        yield ""
        yield f"{'age at the client':<22} {'arriving p50':>13} {'p99':>9} {'beyond interval p50':>20} {'p99':>9}"
        for one in self.loads:
            for face, age in one.ages.items():
                yield (
                    f"{one.part + ': ' + face:<22} {age['arrival_p50']:10.1f} ms {age['arrival_p99']:6.1f} ms "
                    f"{age['beyond_p50']:17.1f} ms {age['beyond_p99']:6.1f} ms   {age['tags']} tags"
                )
        whole = next((one for one in self.loads if one.part == "all"), None)
        if whole is not None:
            worst = max((age["beyond_p99"] for age in whole.ages.values()), default=0.0)
            yield ""
            yield _goal("CPU with everything on", whole.cpu_percent, GOAL_CPU, "%")
            yield _goal("age beyond the interval, p99", worst, GOAL_BEYOND_MS, "ms")
            yield _goal("longest stall of the event loop", whole.longest_stall_ms, GOAL_STALL_MS, "ms")

    def _start(self) -> Iterator[str]:
        yield ""
        yield f"{'plain tags':>10} {'OPC UA answers':>15} {'CPU until then':>15} {'RSS':>8}"
        for one in self.starts:
            yield f"{one.tags:>10} {one.opcua_s:13.2f} s {one.cpu_s:13.2f} s {one.rss_mb:5.0f} MB"
        goal = next((one for one in self.starts if one.tags == GOAL_TAGS), None)
        if goal is not None:
            yield ""
            yield _goal(f"start with {GOAL_TAGS} tags", goal.opcua_s, GOAL_START_S, "s")
            yield _goal(f"memory with {GOAL_TAGS} tags", goal.rss_mb, GOAL_RSS_MB, "MB")

    def _peer(self, peer: NodeRed) -> Iterator[str]:
        yield ""
        yield (
            f"Node-RED, MQTT in (10 values a message) to one message a value: {peer.values_per_s} values/s, "
            f"{peer.cpu_percent:.1f} % CPU, {peer.us_per_value:.2f} µs a value, {peer.rss_mb:.0f} MB, "
            f"age p50 {peer.arrival_p50:.0f} ms, p99 {peer.arrival_p99:.0f} ms"
        )
        whole = next((one for one in self.loads if one.part == "all"), None)
        if whole is not None and whole.us_per_update:
            ratio = peer.us_per_value / whole.us_per_update
            yield f"CPU a value, Node-RED : plantbridge with everything on = {ratio:.2f} : 1"

    def _encode(self) -> Iterator[str]:
        yield ""
        yield f"{'Sparkplug, µs a metric':<24} {'metrics':>8} {'bytes':>6} {'encode':>7} {'change':>7} {'upb':>7}"
        for one in self.encode:
            upb = "absent" if one.upb_us is None else f"{one.upb_us:.2f}"
            costs = f"{one.encode_us:7.2f} {one.change_us:7.2f} {upb:>7}"
            yield f"{one.content:<24} {one.metrics:>8} {one.size:>6} {costs}"

    def _desk(self) -> Iterator[str]:
        yield ""
        yield "commands through the desk, confirmed at once; fsync is this disk alone, right before"
        heads = f"{'p50':>9} {'p99':>9} {'CPU':>8}"
        disk = f"{'fsync p50':>10} {'p99':>8} {'journal on disk':>16} {heads} {'commits':>8}"
        yield f"{'lanes':>5} {'callers':>8} {disk} {'in memory':>10} {heads}"
        for one in self.desk:
            yield (
                f"{one.lanes:>5} {one.callers:>8} {one.fsync_p50_ms:>7.2f} ms {one.fsync_p99_ms:>5.1f} ms "
                f"{one.durable_per_s:>14.0f}/s {one.durable_p50_ms:6.1f} ms {one.durable_p99_ms:6.1f} ms "
                f"{one.durable_cpu_us:>5.0f} µs {one.commits_per_command:>8.2f} "
                f"{one.memory_per_s:>8.0f}/s {one.memory_p50_ms:6.1f} ms {one.memory_p99_ms:6.1f} ms "
                f"{one.memory_cpu_us:>5.0f} µs"
            )

    def _doors(self) -> Iterator[str]:
        yield ""
        yield f"{'write to answer, panel':<24} {'by':<17} {'p50':>9} {'p99':>9} {'beyond vendor':>14} {'commands':>9}"
        for one in self.doors:
            beyond = "" if one.beyond_vendor_p50_ms is None else f"{one.beyond_vendor_p50_ms:.1f} ms"
            times = f"{one.p50_ms:6.1f} ms {one.p99_ms:6.1f} ms {beyond:>14}"
            yield f"{one.release:<24} {one.door:<17} {times} {one.commands:>9}"

    def _slow_vendor(self, slow: SlowVendor) -> Iterator[str]:
        yield ""
        yield (
            f"another panel answers after {SLOW_S:g} s, {CALLERS} commands wait for it; "
            f"its own ended: {', '.join(f'{count} {result}' for result, count in slow.ended.items())}"
        )
        heads = f"{'without p50':>12} {'p99':>9} {'with p50':>12} {'p99':>9} {'ratio':>6} {'p99':>6}"
        yield f"{'everybody else':<16} {heads}"
        for one in slow.others:
            ratios = one.with_p50_ms / max(one.without_p50_ms, 0.01), one.with_p99_ms / max(one.without_p99_ms, 0.01)
            yield (
                f"{one.what:<16} {one.without_p50_ms:9.1f} ms {one.without_p99_ms:6.1f} ms "
                f"{one.with_p50_ms:9.1f} ms {one.with_p99_ms:6.1f} ms {ratios[0]:6.2f} {ratios[1]:6.2f}"
            )

    def _served(self) -> Iterator[str]:
        yield ""
        heads = f"{'CPU':>8} {'each':>9} {'a message':>10} {'client':>8} {'age p50':>9} {'p99 beyond':>11}"
        yield f"{'OPC UA':<28} {'security':<10} {'server':<18} {'per second':>11} {heads}"
        for one in self.served:
            security = "encrypted" if one.encrypted else "none"
            yield (
                f"{one.case:<28} {security:<10} {one.server:<18} {one.per_s:>9.0f}/s {one.cpu_percent:6.1f} % "
                f"{one.cpu_us:6.2f} µs {one.message_ms:7.3f} ms {one.client_percent:6.1f} % "
                f"{one.p50_ms:6.1f} ms {one.beyond_p99_ms:8.1f} ms"
            )

    def _published(self) -> Iterator[str]:
        yield ""
        yield "publishing to mosquitto; messages a second, processor time of the publisher"
        kinds = list(dict.fromkeys((one.qos, one.size) for one in self.published))
        heads = " ".join(f"{f'QoS {qos}, {size} B':>22}" for qos, size in kinds)
        yield f"{'MQTT':<6} {'':<17} {heads}"
        for version, how in dict.fromkeys((one.version, one.how) for one in self.published):
            row = {(one.qos, one.size): one for one in self.published if (one.version, one.how) == (version, how)}
            cells = " ".join(f"{row[kind].per_s:>10.0f}/s {row[kind].cpu_us:>6.2f} µs" for kind in kinds)
            yield f"{version:<6} {how:<17} {cells}"

    def _mqtt_to_uns(self, one: MqttToUns) -> Iterator[str]:
        yield ""
        yield (
            f"MQTT in (10 values a message) to one UNS message a value, QoS {one.qos}: {one.values_per_s} of "
            f"{one.offered_per_s} values/s, {one.cpu_percent:.1f} % CPU, {one.us_per_value:.2f} µs a value, "
            f"{one.rss_mb:.0f} MB, age p50 {one.arrival_p50:.0f} ms, p99 {one.arrival_p99:.0f} ms"
        )
        if self.node_red is not None:
            ratio = self.node_red.us_per_value / max(one.us_per_value, 0.01)
            yield f"CPU a value, Node-RED : plantbridge doing the same = {ratio:.2f} : 1"


def _goal(what: str, value: float, goal: float, unit: str) -> str:
    verdict = "held" if value <= goal else "MISSED"
    return f"goal {what:<34} {value:7.1f} {unit:<3} of {goal:g} {unit:<3} {verdict}"


def machine() -> str:
    """The class of this computer."""
    return f"{os.cpu_count()} × {_processor()}, {platform.system()}, Python {platform.python_version()}"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            return next(line.partition(":")[2].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
