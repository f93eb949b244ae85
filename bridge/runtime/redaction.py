"""Redaction: what sources publish, safe to be shown to strangers. Pure: no clock, no I/O; remembers its pseudonyms.

Gone always: what stands below the name of a secret; the secrets of the configuration wherever they stand, also
percent-encoded or in base64; keys, tokens and passwords that a text shows by its form; persons, by e-mail address,
by the name of the key they stand below, or because the configuration names them.
Gone unless `keep_hosts`: IP and MAC addresses and host names, those of this computer excepted.
Gone with `anonymous`: what tells a machine from others of its type, and names people gave to things.

The same word gets the same pseudonym within one recording, so that a replay still tells one from another. What no
rule can see: a person or a customer named in a free text.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, SecretStr

from bridge.commands.masking import MASK
from bridge.model.email import without_emails
from bridge.model.event import Event
from bridge.model.observation import Condition, FoundMachine, Inventory, Observation, Reading
from bridge.model.secret import is_secret
from bridge.sources.replay.plain import DEEPEST

if TYPE_CHECKING:
    from bridge.ports import Published

SHORTEST = 4
"""Characters of a word that is looked for inside other texts; a shorter one would hide half of them."""
REMEMBERED = 10_000
"""Pseudonyms of a kind; beyond, they are all the same."""
_CACHED = 4096
_CACHED_LENGTH = 64

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_SECRET_NAMES = ("authorization", "cookie", "bearer", "jwt", "accesskey", "sessionid", "signature")
_PERSON = re.compile(
    "(user|operator|employee|worker|person|author|supervisor|foreman|assignee|requester)s?|people|email|mail|phone|firstname"
    "|lastname|surname|fullname|username|badge|login"
)
_GIVEN = re.compile("name|label|description|comment|note|customer|factory|company|plant|site|location|address|title")
_SERIAL = re.compile("serials?|serial(number|no)|uuid|guid|uniqueid|deviceid|machineuniqueid|mac|imei")

_PEM = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]{0,30}PRIVATE KEY-----|\Z)", re.DOTALL
)
_JWT = re.compile(r"\beyJ[\w-]{5,}\.[\w-]+(?:\.[\w-]*)*")
_SCHEME = re.compile(r"\b(Bearer|Basic|Digest)\s{1,5}[^\s\"',;]{8,}", re.IGNORECASE)
_ASSIGNED = re.compile(
    r"""((?:passw|passphrase|passcode|kennwort|secret|token|credential|api[_-]?key|private[_-]?key|cookie|authorization"""
    r"""|sessionid|signature|\bpwd)[\w.-]{0,40}["']?\s{0,5}[=:]\s{0,5})("[^"]*"?|'[^']*'?|[^\s&"',;}\])]+)""",
    re.IGNORECASE,
)
_CREDENTIALS = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/?#]*@", re.IGNORECASE)
_URL_HOST = re.compile(r"(\b[a-z][a-z0-9+.-]*://)(\[[0-9a-f:.%]+\]|[^\s/?#:\"'()<>,;@]+)", re.IGNORECASE)
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\d)")
_COLONS = re.compile(r"(?<![\w:.])[0-9a-f:]{0,40}:[0-9a-f:.]{0,40}[0-9a-f:](?![\w:])", re.IGNORECASE)
"""What may be an IPv6 address; `ipaddress` decides. Every repetition here has a bound: texts come from strangers."""
_MAC = re.compile(r"(?<![\w:-])[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5}(?![\w:-])", re.IGNORECASE)
_LOCAL_NAME = re.compile(
    r"(?<![\w.-])[a-z0-9](?:[\w-]*\.)+(?:local|lan|home|internal|intranet|corp|localdomain|arpa)\b(?!\.\w)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known to be secret, personal or a host before anything is read. Secrets are never shown."""

    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    people: frozenset[str] = field(default=frozenset(), repr=False)
    hosts: frozenset[str] = frozenset()

    @classmethod
    def of(cls, configuration: BaseModel, people: Collection[str] = (), own: Collection[str] = ()) -> Known:
        """Every secret and every host that a configuration names anywhere; `own` are further secrets."""
        secrets, hosts = set(own), set[str]()
        _collect(configuration, "", secrets, hosts)
        return cls(frozenset(filter(None, secrets)), frozenset(people), frozenset(filter(None, hosts)))


