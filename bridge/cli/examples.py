"""Examples at the end of `--help`."""

from __future__ import annotations


def examples(*commands: str) -> str:
    """An epilog that shows commands to paste, one a line, not re-wrapped by click."""
    return "\b\nExamples:\n" + "\n".join(f"  {command}" for command in commands)
