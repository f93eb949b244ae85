"""Values as PLC sources write them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridge.model.value import Value

SINGLE_BYTE, DOUBLE_BYTE = 2, 4
"""Hexadecimal digits of a character that is written by its number (IEC 61131-3, 6.3.3)."""


def assignment(value: Value, *, prefix: str = "", digits: int = SINGLE_BYTE) -> str:
    """What comes after a declaration: " := 1.5"; nothing for what has no literal here, and for a zero."""
    if not value or not isinstance(value, bool | int | float | str):
        return ""
    if isinstance(value, str):
        return f" := {prefix}'{''.join(_letter(letter, digits) for letter in value)}'"
    return f" := {'TRUE' if value is True else repr(value)}"


def _letter(letter: str, digits: int) -> str:
    if letter in "$'":
        return f"${letter}"
    if letter.isascii() and letter.isprintable():
        return letter
    number = f"{ord(letter):0{digits}X}"
    return f"${number}" if len(number) == digits else "?"


__all__ = ["DOUBLE_BYTE", "SINGLE_BYTE", "assignment"]
