"""A site's Iotistica installation, played by the simulator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from bridge.sim.cast import Cast, NoSimulator
from bridge.sim.clock import VirtualClock
from bridge.sim.iotistica.behaviour import Behaviour
from bridge.sim.iotistica.plant import Agent, default_agent
from bridge.sim.iotistica.server import PASSWORD, USERNAME, Iotistica
from bridge.sim.iotistica.uplink import MqttAccess
from bridge.sources.iotistica.config import IotisticaConfig
from bridge.sources.iotistica.mqtt.config import MqttRules
from bridge.transport.mqtt_config import BrokerConfig

DEVICES = 3
SEED = 1
AGENTS_AFTER_S = 8.0
"""The bridge is started after its vendors; an agent's first report, the only whole one, is for it."""
INCIDENTS_EVERY_S = 300.0


@asynccontextmanager
async def played(config: IotisticaConfig, cast: Cast) -> AsyncIterator[IotisticaConfig]:
    """The source's configuration, pointed at an installation with its tenant, its login and these agents.

    Where the source's broker is the one inside the bridge its agents are clients there, else of a broker of their own.
    Raises NoSimulator.
    """
    clock = VirtualClock()
    agents = agents_of(config, cast, clock)
    async with AsyncExitStack() as stack:
        broker = await _broker(config.mqtt, cast, stack) if config.mqtt is not None else None
        rest = config.rest
        vendor = Iotistica(
            agents,
            tenant=config.tenant,
            username=rest.username if rest is not None else USERNAME,
            email=rest.username if rest is not None else "bridge@plant.example",
            password=rest.password.get_secret_value() if rest is not None else PASSWORD,
            behaviour=Behaviour(profile="documented" if config.profile == "documented" else "actual"),
            broker=None if broker is None else _access(broker),
            agents_after_s=AGENTS_AFTER_S,
            incidents_every_s=INCIDENTS_EVERY_S,
            clock=clock,
            seed=SEED,
        )
        for agent in agents:
            key = rest.device_keys.get(agent.uuid) if rest is not None else None
            agent.device_key = key.get_secret_value() if key is not None else ""
        await stack.enter_async_context(vendor)
        update: dict[str, object] = {}
        if config.mqtt is not None:
            update["mqtt"] = config.mqtt.model_copy(update={"broker": broker})
        if rest is not None:
            update["rest"] = rest.model_copy(update={"url": f"{vendor.url}/api/v1", "ca_file": None})
        yield config.model_copy(update=update)


def agents_of(config: IotisticaConfig, cast: Cast, clock: VirtualClock) -> list[Agent]:
    """The agents that are named, each with a few devices; one where none is."""
    named = [str(machine.identity["agent"]) for machine in cast.machines]
    listed = () if config.agents == "all" else config.agents
    uuids = tuple(dict.fromkeys((*named, *listed))) or (None,)
    return [default_agent(number, DEVICES, SEED, clock.now(), uuid) for number, uuid in enumerate(uuids)]


async def _broker(rules: MqttRules, cast: Cast, stack: AsyncExitStack) -> BrokerConfig:
    if cast.is_ours is not None and cast.is_ours(rules.broker.host, rules.broker.port):
        return rules.broker
    if cast.open_broker is None:
        raise NoSimulator("its agents need an MQTT broker to be played at: broker: {enabled: true}, and mqtt at it")
    return BrokerConfig(port=await stack.enter_async_context(cast.open_broker()))


def _access(broker: BrokerConfig) -> MqttAccess:
    password = broker.password.get_secret_value() if broker.password is not None else None
    return MqttAccess(broker.host, broker.port, broker.username, password)
