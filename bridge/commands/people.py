"""People: from the badge number or user name a command was given to the e-mail address its vendor wants. Pure.

    "0451" or "anna" -> the address the site has for it, exactly as written, else without regard to case
    "anna@acme.example" -> itself, unless only people of the site are taken
    "" -> who is logged in, where the door knows and has an address; else the argument's default

The address goes into the vendor's payload and nowhere else: whatever is shown or kept has the text as it was given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from bridge.commands.check import NotAccepted
from bridge.model.command import Argument
from bridge.model.email import is_email
from bridge.model.status import StatusCode
from bridge.model.value import Value

PADDING = " \t\r\n\0"
"""What PLCs fill a STRING up with."""


class People:
    """Who is known, by badge number and user name.

    Args:
        emails: the address of each badge number or user name.
        only: an address is not taken for itself, so that nobody who is not listed is booked.
    """

    def __init__(self, emails: Mapping[str, str] = MappingProxyType({}), *, only: bool = False) -> None:
        self._emails = dict(emails)
        self._folded = {name.casefold(): email for name, email in emails.items()}
        self._only = only

    def __repr__(self) -> str:
        return f"People({len(self._emails)}, only={self._only})"

    def resolved(self, arguments: Sequence[Argument], given: Mapping[str, Value], user: str) -> Mapping[str, Value]:
        """The arguments with an e-mail address for each person. Raises NotAccepted for who is not known."""
        persons = {argument.name: argument for argument in arguments if argument.person}
        if not persons:
            return given
        return {
            name: self._person(persons[name], str(value), user) if name in persons else value
            for name, value in given.items()
        }

    def _person(self, argument: Argument, given: str, user: str) -> str:
        text = given.strip(PADDING)
        if text:
            return self._email(argument.name, text)
        own = self._known(user) if user else None
        if own is not None:
            return own
        if argument.default is None:
            raise _nobody(argument.name, user)
        default = str(argument.default)
        return self._email(argument.name, default) if default else ""

    def _email(self, name: str, text: str) -> str:
        known = self._known(text)
        if known is not None:
            return known
        if "@" not in text:
            raise _unknown(f"{name}: {text!r} is no badge number or user name in commands: people; add it there")
        if self._only:
            raise _unknown(f"{name}: give a badge number or user name of commands: people; people_only is set")
        if not is_email(text):
            raise _unknown(f"{name} is no e-mail address; give one, or a badge number or user name in commands: people")
        return text

    def _known(self, text: str) -> str | None:
        return self._emails.get(text) or self._folded.get(text.casefold())


def _nobody(name: str, user: str) -> NotAccepted:
    who = f"the login {user!r} has no email" if user else "this door does not know who asks"
    return _unknown(f"{name} is empty, and {who}; give a badge number or user name in commands: people")


def _unknown(sentence: str) -> NotAccepted:
    return NotAccepted(StatusCode.BadInvalidArgument, sentence)
