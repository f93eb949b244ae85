"""Finding: what one look showed, and what to do about it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How bad it is."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing; nothing is wrong."""
    WARNING = "warning"
    """It works, and is not as it should be, or will not work for long."""
    FAULT = "fault"
    """It does not work."""
    SKIPPED = "skipped"
    """It was not looked at; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One look. `subject` is what was looked at ("source panel-1"), `check` how ("TLS")."""

    subject: str
    check: str
    verdict: Verdict
    sentence: str
    next_step: str = ""


Findings = AsyncIterator[Finding]


class Chart:
    """Findings of one subject."""

    def __init__(self, subject: str) -> None:
        self._subject = subject

    def ok(self, check: str, sentence: str) -> Finding:
        """It is well."""
        return Finding(self._subject, check, Verdict.OK, sentence)

    def note(self, check: str, sentence: str, next_step: str = "") -> Finding:
        """Worth knowing."""
        return Finding(self._subject, check, Verdict.NOTE, sentence, next_step)

    def warning(self, check: str, sentence: str, next_step: str) -> Finding:
        """Not as it should be."""
        return Finding(self._subject, check, Verdict.WARNING, sentence, next_step)

    def fault(self, check: str, sentence: str, next_step: str) -> Finding:
        """It does not work."""
        return Finding(self._subject, check, Verdict.FAULT, sentence, next_step)

    def skipped(self, check: str, why: str) -> Finding:
        """It was not looked at."""
        return Finding(self._subject, check, Verdict.SKIPPED, why)
