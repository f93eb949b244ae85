"""Which asyncua this package was written against."""

from __future__ import annotations

from importlib.metadata import version

TESTED = ("2.1",)
"""Minors whose private names the contract tests have seen."""


class UntestedVersion(RuntimeError):
    """Another asyncua is installed than the ones whose private names are known."""


def check(installed: str | None = None) -> None:
    """Raise UntestedVersion unless this minor of asyncua is a tested one."""
    found = installed or version("asyncua")
    minor = ".".join(found.split(".")[:2])
    if minor not in TESTED:
        raise UntestedVersion(
            f"asyncua {found} has not been tested with the OPC UA server, which relies on its inner parts; "
            f"install asyncua {' or '.join(TESTED)}"
        )
