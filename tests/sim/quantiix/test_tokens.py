"""Authentication, as a client meets it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import httpx
import pytest

from bridge.sim.quantiix.server import EMAIL
from tests.sim.quantiix.vendor import NOON_MS, quantiix


def decoded(part: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def encoded(content: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


async def test_token_is_a_signed_jwt_of_a_day() -> None:
    async with quantiix() as client:
        header, claims, _ = client.token.split(".")
        assert header == "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9"  # the vendor's page
        assert decoded(header) == {"typ": "JWT", "alg": "HS256"}
        assert decoded(claims)["iat"] == NOON_MS // 1000
        assert decoded(claims)["exp"] - decoded(claims)["iat"] == 24 * 3600


async def test_answer_holds_nothing_but_the_token() -> None:
    async with quantiix(logged_in=False) as client:
        assert set((await client.log_in()).json()) == {"token"}


@pytest.mark.parametrize(("email", "password"), [(EMAIL, "wrong"), ("nobody@example.com", "your_password"), ("", "")])
async def test_wrong_credentials_are_401(email: str, password: str) -> None:
    async with quantiix(logged_in=False) as client:
        assert (await client.log_in(email, password)).status_code == 401


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"userEmail":"user@example.com"}', b'{"userEmail":1,"password":2}']
)
async def test_login_without_what_is_required_is_422(body: bytes) -> None:
    async with quantiix(logged_in=False) as client:
        assert (await client.http.post("security/getAPIToken", content=body)).status_code == 422


@pytest.mark.parametrize("path", ["machineInfo", "machineState?machineId=MACHINE_001", "machineActivity"])
async def test_without_a_good_token_everything_else_is_401(path: str) -> None:
    async with quantiix() as client:
        header, claims, signature = client.token.split(".")
        forged = encoded({"typ": "JWT", "alg": "HS256"}) + "." + claims
        foreign = base64.urlsafe_b64encode(hmac.new(b"my own", forged.encode(), hashlib.sha256).digest()).decode()
        longer = encoded({**decoded(claims), "exp": NOON_MS})
        unsigned = encoded({"typ": "JWT", "alg": "none"})
        for headers in (
            {},
            {"Authorization": ""},
            {"Authorization": "Bearer"},
            {"Authorization": client.token},
            {"Authorization": "Bearer garbage"},
            {"Authorization": "Bearer a.b.c"},
            {"Authorization": f"Bearer {header}.{longer}.{signature}"},
            {"Authorization": f"Bearer {unsigned}.{claims}."},
            {"Authorization": f"Bearer {forged}.{foreign.rstrip('=')}"},
            {"Authorization": f"Basic {client.token}"},
        ):
            assert (await client.http.get(path, headers=headers)).status_code == 401, headers


async def test_token_ends_after_24_hours_and_not_before() -> None:
    async with quantiix() as client:
        client.vendor.faults.advance(24 * 3600 - 1)
        assert (await client.get("machineInfo")).status_code == 200
        client.vendor.faults.advance(1)
        assert (await client.get("machineInfo")).status_code == 401
        assert (await client.log_in()).status_code == 200
        assert (await client.get("machineInfo")).status_code == 200


@pytest.mark.parametrize(("tokens", "status"), [("multiple", 200), ("single", 401)])
async def test_new_token_ends_the_earlier_one_only_in_single_mode(tokens: str, status: int) -> None:
    async with quantiix(tokens=tokens) as client:
        first = client.token
        await client.log_in()
        assert client.token != first
        assert (await client.get("machineInfo", token=first)).status_code == status
        assert (await client.get("machineInfo")).status_code == 200


async def test_tokens_can_be_ended_and_the_password_changed() -> None:
    async with quantiix() as client:
        client.vendor.faults.set_password("new")
        assert (await client.get("machineInfo")).status_code == 200
        client.vendor.faults.end_tokens()
        assert (await client.get("machineInfo")).status_code == 401
        assert (await client.log_in()).status_code == 401
        assert (await client.log_in(password="new")).status_code == 200
        assert (await client.get("machineInfo")).status_code == 200


async def test_eleventh_login_in_a_minute_is_429_whether_right_or_wrong() -> None:
    async with quantiix(logged_in=False, window="sliding") as client:
        assert [(await client.log_in(password="wrong")).status_code for _ in range(5)] == [401] * 5
        assert [(await client.log_in()).status_code for _ in range(6)] == [200] * 5 + [429]
        assert (await client.get("machineInfo")).status_code == 200, "logins are counted apart"
        client.vendor.faults.advance(60)
        assert (await client.log_in()).status_code == 200
        statuses = [(await client.log_in("nobody@example.com")).status_code for _ in range(11)]
        assert statuses == [401] * 10 + [429]


async def test_journal_holds_neither_password_nor_token() -> None:
    async with quantiix() as client:
        await client.get("machineInfo")
        assert client.vendor.control is not None
        async with httpx.AsyncClient() as other:
            text = (await other.get(f"{client.vendor.control.url}/journal")).text
        assert "your_password" not in text
        assert client.token not in text
        assert [(entry.path, entry.account) for entry in client.vendor.journal] == [
            ("/api/v1/security/getAPIToken", ""),
            ("/api/v1/machineInfo", EMAIL),
        ]
