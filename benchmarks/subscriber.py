"""One MQTT subscriber on everything, in a process of its own: decodes UNS JSON and Sparkplug, and collects ages.

Words on standard input, one JSON line each as answer: begin, report. `python -m benchmarks.subscriber PORT`
"""

from __future__ import annotations

import json
import select
import sys
import time
from datetime import datetime

import orjson

from benchmarks.ages import Ages
from benchmarks.mqtt import Client
from bridge.northbound.sparkplug import codec

LIVE = "Monitoring/"


class Subscriber:
    """What arrives, by kind."""

    def __init__(self, port: int) -> None:
        self.client = Client(port, "bench-subscriber")
        self.client.subscribe("#")
        self.sparkplug = Ages()
        self.uns = Ages()
        self.messages = 0
        self._names: dict[tuple[str, int], str] = {}

    def begin(self) -> None:
        self.messages = 0
        self.sparkplug.begin()
        self.uns.begin()

    def report(self) -> dict[str, object]:
        return {
            "messages": self.messages,
            "sparkplug": self.sparkplug.summary()._asdict(),
            "uns": self.uns.summary()._asdict(),
        }

    def read(self) -> None:
        """Take what has arrived. Everything of one read has the same time of arrival."""
        now = time.time()
        for topic, payload in self.client.read():
            self.messages += 1
            name = topic.decode()
            if name.startswith("spBv1.0/"):
                self._take_sparkplug(name, payload, now)
            elif LIVE in name and payload:
                stamp = orjson.loads(payload)["timestamp"]
                self.uns.take(name, datetime.fromisoformat(stamp).timestamp(), now)

    def _take_sparkplug(self, topic: str, payload: bytes, now: float) -> None:
        _, _, kind, *where = topic.split("/")
        if kind not in ("DBIRTH", "DDATA"):
            return
        device = "/".join(where)
        for metric in codec.decode(payload).metrics:
            name = metric.name
            if metric.alias is not None:
                if name:
                    self._names[device, metric.alias] = name
                name = self._names.get((device, metric.alias), "")
            if name and name.startswith(LIVE) and metric.timestamp is not None:
                self.sparkplug.take((device, name), metric.timestamp / 1000, now)


def main(port: int) -> None:
    subscriber = Subscriber(port)
    say({"ready": True})
    sources = [sys.stdin, subscriber.client.socket]
    while True:
        ready, _, _ = select.select(sources, [], [])
        if subscriber.client.socket in ready:
            subscriber.read()
        if sys.stdin in ready:
            word = sys.stdin.readline().strip()
            if word == "begin":
                subscriber.begin()
                say({"begun": True})
            elif word == "report":
                say(subscriber.report())
            else:
                return


def say(what: dict[str, object]) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
