"""An MQTT broker: the way to it, whether it lets us in, and what it lets us do."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from bridge.errors import LinkError, LinkRefused, SubscribeRefused
from bridge.runtime.doctor.finding import Chart, Verdict
from bridge.runtime.doctor.network import Server, way_to
from bridge.transport.mqtt import Link, Message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.config.site import Site
    from bridge.ports import Clock, Rights
    from bridge.runtime.doctor.finding import Finding, Findings
    from bridge.transport.mqtt import BrokerConfig

PATIENCE_S = 5.0


def brokers(site: Site) -> Iterator[tuple[str, BrokerConfig]]:
    """Every broker that is used, and what for."""
    north = site.file.northbound
    if north.sparkplug.enabled:
        yield from (("sparkplug", broker) for broker in north.sparkplug.brokers)
    if north.uns.enabled:
        yield "uns", north.uns.broker
    for name, source in site.file.sources.items():
        if source.type == "iotistica" and source.mqtt is not None:
            yield f"source {name}", source.mqtt.broker


async def examine(
    user: str, broker: BrokerConfig, rights: Rights, site: Site, clock: Clock, *, is_running: bool
) -> Findings:
    """One broker, with the rights its user needs; the embedded one is there only while the bridge runs."""
    chart = Chart(f"broker {broker.where} for {user}")
    if not is_running and site.file.broker.is_reached_at(broker.host, broker.port):
        yield chart.skipped("connect", "it is the embedded broker, and starts with the bridge")
        return
    async for one in way_to(chart, Server(broker.host, broker.port, False), clock.now()):
        yield one
        if one.verdict is Verdict.FAULT:
            return
    async for one in _connected(chart, broker, rights):
        yield one


async def _connected(chart: Chart, broker: BrokerConfig, rights: Rights) -> Findings:
    """With a client id of its own: the bridge's would end the session of a bridge that runs."""
    identifier = f"doctor-{secrets.token_hex(6)}"
    try:
        async with Link.connect(broker, identifier) as link:
            version = "MQTT " + link.protocol
            yield chart.ok(
                "connect", f"it let us in{f' as {broker.username}' if broker.username else ''}, by {version}"
            )
            if broker.username and not broker.tls and broker.host not in ("127.0.0.1", "::1", "localhost"):
                step = "Write tls: true, and a port with TLS (8883 is usual)"
                yield chart.warning("TLS", "not encrypted: the password can be read on the way", step)
            for lack in link.lacks:
                yield chart.note("broker", lack)
            for topic in rights.subscribes:
                yield await _subscribed(chart, link, topic)
            if rights.publishes and link.protocol != "5":
                yield chart.note("publish", f"by MQTT {link.protocol} a broker does not say what it refuses: not tried")
            for topic in rights.publishes if link.protocol == "5" else ():
                yield await _published(chart, link, topic)
            if rights.untried:
                sentence = "not tried, others would take it for data; the broker's ACL must let this user write"
                yield chart.skipped("publish", f"{sentence} {rights.untried}")
    except LinkRefused as error:
        step = "Check username and password here, and the client ids and users the broker lets in"
        yield chart.fault("connect", str(error), step)
    except LinkError as error:
        yield chart.fault("connect", str(error), "Look at the broker's log: it says why at this very moment")


async def _subscribed(chart: Chart, link: Link, topic: str) -> Finding:
    try:
        await link.subscribe(topic, live=True)
    except SubscribeRefused as error:
        step = f"Add to the broker's ACL, for this user: topic read {topic}"
        return chart.fault("subscribe", f"refused: {error}", step)
    return chart.ok("subscribe", f"{topic} is allowed")


async def _published(chart: Chart, link: Link, topic: str) -> Finding:
    """An empty message that is not retained, on a topic nobody uses: what ACLs decide by."""
    link.publish(Message(topic, b"", 1))
    if not await link.flush(PATIENCE_S):
        return chart.fault("publish", f"{topic} was not acknowledged in time", "Look at the broker's log")
    if topic in link.refusals.since(0):
        above = topic.rpartition("/")[0]
        step = f"Add to the broker's ACL, for this user: topic write {above}/#"
        return chart.fault("publish", f"{topic} is refused ({link.refusals.since(0)[topic]})", step)
    return chart.ok("publish", f"{topic} is allowed")
