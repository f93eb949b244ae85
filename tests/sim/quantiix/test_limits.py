"""100 a minute, counted in every way the page leaves open."""

from __future__ import annotations

import pytest

from tests.sim.quantiix.vendor import Client, quantiix


async def statuses(client: Client, call: str, count: int) -> dict[int, int]:
    found: dict[int, int] = {}
    for _ in range(count):
        status = (await client.get(call, machineId="MACHINE_001")).status_code
        found[status] = found.get(status, 0) + 1
    return found


@pytest.mark.parametrize("window", ["fixed", "sliding"])
async def test_hundred_and_first_request_in_a_minute_is_429(window: str) -> None:
    async with quantiix(window=window) as client:
        assert await statuses(client, "machineState", 60) == {200: 60}
        assert await statuses(client, "machineInfo", 42) == {200: 40, 429: 2}
        client.vendor.faults.advance(60)
        assert await statuses(client, "machineState", 1) == {200: 1}


@pytest.mark.parametrize(("window", "second"), [("fixed", {200: 100}), ("sliding", {429: 100})])
async def test_fixed_window_forgets_at_the_full_minute_and_a_sliding_one_does_not(
    window: str, second: dict[int, int]
) -> None:
    async with quantiix(window=window) as client:
        client.vendor.clock.advance(60 - client.vendor.clock.monotonic() % 60 - 1)
        client.vendor.faults.spend(100)
        client.vendor.faults.advance(2)
        assert await statuses(client, "machineState", 100) == second


async def test_each_path_has_its_own_counter_where_switched() -> None:
    async with quantiix(counter="path") as client:
        assert client.vendor.faults.spend(150) == 100
        assert await statuses(client, "machineState", 1) == {429: 1}
        assert await statuses(client, "machineInfo", 1) == {200: 1}


async def test_token_does_not_matter_to_the_counter() -> None:
    async with quantiix() as client:
        client.vendor.faults.spend(100)
        await client.log_in()
        assert await statuses(client, "machineState", 1) == {429: 1}


async def test_rejected_for_the_token_is_not_counted_and_rejected_for_a_parameter_is() -> None:
    async with quantiix() as client:
        client.vendor.faults.spend(98)
        assert [(await client.get("machineInfo", token="x")).status_code for _ in range(3)] == [401] * 3
        assert (await client.get("machineState")).status_code == 422
        assert await statuses(client, "machineState", 2) == {200: 1, 429: 1}


async def test_429_is_mute_unless_switched() -> None:
    async with quantiix(window="sliding") as client:
        client.vendor.faults.spend(100)
        client.vendor.faults.advance(20.5)
        mute = await client.get("machineInfo")
        assert (mute.status_code, mute.content) == (429, b"")
        assert "retry-after" not in mute.headers
        client.vendor.faults.behave("throttle_body", "json")
        client.vendor.faults.behave("retry_after", "on")
        talking = await client.get("machineInfo")
        assert talking.json() == {"message": "Too Many Requests"}
        assert talking.headers["retry-after"] == "40"
        client.vendor.faults.advance(40)
        assert (await client.get("machineInfo")).status_code == 200
