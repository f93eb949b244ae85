"""What may be written about an account, and how faults are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.errors import ConfigError
from tests.sites import make_site

HEAD = "version: 1\nbridge: {name: b, enterprise: acme, site: essen, state_directory: state}\nsources:\n"
ACCOUNT = "{type: quantiix, email: me@acme.example, password: secret-word"


def faults(folder: Path, *sources: str, machines: int = 0) -> list[str]:
    lines = [f"  {name}: {ACCOUNT}{more}}}\n" for name, more in zip("abc", sources, strict=False)]
    names = [f"  - {{id: m-{n}, source: a, machine: {{unique_id: M{n}}}}}\n" for n in range(machines)]
    try:
        make_site(folder, HEAD + "".join(lines) + ("machines:\n" + "".join(names) if names else ""))
    except ConfigError as error:
        assert "secret-word" not in str(error)
        assert "me@acme" not in str(error)
        return [str(fault).partition("bridge.yaml:")[2] for fault in error.faults]
    return []


@pytest.mark.parametrize(
    ("sources", "problem"),
    [
        (("", ""), "a, b use one account and take 2 of its limit together"),
        ((", share: 0.5", ", share: 0.6"), "take 1.1 of its limit"),
        ((", share: 0.5", ", share: 0.5"), None),
        ((", share: 0.4", ", share: 0.3", ", share: 0.3"), None),
        ((", share: 0.4", ", share: 0.4", ", share: 0.4"), "such as 0.33 each"),
        (("", ", url: https://quantiix.acme.example"), None),
        ((", url: https://q.acme.example", ", url: http://Q.acme.example:80/api/v1/"), "of its limit"),
    ],
)
def test_sources_of_one_account_take_no_more_than_its_limit(
    tmp_path: Path, sources: tuple[str, ...], problem: str | None
) -> None:
    told = faults(tmp_path, *sources)
    if problem is None:
        assert told == []
    else:
        assert len(told) == 1
        assert problem in told[0]
        assert "share" in told[0].split(": ")[1]


def test_another_user_of_the_same_host_has_a_limit_of_its_own(tmp_path: Path) -> None:
    site = HEAD + f"  a: {ACCOUNT}}}\n  b: {ACCOUNT.replace('me@', 'you@')}}}\n"
    assert set(make_site(tmp_path, site).file.sources) == {"a", "b"}


@pytest.mark.parametrize(
    ("more", "machines", "arithmetic"),
    [
        ("", 72, None),
        ("", 73, "60 × 73 / 72.7 = 60.2 s"),
        (", state_period: 30s", 38, None),
        (", state_period: 30s", 39, "60 × 39 / 76.1 = 30.7 s"),
        (", share: 0.5", 40, "60 × 40 / 36 = 66.7 s"),
        (", activity_period: 60s", 17, "60 × 17 / 16 = 63.8 s"),
    ],
)
def test_a_period_that_the_limit_does_not_allow_is_refused_with_the_arithmetic(
    tmp_path: Path, more: str, machines: int, arithmetic: str | None
) -> None:
    told = faults(tmp_path, more, machines=machines)
    assert told == [] if arithmetic is None else arithmetic in told[0]
