"""What every test gets."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests import peers

settings.register_profile("shared computer", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared computer")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the long tests."""
    parser.addoption(
        "--seed", type=int, help="Seed of what is random in soak tests; a random one where it is not given"
    )
    parser.addoption("--broker-faults", type=int, default=60, help="Faults of an MQTT broker in its soak test")
    parser.addoption("--schedules", type=int, default=1000, help="Crashes of a bridge in its soak test")


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The seed that was asked for, or one that the test is to tell."""
    given = request.config.getoption("--seed")
    return random.randrange(10**6) if given is None else int(given)


@pytest.fixture
def schedules(request: pytest.FixtureRequest) -> int:
    """How many schedules a soak runs."""
    return int(request.config.getoption("--schedules"))


@pytest.fixture
def broker_faults(request: pytest.FixtureRequest) -> int:
    """How often a broker fails in a soak."""
    return int(request.config.getoption("--broker-faults"))


@pytest.fixture(scope="session", autouse=True)
def standard_nodes() -> Iterator[None]:
    """OPC UA servers of this process share the making of the standard nodes, where a test has any server at all."""
    if "bridge.northbound.opcua.stack.standard" not in sys.modules:
        yield
        return
    from tests.standard_nodes import made_once

    with made_once():
        yield


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose peer is absent, or fail it where peers are required."""
    for marker in item.iter_markers("peer"):
        for name in marker.args:
            why = peers.missing(name)
            if why is None:
                continue
            if peers.are_required():
                pytest.fail(why, pytrace=False)
            pytest.skip(why)
