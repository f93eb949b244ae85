"""Masking: what is secret or personal in a command, before anybody writes the command down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bridge.model.email import HIDDEN, without_emails
from bridge.model.secret import is_secret

if TYPE_CHECKING:
    from bridge.model.command import Command, ItemOutcome, Outcome
    from bridge.model.value import Value

MASK = "***"
"""What stands where a secret was."""

_SHORTEST = 3
"""Characters of a secret that is looked for inside a text; a shorter one would hide half of it."""


_LARGEST = 2**64
"""Python refuses to spell integers of thousands of digits; nobody's secret is one."""


def is_masked(tree: Any) -> bool:
    """Whether a secret was masked anywhere in it."""
    if isinstance(tree, Mapping):
        return any(is_masked(item) for item in tree.values())
    if isinstance(tree, list | tuple):
        return any(is_masked(item) for item in tree)
    return isinstance(tree, str) and tree == MASK


def is_impersonal(arguments: Mapping[str, Value]) -> bool:
    """Whether an e-mail address was taken out of it."""
    return any(isinstance(value, str) and HIDDEN in value for value in arguments.values())


def impersonal(outcome: Outcome) -> Outcome:
    """The outcome without the e-mail addresses in what anybody said."""
    items = tuple(replace(item, sentence=without_emails(item.sentence)) for item in outcome.items)
    sentence, words = without_emails(outcome.sentence), without_emails(outcome.vendor_text)
    return replace(outcome, sentence=sentence, vendor_text=words, items=items)


def discreet(command: Command, outcome: Outcome) -> Outcome:
    """The outcome as whoever asked may be told it: some doors answer where everybody can read it."""
    return impersonal(Secrets(command).outcome(outcome))


def without_secrets(command: Command) -> Command:
    """The command as the journal keeps it and all may see it: compare with this, not with the command that came."""
    return Secrets(command).command(command)


class Secrets:
    """The secrets of one command; kept in memory only, and only while the command is under way.

    E-mail addresses are no secrets, but personal: they are hidden wherever they stand.
    """

    def __init__(self, command: Command) -> None:
        self._target = is_secret(command.target.rpartition(".")[2])
        self._names = {name for name in command.arguments if self._target or is_secret(name)}
        values = [value for name, value in command.arguments.items() if name in self._names]
        self._values = [value for value in values if value is not None and not isinstance(value, bool)]
        texts = [str(value) for value in self._values if not isinstance(value, int) or abs(value) < _LARGEST]
        self._texts = sorted((text for text in texts if len(text) >= _SHORTEST), key=len, reverse=True)

    def __bool__(self) -> bool:
        return bool(self._names)

    def command(self, command: Command) -> Command:
        """The command with its secret arguments masked."""
        arguments = {name: MASK if name in self._names else _hidden(value) for name, value in command.arguments.items()}
        return replace(command, arguments=arguments)

    def value(self, value: Value) -> Value:
        """An old or actual value; masked where the target is secret or the value is."""
        if value is None:
            return None
        return MASK if self._target or value in self._values else self.text(value) if isinstance(value, str) else value

    def tree(self, tree: Any) -> Any:
        """JSON: masked below secret names, and where a secret of the command stands."""
        if isinstance(tree, Mapping):
            return {key: MASK if is_secret(str(key)) else self.tree(item) for key, item in tree.items()}
        if isinstance(tree, list | tuple):
            return [self.tree(item) for item in tree]
        return self.text(tree) if isinstance(tree, str) else MASK if tree in self._values else tree

    def text(self, text: str) -> str:
        """A text without the command's secrets in it."""
        for secret in self._texts:
            text = text.replace(secret, MASK)
        return MASK if text in self._values else without_emails(text)

    def item(self, item: ItemOutcome) -> ItemOutcome:
        """One item of a recipe, likewise."""
        return replace(
            item, value=self.value(item.value), sentence=self.text(item.sentence), actual=self.value(item.actual)
        )

    def outcome(self, outcome: Outcome) -> Outcome:
        """The outcome without the command's secrets in what anybody said."""
        return replace(
            outcome,
            sentence=self.text(outcome.sentence),
            actual=self.value(outcome.actual),
            vendor_text=self.text(outcome.vendor_text),
        )


def _hidden(value: Value) -> Value:
    return without_emails(value) if isinstance(value, str) else value
