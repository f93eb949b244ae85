"""One way of publishing, in a process of its own: `python -m benchmarks.publisher HOW PORT VERSION QOS SIZE COUNT`.

Prints {"seconds": …, "cpu_s": …} from the first message until the broker has answered the last, or, with QoS 0, a
message with QoS 1 after it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable

import aiomqtt

from bridge.transport.mqtt import BrokerConfig, Link, Message

TOPIC = "bench/line/machine/Monitoring/Tag"
BATCH = 100
"""Messages between two looks at congestion."""

Publish = Callable[[], Awaitable[None]]


async def outlet(broker: BrokerConfig, qos: int, payload: bytes, count: int, *, alias: bool = False) -> None:
    """Our link, a topic encoded once."""
    async with Link.connect(broker, "bench-publisher") as link:
        to = link.outlet(Message(TOPIC, b"", qos), alias=alias)

        async def publish() -> None:
            for number in range(1, count + 1):
                link.send(to, payload)
                if number % BATCH == 0:
                    await link.drain()
            link.publish(Message(TOPIC, b"", 1))
            assert await link.flush(60)

        await timed(publish)


async def alias(broker: BrokerConfig, qos: int, payload: bytes, count: int) -> None:
    """Our link, a number in the topic's place."""
    await outlet(broker, qos, payload, count, alias=True)


async def message(broker: BrokerConfig, qos: int, payload: bytes, count: int) -> None:
    """Our link, a Message made for each."""
    async with Link.connect(broker, "bench-publisher") as link:

        async def publish() -> None:
            for number in range(1, count + 1):
                link.publish(Message(TOPIC, payload, qos))
                if number % BATCH == 0:
                    await link.drain()
            link.publish(Message(TOPIC, b"", 1))
            assert await link.flush(60)

        await timed(publish)


async def plain(broker: BrokerConfig, qos: int, payload: bytes, count: int) -> None:
    """aiomqtt as its documents say."""
    version = aiomqtt.ProtocolVersion.V5 if broker.protocol == "5" else aiomqtt.ProtocolVersion.V311
    async with aiomqtt.Client(broker.host, broker.port, protocol=version) as client:

        async def publish() -> None:
            for _ in range(count):
                await client.publish(TOPIC, payload, qos)
            await client.publish(TOPIC, b"", 1)

        await timed(publish)


async def timed(publish: Publish) -> None:
    """Say what it took."""
    cpu, began = time.process_time(), time.perf_counter()
    await publish()
    print(json.dumps({"seconds": time.perf_counter() - began, "cpu_s": time.process_time() - cpu}), flush=True)


HOW = {"outlet": outlet, "alias": alias, "message": message, "aiomqtt": plain}


async def main(how: str, port: str, version: str, qos: str, size: str, count: str) -> None:
    broker = BrokerConfig.model_validate({"port": int(port), "protocol": version})
    await HOW[how](broker, int(qos), b"x" * int(size), int(count))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
