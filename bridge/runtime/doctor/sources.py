"""A source: the way to it, and whether it lets us in.

A login is tried by the source itself, as the bridge would: once, until it says something of its machines. Where a
bridge runs, its own word is taken: some vendors allow few logins a minute, and two of one account disturb each other.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import BaseModel

from bridge.errors import AuthFailed, NotConnected, RateLimited, SourceError, counted
from bridge.model.observation import Condition, Inventory, Observation, Reading
from bridge.model.status import StatusCode
from bridge.ports import Probing
from bridge.runtime.doctor.finding import Chart, Verdict
from bridge.runtime.doctor.network import Server, in_clear, way_to
from bridge.runtime.sources import Surroundings, make_source
from bridge.transport.mqtt_config import BrokerConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bridge.config.site import Site, SourceConfig
    from bridge.ports import Clock, Published, Source
    from bridge.runtime.doctor.finding import Finding, Findings

LOGIN_S = 20.0
"""A login, a list of machines, and time to spare."""
SETTLE_S = 1.0
"""After the list of machines a source may say what else it knows of its vendor, such as the clock."""
LARGE_OFFSET_S = 5.0
PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


class _NoMemory:
    """A source that is only tried remembers nothing, and what it remembered stays as it is."""

    async def recall(self) -> Mapping[str, Any]:
        return {}

    async def keep(self, document: Mapping[str, Any]) -> None:
        pass


async def examine(site: Site, name: str, clock: Clock, running: Mapping[str, Any] | None) -> Findings:
    """One source; `running` is what a running bridge says of it."""
    chart, config = Chart(f"source {name}"), site.file.sources[name]
    is_reached = True
    for url in dict.fromkeys(_addresses(config)):
        found = in_clear(chart, url)
        if found is not None:
            yield found
        async for one in way_to(chart, _server(url, config), clock.now()):
            is_reached &= one.verdict is not Verdict.FAULT
            yield one
    if running is not None:
        yield _said(chart, running)
    elif not is_reached:
        yield chart.skipped("login", "not tried: the way there does not work")
    else:
        async for one in _tried(chart, site, name, clock):
            yield one


def _addresses(config: BaseModel) -> Iterator[str]:
    """Every address a configuration names. Brokers are looked at as brokers."""
    for field in type(config).model_fields:
        value = getattr(config, field)
        if isinstance(value, BaseModel) and not isinstance(value, BrokerConfig):
            yield from _addresses(value)
        elif isinstance(value, str) and urlsplit(value).scheme in PORTS and urlsplit(value).hostname:
            parts = urlsplit(value)
            yield f"{parts.scheme}://{parts.hostname}:{parts.port or PORTS[parts.scheme]}"


def _server(url: str, config: SourceConfig) -> Server:
    parts = urlsplit(url)
    ca_file, verify = _trust(config)
    is_encrypted = parts.scheme in ("https", "wss")
    return Server(parts.hostname or "", parts.port or PORTS[parts.scheme], is_encrypted, ca_file, verify)


def _trust(config: BaseModel) -> tuple[str | None, bool]:
    """`ca_file` and `verify`, of the source or of the rules of one of its ways."""
    ways = [
        config,
        *(value for name in type(config).model_fields if isinstance(value := getattr(config, name), BaseModel)),
    ]
    way = next((way for way in ways if hasattr(way, "ca_file") and not isinstance(way, BrokerConfig)), None)
    return getattr(way, "ca_file", None), getattr(way, "verify", True)


def _said(chart: Chart, running: Mapping[str, Any]) -> Finding:
    if running["state"] == "Connected":
        return chart.ok("login", f"the running bridge is connected, values of {running['last_update'] or 'no time'}")
    sentence = f"the running bridge says {running['state']}: {running['reason']}"
    return chart.fault("login", sentence, running["advice"] or "Wait: the bridge tries again by itself")


async def _tried(chart: Chart, site: Site, name: str, clock: Clock) -> Findings:
    house = Surroundings(clock, frozenset(), _NoMemory(), site.file.bridge.calendar, site.identities(name))
    source = make_source(name, site.file.sources[name], house)
    if isinstance(source, Probing):
        async for one in _probed(chart, source):
            yield one
    heard: list[Published] = []
    try:
        await _listen(source, heard)
    except AuthFailed as error:
        yield chart.fault("login", str(error), error.advice or "Check the user name and password of this source")
    except RateLimited as error:
        step = f"Wait {error.retry_after:.0f} s. What else uses this account?"
        yield chart.warning("login", f"the vendor asks to be asked less often: {error}", step)
    except NotConnected as error:
        yield chart.fault("login", str(error), error.advice or "Is the vendor's system on?")
    except SourceError as error:
        yield chart.fault("login", f"the vendor's answer is not understood: {error}", "Record it: plantbridge record")
    else:
        for one in heard_findings(chart, heard, config_type=site.file.sources[name].type):
            yield one


async def _probed(chart: Chart, source: Probing) -> Findings:
    """What the server speaks, by the vendor's own room."""
    try:
        async with asyncio.timeout(LOGIN_S):
            said = await source.probe()
    except (SourceError, TimeoutError) as error:
        yield chart.fault("server", str(error) or "no answer in time", "Is this address that of the vendor's API?")
    else:
        if said.advice:
            yield chart.fault("server", said.sentence, said.advice)
        else:
            yield chart.ok("server", said.sentence)