def _collect(value: Any, key: str, secrets: set[str], hosts: set[str]) -> None:
    if isinstance(value, SecretStr):
        secrets.add(value.get_secret_value())
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            _collect(getattr(value, name), name, secrets, hosts)
    elif isinstance(value, Mapping):
        for name, item in value.items():
            _collect(item, str(name), secrets, hosts)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            _collect(item, key, secrets, hosts)
    elif isinstance(value, str) and "://" in value:
        hosts.add(urlsplit(value).hostname or "")
    elif isinstance(value, str) and key in ("host", "hosts"):
        hosts.add(value)


class Redactor:
    """Redacts the items of one recording.

    Args:
        known: what is looked for everywhere.
        keep_hosts: addresses and host names stay.
        anonymous: machines cannot be told from others of their type.
    """

    def __init__(self, known: Known, *, keep_hosts: bool = False, anonymous: bool = False) -> None:
        self._keep_hosts = keep_hosts
        self._anonymous = anonymous
        self._secrets = _alternatives(variant for secret in known.secrets for variant in _variants(secret))
        self._short = frozenset(secret for secret in known.secrets if len(secret) < SHORTEST)
        self._people = _words(name for name in known.people if len(name) >= SHORTEST)
        hosts = {host for host in known.hosts if not _is_here(host) and len(host) >= SHORTEST}
        self._hosts = _words(hosts) if not keep_hosts else None
        self._pseudonyms: dict[tuple[str, str], str] = {}
        self._counts: dict[str, int] = {}
        self._numbers: dict[tuple[str, int], int] = {}
        self._machines: dict[str, str] = {}
        self._machine_words: re.Pattern[str] | None = None
        self._cache: dict[str, str] = {}
        self._names: dict[str, str] = {}

    @property
    def description(self) -> str:
        """What was done, for the header of a file."""
        hosts = "addresses and host names kept" if self._keep_hosts else "addresses and host names hidden"
        machines = "machines anonymous" if self._anonymous else "serial numbers and names of machines kept"
        return f"secrets and persons hidden; {hosts}; {machines}"

    # -- items

    def item(self, item: Published) -> Published:
        """What a source published, without what must not be shown."""
        if isinstance(item, Observation):
            return replace(
                item, machine=self.key(item.machine), channel=self.text(item.channel), payload=self.tree(item.payload)
            )
        if isinstance(item, Condition):
            return replace(
                item,
                reason=self.text(item.reason),
                machine=None if item.machine is None else self.key(item.machine),
                advice=self.text(item.advice),
            )
        if isinstance(item, Inventory):
            appeared = tuple(self._found(machine) for machine in item.appeared)
            return replace(item, appeared=appeared, vanished=tuple(self.key(key) for key in item.vanished))
        if isinstance(item, Reading):
            value = self.named(item.name, item.value)
            return replace(item, value=value, extra=self.tree(item.extra))
        return self._event(item)

    def _event(self, item: Event) -> Event:
        machine = self.key(item.machine) if item.machine else ""
        return replace(
            item, id=self.text(item.id), message=self.text(item.message), machine=machine, data=self.tree(item.data)
        )

    def _found(self, found: FoundMachine) -> FoundMachine:
        key = self.key(found.key)
        return FoundMachine(key, self.identity(found.identity), None if found.error is None else self.text(found.error))

    def key(self, key: str) -> str:
        """A source's key of a machine."""
        if not self._anonymous:
            return self.text(key)
        if key not in self._machines:
            self._learn(key, self._pseudonym("machine", key))
        return self._machines.get(key, "machine-x")

    def identity(self, identity: Mapping[str, str | int]) -> dict[str, str | int]:
        """An identity; anonymous ones keep what mappings are chosen by."""
        shown: dict[str, str | int] = {}
        for name, value in identity.items():
            shown[name] = self.named(name, value)
            if self._anonymous and shown[name] != value and len(str(value)) >= SHORTEST:
                self._learn(str(value), str(shown[name]))
        return shown

    def machine_id(self, identifier: str) -> str:
        """The plant's id of a machine."""
        if not self._anonymous or not identifier:
            return self.text(identifier)
        self._learn(identifier, self._pseudonym("asset", identifier))
        return self._machines.get(identifier, "asset-x")

    # -- trees and texts

    def tree(self, tree: Any, depth: int = 0) -> Any:
        """A payload, as far down as one is written."""
        kind = tree.__class__
        if kind is float or kind is bool or kind is int or tree is None:
            return tree
        if kind is str:
            return self.text(tree)
        if depth >= DEEPEST:
            return MASK
        if isinstance(tree, Mapping):
            return {self._key_of(key): self.named(key, item, depth + 1) for key, item in tree.items()}
        if isinstance(tree, list | tuple):
            return [self.tree(item, depth + 1) for item in tree]
        return self._bytes(tree) if isinstance(tree, bytes | bytearray | memoryview) else tree

    def _bytes(self, data: bytes | bytearray | memoryview) -> bytes:
        """Bytes may be a text; those that are none look like one that has nothing in it."""
        return self.text(bytes(data).decode("latin-1")).encode("latin-1", "replace")

    def _key_of(self, key: Any) -> Any:
        return self.text(key) if isinstance(key, str) else key

    def named(self, name: Any, value: Any, depth: int = 0) -> Any:
        """What stands below a name."""
        kind = self._kind(name) if isinstance(name, str) else ""
        if kind == "" or value is None or isinstance(value, bool):
            return self.tree(value, depth)
        return MASK if kind == "secret" else self._replaced(kind, value, depth)

    def _kind(self, name: str) -> str:
        """secret, person, serial, name or "": what a key of this name holds."""
        known = self._names.get(name)
        if known is None:
            known = _kind_of(name)
            if known in ("serial", "name") and not self._anonymous:
                known = ""
            if len(self._names) < REMEMBERED:
                self._names[name] = known
        return known

    def _replaced(self, kind: str, tree: Any, depth: int) -> Any:
        """A tree in which every word and whole number is a pseudonym."""
        if depth >= DEEPEST:
            return MASK
        if isinstance(tree, Mapping):
            return {
                self._key_of(key): MASK if self._kind_of(key) == "secret" else self._replaced(kind, item, depth + 1)
                for key, item in tree.items()
            }
        if isinstance(tree, list | tuple):
            return [self._replaced(kind, item, depth + 1) for item in tree]
        if isinstance(tree, bool) or tree is None or isinstance(tree, float):
            return tree
        if isinstance(tree, int):
            return self._number(kind, tree)
        if isinstance(tree, bytes | bytearray | memoryview):
            return f"({kind})".encode()
        return self._pseudonym(kind, str(tree)) if tree != "" else ""

    def _kind_of(self, key: Any) -> str:
        return self._kind(key) if isinstance(key, str) else ""

    def text(self, text: str) -> str:
        """A text without what must not be shown."""
        known = self._cache.get(text)
        if known is not None:
            return known
        shown = self._cleaned(text)
        if len(text) <= _CACHED_LENGTH and len(self._cache) < _CACHED:
            self._cache[text] = shown
        return shown

    def _cleaned(self, text: str) -> str:
        if text in self._short:
            return MASK
        if self._secrets is not None:
            text = self._secrets.sub(MASK, text)
        if "PRIVATE KEY" in text:
            text = _PEM.sub(MASK, text)
        if "eyJ" in text:
            text = _JWT.sub(MASK, text)
        if " " in text:
            text = _SCHEME.sub(lambda match: f"{match[1]} {MASK}", text)
        if "=" in text or ":" in text:
            text = _ASSIGNED.sub(lambda match: match[1] + MASK, text)
        if "://" in text:
            text = _CREDENTIALS.sub(lambda match: match[1], text)
        text = without_emails(text)
        if self._people is not None:
            text = self._people.sub(lambda match: self._pseudonym("person", match[0].casefold()), text)
        if not self._keep_hosts:
            text = self._without_hosts(text)
        if self._machine_words is not None:
            text = self._machine_words.sub(lambda match: self._machines[match[0]], text)
        return text

    def _without_hosts(self, text: str) -> str:
        hidden = self._host
        if "://" in text:
            text = _URL_HOST.sub(lambda match: match[1] + hidden(match[2]), text)
        if self._hosts is not None:
            text = self._hosts.sub(lambda match: hidden(match[0]), text)
        if "." in text:
            text = _IPV4.sub(lambda match: hidden(match[0]), text)
            text = _LOCAL_NAME.sub(lambda match: hidden(match[0]), text)
        if ":" in text or "-" in text:
            text = _MAC.sub(lambda match: hidden(match[0]), text)
        if ":" in text:
            text = _COLONS.sub(lambda match: hidden(match[0]) if _is_ipv6(match[0]) else match[0], text)
        return text

    def _host(self, host: str) -> str:
        bare = host.strip("[]").casefold()
        return host if _is_here(bare) or bare.startswith("host-") else self._pseudonym("host", bare)

    # -- pseudonyms

    def _pseudonym(self, kind: str, word: str) -> str:
        known = self._pseudonyms.get((kind, word))
        if known is None:
            if len(self._pseudonyms) >= REMEMBERED:
                return f"{kind}-x"
            self._counts[kind] = self._counts.get(kind, 0) + 1
            known = self._pseudonyms[kind, word] = f"{kind}-{self._counts[kind]}"
        return known

    def _number(self, kind: str, number: int) -> int:
        known = self._numbers.get((kind, number))
        if known is None:
            if len(self._numbers) >= REMEMBERED:
                return 0
            known = self._numbers[kind, number] = len(self._numbers) + 1
        return known

    def _learn(self, word: str, shown: str) -> None:
        """A word that tells a machine; long ones are looked for in every text from now on."""
        if word in self._machines or len(self._machines) >= REMEMBERED:
            return
        self._machines[word] = shown
        self._machine_words = _words(known for known in self._machines if len(known) >= SHORTEST)
        self._cache.clear()


