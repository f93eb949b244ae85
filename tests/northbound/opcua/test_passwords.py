"""Salted hashes, and patience with those who guess."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from bridge.northbound.opcua.config import OpcuaUser, Role
from bridge.northbound.opcua.passwords import FREE_FAILURES, MAX_PEERS, BackOff, Passwords, hash_password, matches
from bridge.transport.clock import VirtualClock
from tests.northbound.opcua.house import PASSWORD, users


@pytest.fixture
def workers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


class Counting(ThreadPoolExecutor):
    """Counts how often the slow way was gone."""

    hashed = 0

    def submit(self, *arguments, **options):  # type: ignore[no-untyped-def]
        self.hashed += 1
        return super().submit(*arguments, **options)


def test_a_hash_is_salted_and_matches_only_its_password() -> None:
    first, second = hash_password("a"), hash_password("a")
    assert first != second
    assert matches("a", first)
    assert not matches("b", first)


@pytest.mark.parametrize("text", ["", "scrypt$", "scrypt$1$2$3$4$5", "scrypt$99999999999$8$1$YQ==$YQ==", "plain"])
def test_a_hash_that_cannot_be_read_matches_nothing(text: str) -> None:
    assert not matches("a", text)


async def test_right_password_is_verified_once_and_then_known() -> None:
    with Counting(1) as workers:
        passwords = Passwords(users(), VirtualClock())
        assert not passwords.is_known("operator", PASSWORD)
        assert await passwords.verify("operator", PASSWORD, "peer", workers)
        assert passwords.is_known("operator", PASSWORD)
        assert await passwords.verify("operator", PASSWORD, "peer", workers)
        assert workers.hashed == 1


async def test_known_password_of_one_user_is_not_anothers(workers: ThreadPoolExecutor) -> None:
    both = (*users(), OpcuaUser(name="other", password_hash=hash_password("other"), role=Role.ENGINEER))
    passwords = Passwords(both, VirtualClock())
    assert await passwords.verify("operator", PASSWORD, "peer", workers)
    assert not await passwords.verify("other", PASSWORD, "peer", workers)
    assert not passwords.is_known("other", PASSWORD)


async def test_unknown_user_costs_a_hash_too() -> None:
    with Counting(1) as workers:
        passwords = Passwords(users(), VirtualClock())
        assert not await passwords.verify("nobody", PASSWORD, "peer", workers)
        assert workers.hashed == 1


async def test_guessing_is_slowed_down_per_peer_and_user() -> None:
    clock = VirtualClock()
    with Counting(1) as workers:
        passwords = Passwords(users(), clock)
        for _ in range(4):
            assert not await passwords.verify("operator", "wrong", "peer", workers)
        tried = workers.hashed
        assert not await passwords.verify("operator", PASSWORD, "peer", workers)
        assert workers.hashed == tried, "a peer that must wait is not even heard"
        assert await passwords.verify("operator", PASSWORD, "another peer", workers)
        await clock.advance(1.1)
        assert await passwords.verify("operator", PASSWORD, "peer", workers)


def test_waiting_doubles_up_to_a_minute_and_ends_with_success() -> None:
    clock = VirtualClock()
    back_off = BackOff(clock)
    delays = [back_off.failed("peer", "user") for _ in range(12)]
    assert delays[:6] == [0, 0, 0, 1, 2, 4]
    assert delays[-1] == 60
    back_off.succeeded("peer", "user")
    assert not back_off.is_waiting("peer", "user")


def test_peers_are_forgotten_before_they_fill_the_memory() -> None:
    back_off = BackOff(VirtualClock())
    for number in range(MAX_PEERS + 100):
        for _ in range(4):
            back_off.failed(f"peer {number}", "user")
    assert not back_off.is_waiting("peer 0", "user")
    assert back_off.is_waiting(f"peer {MAX_PEERS + 99}", "user")


async def test_every_login_that_fails_is_told_with_its_reason_and_without_the_password(
    workers: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    passwords = Passwords(users(), VirtualClock())
    for _ in range(5):
        await passwords.verify("operator", "a wrong guess", "10.0.0.1", workers)
    await passwords.verify("nobody", "a wrong guess", "10.0.0.1", workers)
    await passwords.verify("scada", "a wrong guess", "10.0.0.1", workers)
    *free, slowed, unknown, by_certificate = caplog.messages
    assert free == ["Login of 'operator' from 10.0.0.1 failed: wrong password"] * FREE_FAILURES
    assert slowed == f"{free[0]}; refused for 1 s, with the right password too"
    assert "there is no such user" in unknown
    assert "logs in with a certificate" in by_certificate
    assert "guess" not in caplog.text
