"""Authentication and limits, as a client meets them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.sim.iotistica.vendor import iotistica


def claims(token: str) -> Any:
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


async def test_token_has_the_vendors_claims_and_ends_after_15_minutes() -> None:
    async with iotistica() as client:
        told = claims(client.token)
        wanted = {"userId", "username", "email", "role", "type", "iat", "iss", "aud", "exp"}
        assert wanted <= set(told)
        assert (told["iss"], told["aud"], told["type"]) == ("iotistic-api", "iotistic-dashboard", "access")
        assert told["exp"] - told["iat"] == 900
        client.vendor.faults.advance(899)
        assert (await client.get("/agents")).status_code == 200
        client.vendor.faults.advance(1)
        expired = await client.get("/agents")
        assert (expired.status_code, expired.json()["message"]) == (401, "Invalid or expired token")


async def test_forged_tokens_are_refused() -> None:
    async with iotistica() as client:
        header, payload, signature = client.token.split(".")
        longer = base64.urlsafe_b64encode(json.dumps({**claims(client.token), "exp": 1 << 40}).encode()).decode()
        none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').decode().rstrip("=")
        for token in (f"{header}.{longer.rstrip('=')}.{signature}", f"{none}.{payload}.", f"{header}.{payload}.", "x"):
            assert (await client.get("/agents", Authorization=f"Bearer {token}")).status_code == 401, token


async def test_refresh_gives_no_new_refresh_token_and_logout_takes_them_all() -> None:
    async with iotistica() as client:
        answer = await client.http.post("/api/v1/auth/refresh", json={"refreshToken": client.refresh})
        assert set(answer.json()["data"]) == {"accessToken"}
        assert (await client.call("POST", "/api/v1/auth/logout")).status_code == 200
        answer = await client.http.post("/api/v1/auth/refresh", json={"refreshToken": client.refresh})
        assert answer.status_code == 401


async def test_refresh_token_ends_after_seven_days() -> None:
    async with iotistica() as client:
        client.vendor.faults.advance(7 * 24 * 3600)
        answer = await client.http.post("/api/v1/auth/refresh", json={"refreshToken": client.refresh})
        assert answer.status_code == 401


async def test_documented_login_takes_an_email_and_answers_flat() -> None:
    async with iotistica(profile="documented") as client:
        answer = await client.log_in()
        assert set(answer.json()) == {"accessToken", "refreshToken", "expiresIn"}
        assert answer.json()["expiresIn"] == 3600
        assert (await client.log_in(username="bridge", password="Simulated-1")).status_code == 400
        answer = await client.http.post("/api/v1/auth/refresh", json={"refreshToken": client.refresh})
        assert "refreshToken" in answer.json()
        again = await client.http.post("/api/v1/auth/refresh", json={"refreshToken": client.refresh})
        assert again.status_code == 401, "the pair before is no longer good"


async def test_password_to_be_changed_comes_without_a_refresh_token() -> None:
    async with iotistica(logged_in=False) as client:
        client.vendor.faults.must_change_password()
        answer = (await client.log_in()).json()["data"]
        assert answer["mustChangePassword"] is True
        assert "refreshToken" not in answer


async def test_one_address_shares_one_bucket_and_inner_limits_count_in_the_outer() -> None:
    async with iotistica(logged_in=False) as client:
        await client.log_in()
        first = await client.get("/agents")
        assert first.headers["x-ratelimit-remaining"] == "298"
        inner = await client.get(f"/agents/{client.agent.uuid}/device-health")
        assert (inner.headers["x-ratelimit-limit"], inner.headers["x-ratelimit-remaining"]) == ("1000", "999")
        assert (await client.get("/agents")).headers["x-ratelimit-remaining"] == "296"
        client.vendor.faults.spend(296)
        refused = await client.get("/agents")
        assert refused.status_code == 500
        assert refused.json()["error"] == "Too many requests"
        assert refused.headers["retry-after"] == "60"
        client.vendor.faults.advance(59)
        assert (await client.get("/agents")).json()["retryAfter"] == "1 second"
        client.vendor.faults.advance(1)
        assert (await client.get("/agents")).status_code == 200


async def test_documented_limit_is_1000_and_429() -> None:
    async with iotistica(profile="documented") as client:
        client.vendor.faults.spend(999)
        answer = await client.get("/agents")
        assert (answer.status_code, answer.headers["x-ratelimit-limit"]) == (429, "1000")


@pytest.mark.parametrize(("role", "status"), [("viewer", 403), ("admin", 200)])
async def test_audit_events_are_for_administrators(role: str, status: int) -> None:
    async with iotistica(role=role) as client:
        assert (await client.get("/events/recent")).status_code == status


async def test_device_key_opens_what_a_token_does_not() -> None:
    async with iotistica() as client:
        path = f"/agents/{client.agent.uuid}/target-state"
        assert (await client.get(path)).status_code == 401
        assert (await client.get(path, X_Device_API_Key="k" * 64)).status_code == 200
        assert (await client.get(path, X_Device_API_Key="x")).status_code == 401


async def test_journal_holds_neither_password_nor_token() -> None:
    async with iotistica() as client:
        await client.get("/agents")
        text = str(client.vendor.journal.as_json())
        assert "Simulated-1" not in text
        assert client.token not in text
        assert [entry.account for entry in client.vendor.journal] == ["", "bridge"]


async def test_tokens_can_be_ended() -> None:
    async with iotistica() as client:
        client.vendor.faults.end_tokens()
        assert (await client.get("/agents")).status_code == 401
        assert (await client.log_in()).status_code == 200
        assert (await client.get("/agents")).status_code == 200


async def test_a_device_with_the_old_name_of_another_is_another_device() -> None:
    async with iotistica() as client:
        faults, agent = client.vendor.faults, client.agent
        before = agent.devices[0]
        name = before.name
        faults.rename_device(agent.name, name, "Press")
        assert faults.add_device(agent.name, name) != before.endpoint_uuid
        assert len({device.uuid for device in agent.devices}) == len(agent.devices)
        assert [device.name for device in agent.devices].count(name) == 1