async def listen(site: Site, name: str, clock: Clock, seconds: float, take: Callable[[Published], None]) -> None:
    """Run a source for a while, all of its machines, and remember nothing. Raises SourceError where it cannot."""
    house = Surroundings(clock, None, _NoMemory(), site.file.bridge.calendar, site.identities(name))
    source = make_source(name, site.file.sources[name], house)
    serving = asyncio.create_task(source.run(take), name=f"discover {name}")
    try:
        await asyncio.wait({serving}, timeout=seconds)
        if serving.done():
            serving.result()
    finally:
        serving.cancel()
        with suppress(asyncio.CancelledError, SourceError):
            await serving


async def _listen(source: Source, heard: list[Published]) -> None:
    """Run a source until it has told of its machines, or for LOGIN_S. Raises SourceError."""
    known = asyncio.Event()

    def publish(item: Published) -> None:
        heard.append(item)
        if isinstance(item, Inventory | Observation | Condition):
            known.set()

    serving = asyncio.create_task(source.run(publish), name=f"doctor {source.name}")
    waiting = asyncio.create_task(known.wait(), name=f"doctor waits for {source.name}")
    try:
        await asyncio.wait({serving, waiting}, timeout=LOGIN_S, return_when=asyncio.FIRST_COMPLETED)
        if not serving.done() and known.is_set():
            await asyncio.wait({serving}, timeout=SETTLE_S)
        if serving.done():
            serving.result()
    finally:
        for task in (serving, waiting):
            task.cancel()
        with suppress(asyncio.CancelledError, SourceError):
            await serving


def heard_findings(chart: Chart, heard: list[Published], config_type: str) -> Iterator[Finding]:
    """What a source said when it was tried, as findings."""
    machines = {found.key for item in heard if isinstance(item, Inventory) for found in item.appeared}
    if machines:
        shown = ", ".join(sorted(machines)[:5]) + (" …" if len(machines) > 5 else "")
        yield chart.ok("login", f"it let us in and lists {counted(len(machines), 'machine')}: {shown}")
    elif heard:
        yield chart.warning("login", "it answers and lists no machine", "Is a machine on? Does this account see any?")
    else:
        step = "Is this the address of the vendor's API?"
        yield chart.fault("login", f"it said nothing within {LOGIN_S:.0f} s", step)
    yield from _troubles(chart, heard)
    readings = {item.name: item.value for item in heard if isinstance(item, Reading)}
    offset = readings.get("ClockOffset")
    if isinstance(offset, int | float):
        yield _clock(chart, float(offset))
    if readings.get("Profile") is not None:
        yield chart.ok("profile", f"{config_type} {readings['Profile']}")


def _troubles(chart: Chart, heard: list[Published]) -> Iterator[Finding]:
    """What a source that goes on says is wrong: one of its two ways, one of its machines."""
    told = {(item.reason, item.advice, item.status, item.machine) for item in heard if isinstance(item, Condition)}
    for reason, advice, status, machine in sorted(told, key=str):
        if status.is_good:
            continue
        sentence = f"{machine}: {reason}" if machine else reason
        step = advice or "Look at the vendor's system"
        is_refused = status is StatusCode.BadConfigurationError
        yield chart.fault("login", sentence, step) if is_refused else chart.warning("machines", sentence, step)


def _clock(chart: Chart, offset: float) -> Finding:
    sentence = f"the vendor's clock is {abs(offset):.1f} s {'ahead of' if offset > 0 else 'behind'} this computer's"
    if abs(offset) < LARGE_OFFSET_S:
        return chart.ok("clock", sentence)
    return chart.warning("clock", sentence, "Let both computers keep their time by NTP: timedatectl set-ntp true")
