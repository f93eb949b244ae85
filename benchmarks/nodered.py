"""Node-RED beside us: MQTT in with 10 values a message, a function, one MQTT message for each value out."""

from __future__ import annotations

import json
import select
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import mqtt
from benchmarks.ages import Ages
from benchmarks.processes import Child, free_port, node_package, program, progress, running_broker
from benchmarks.workload import Size

VALUES = 10
FUNCTION = """
const machine = msg.topic.split('/')[1];
const timestamp = new Date().toISOString();
return [Object.keys(msg.payload).map((name) => ({
  topic: 'node-red/lab/hall/one/' + machine + '/Monitoring/' + name,
  payload: JSON.stringify({value: msg.payload[name] * 1 + 0, timestamp, quality: 'Good'}),
}))];
"""
STEP_S = 0.005


@dataclass
class NodeRed:
    """One run."""

    values_per_s: int
    cpu_percent: float
    us_per_value: float
    rss_mb: float
    arrival_p50: float
    arrival_p99: float


def run(folder: Path, size: Size) -> NodeRed:
    """Measure it at the workload's rate. Raises Unavailable."""
    red = node_package("node-red") / "red.js"
    progress("Node-RED")
    home = folder / "node-red"
    home.mkdir()
    with running_broker(home) as broker_port, _running(red, home, broker_port) as peer:
        result = _measure(peer, size, broker_port)
    progress(f"  {result.cpu_percent} % of a core, {result.values_per_s} values/s")
    return result


@contextmanager
def _running(red: Path, home: Path, broker_port: int) -> Iterator[Child]:
    port = free_port()
    (home / "flows.json").write_text(json.dumps(_flows(broker_port)))
    (home / "settings.js").write_text(
        "module.exports = {flowFile: 'flows.json', uiHost: '127.0.0.1', logging: {console: {level: 'warn'}},"
        " telemetry: {enabled: false}, editorTheme: {tours: false}};\n"
    )
    command = [program("node"), red, "-s", home / "settings.js", "-u", home, "-p", str(port)]
    with Child("Node-RED", command, home / "node-red.log") as peer:
        _wait_until_up(peer, port)
        yield peer


def _wait_until_up(peer: Child, port: int) -> None:
    for _ in range(600):
        peer.require_running()
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            time.sleep(2.0)
            return
    raise RuntimeError("Node-RED does not come up")


def _measure(peer: Child, size: Size, broker_port: int) -> NodeRed:
    with sinking(broker_port, "node-red/#", b"") as sink, feeding(size, broker_port):
        time.sleep(4.0)
        sink.begin()
        cpu, began = peer.cpu_s(), time.monotonic()
        time.sleep(size.seconds)
        spent, lasted, values = peer.cpu_s() - cpu, time.monotonic() - began, sink.values
        ages = sink.ages.summary()
    return NodeRed(
        round(values / lasted),
        round(spent / lasted * 100, 1),
        round(spent / max(values, 1) * 1e6, 2),
        round(peer.rss_mb(), 1),
        ages.arrival_p50,
        ages.arrival_p99,
    )


class Sink(threading.Thread):
    """Counts the values that come out; looks at the age of one in fifty. A value's topic has `mark` in it."""

    def __init__(self, broker_port: int, topic_filter: str, mark: bytes) -> None:
        super().__init__(daemon=True)
        self._mark = mark
        self._client = mqtt.Client(broker_port, "bench-sink")
        self._client.subscribe(topic_filter)
        self.ages = Ages()
        self.values = 0
        self.stopped = False

    def begin(self) -> None:
        self.values = 0
        self.ages.begin()

    def run(self) -> None:
        while not self.stopped:
            if not select.select([self._client.socket], [], [], 0.2)[0]:
                continue
            now = time.time()
            for topic, payload in self._client.read():
                if self._mark not in topic:
                    continue
                self.values += 1
                if not self.values % 50:
                    self.ages.take(topic, json.loads(payload)["value"], now)


@contextmanager
def sinking(broker_port: int, topic_filter: str, mark: bytes) -> Iterator[Sink]:
    """A sink, while it runs."""
    sink = Sink(broker_port, topic_filter, mark)
    sink.start()
    try:
        yield sink
    finally:
        sink.stopped = True
        sink.join()


@contextmanager
def feeding(size: Size, broker_port: int) -> Iterator[None]:
    """Messages at the workload's rate; every value is the time it was sent, so that it changes and tells its age."""
    stopped = threading.Event()

    def feed() -> None:
        client = mqtt.Client(broker_port, "bench-feed")
        per_second = size.machines * size.rate_hz
        began, sent = time.monotonic(), 0
        while not stopped.wait(STEP_S):
            due = int((time.monotonic() - began) * per_second)
            moment = f"{time.time():.6f}"
            body = ("{" + ",".join(f'"value{index}":{moment}' for index in range(VALUES)) + "}").encode()
            packets = [mqtt.publish(f"sensor/machine-{n % size.machines:03}/data", body) for n in range(sent, due)]
            client.send(b"".join(packets))
            sent = due

    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def _flows(broker_port: int) -> list[dict[str, object]]:
    broker = {
        "id": "broker",
        "type": "mqtt-broker",
        "broker": "127.0.0.1",
        "port": str(broker_port),
        "clientid": "",
        "autoConnect": True,
        "usetls": False,
        "protocolVersion": "4",
        "keepalive": "60",
        "cleansession": True,
    }
    read = {"id": "in", "type": "mqtt in", "z": "tab", "topic": "sensor/+/data", "qos": "0", "datatype": "json"}
    split = {"id": "split", "type": "function", "z": "tab", "func": FUNCTION, "outputs": 1, "wires": [["out"]]}
    write = {"id": "out", "type": "mqtt out", "z": "tab", "topic": "", "qos": "0", "retain": "false", "wires": []}
    return [
        {"id": "tab", "type": "tab", "label": "benchmark"},
        broker,
        {**read, "broker": "broker", "wires": [["split"]]},
        split,
        {**write, "broker": "broker"},
    ]
