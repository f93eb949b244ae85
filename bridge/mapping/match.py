"""`match:`: which machines a mapping is for, by what is known of their identity."""

from __future__ import annotations

from collections.abc import Mapping

from bridge.mapping.schema import Scalar


def matches(match: Mapping[str, Scalar | list[Scalar]], identity: Mapping[str, str | int]) -> bool:
    """It is for machines with this identity. A mapping that asks nothing is for none."""
    return bool(match) and all(_fits(wanted, identity.get(key)) for key, wanted in match.items())


def may_match(match: Mapping[str, Scalar | list[Scalar]], identity: Mapping[str, str | int]) -> bool:
    """It matches, or would once more of the identity is known."""
    return bool(match) and all(key not in identity or _fits(wanted, identity[key]) for key, wanted in match.items())


def _fits(wanted: Scalar | list[Scalar], value: str | int | None) -> bool:
    return value in wanted if isinstance(wanted, list) else value == wanted