def _kind_of(name: str) -> str:
    words = [word.casefold() for word in _WORD.findall(name)]
    joined = "".join(words)
    if is_secret(name) or any(secret in joined for secret in _SECRET_NAMES):
        return "secret"
    for kind, pattern in (("person", _PERSON), ("serial", _SERIAL), ("name", _GIVEN)):
        if pattern.fullmatch(joined) or any(map(pattern.fullmatch, words)):
            return kind
    return ""


def _variants(secret: str) -> set[str]:
    """A secret as it may stand in a text."""
    if len(secret) < SHORTEST:
        return set()
    encoded = base64.b64encode(secret.encode("utf-8", "surrogatepass")).decode()
    return {secret, quote(secret, safe="", errors="replace"), quote(secret, errors="replace"), encoded.rstrip("=")}


def _alternatives(words: Iterable[str]) -> re.Pattern[str] | None:
    ordered = sorted(set(words), key=lambda word: (-len(word), word))
    return re.compile("|".join(map(re.escape, ordered))) if ordered else None


def _words(words: Iterable[str]) -> re.Pattern[str] | None:
    """A pattern of whole words."""
    ordered = sorted(set(words), key=lambda word: (-len(word), word))
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, ordered))})(?!\w)") if ordered else None


def _is_here(host: str) -> bool:
    if host.casefold() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _is_ipv6(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 6
    except ValueError:
        return False


__all__ = ["Known", "Redactor"]
