"""MQTT in to UNS out, every change sent: what Node-RED does in its row, done by the bridge's own rooms."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.nodered import VALUES, Sink, feeding, sinking
from benchmarks.processes import Child, progress, python, running_broker
from benchmarks.workload import SETTLE_S, Size

QOS = 0
"""As Node-RED's."""
START_S = 30.0


@dataclass
class MqttToUns:
    """One run."""

    qos: int
    offered_per_s: int
    values_per_s: int
    cpu_percent: float
    us_per_value: float
    rss_mb: float
    arrival_p50: float
    arrival_p99: float


def run(folder: Path, size: Size) -> MqttToUns:
    """Measure it at the workload's rate. Raises Unavailable."""
    progress("MQTT in to UNS out")
    home = folder / "mqtt-to-uns"
    home.mkdir()
    with running_broker(home) as broker_port:
        command = python("benchmarks.mqtt_bridge", home, size.machines, broker_port, QOS)
        with Child("the bridge", command, home / "bridge.log") as peer:
            result = _measure(peer, size, broker_port)
    progress(f"  {result.cpu_percent} % of a core, {result.values_per_s} values/s")
    return result


def _measure(peer: Child, size: Size, broker_port: int) -> MqttToUns:
    with sinking(broker_port, "acme/lab/#", b"/Monitoring/") as sink, feeding(size, broker_port):
        _wait_for_flow(peer, sink)
        time.sleep(SETTLE_S)
        sink.begin()
        cpu, began = peer.cpu_s(), time.monotonic()
        time.sleep(size.seconds)
        spent, lasted, values = peer.cpu_s() - cpu, time.monotonic() - began, sink.values
        ages = sink.ages.summary()
        rss = peer.rss_mb()
    return MqttToUns(
        QOS,
        round(size.machines * size.rate_hz * VALUES),
        round(values / lasted),
        round(spent / lasted * 100, 1),
        round(spent / max(values, 1) * 1e6, 2),
        round(rss, 1),
        ages.arrival_p50,
        ages.arrival_p99,
    )


def _wait_for_flow(peer: Child, sink: Sink) -> None:
    end = time.monotonic() + START_S
    while not sink.values:
        peer.require_running()
        if time.monotonic() > end:
            raise RuntimeError("nothing comes out of the bridge")
        time.sleep(0.1)
