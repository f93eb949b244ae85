"""What a record must not show: secrets, persons, hosts; and what it must still show."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.model.event import Event
from bridge.model.observation import Condition, FoundMachine, Inventory, Observation, Reading
from bridge.model.status import StatusCode
from bridge.runtime.redaction import Known, Redactor
from bridge.sources.replay.record import item_line
from tests.sites import make_site

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECRETS = frozenset({"hunter2!", 'pä"ss w/ord', "adm1n-t0ken", "aGVsbG8+/w=="})
PEOPLE = frozenset({"anna.schmidt", "badge-4711"})
HOSTS = frozenset({"panel-7", "erp.acme.example", "127.0.0.1"})
KNOWN = Known(SECRETS, PEOPLE, HOSTS)

HIDDEN = [
    *SECRETS,
    *(quote(secret, safe="") for secret in SECRETS),
    *(base64.b64encode(secret.encode()).decode() for secret in SECRETS),
    *PEOPLE,
    "anna@acme.example",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "192.168.17.23",
    "fe80::1ff:fe23:4567:890a",
    "00:1b:44:11:3a:b7",
    "erp.acme.example",
    "nas.factory.local",
    "sw0rdfish",
]
CARRIERS = [
    "{}",
    "Cannot log in: {} is refused",
    "<{}>",
    "({}), then nothing",
    "host {} port 443",
    "http://{}/x",
    '{{"detail": "{}"}}',
]
FORMS = [
    "https://operator:sw0rdfish@erp.acme.example:8443/a?b=1",
    "password=sw0rdfish&x=1",
    '{"api_key": "sw0rdfish", "a": 1}',
    "Authorization: Bearer sw0rdfishsw0rdfish",
    "401 for Basic c3cwcmRmaXNoOnN3MHJkZmlzaA==",
    "access_token = 'sw0rdfish'",
    "-----BEGIN RSA PRIVATE KEY-----\nsw0rdfish\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY-----\nsw0rdfish, and cut off",
]
TEXTS = st.sampled_from(FORMS) | st.builds(
    str.format, st.sampled_from(CARRIERS), st.sampled_from([word for word in HIDDEN if word != "sw0rdfish"])
)
NAMED = st.sampled_from(["password", "apiToken", "user_pin", "Authorization", "operator", "user_email", "workerName"])
TREES: st.SearchStrategy[Any] = st.recursive(
    TEXTS | st.integers() | st.none() | TEXTS.map(lambda text: text.encode("latin-1", "ignore")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(TEXTS | st.sampled_from(["a", "b"]), inner, max_size=3)
        | st.dictionaries(NAMED, inner | st.just("sw0rdfish") | st.just(["sw0rdfish", {"x": "sw0rdfish"}]), max_size=3)
    ),
    max_leaves=15,
)
ITEMS = st.one_of(
    TREES.map(lambda tree: Observation("panel", "1/4/7", "state", tree, NOW)),
    TEXTS.map(lambda text: Observation("panel", text, text, None, NOW)),
    TEXTS.map(lambda text: Condition("panel", StatusCode.BadTimeout, text, NOW, "1/4/7", None, text)),
    TEXTS.map(lambda text: Inventory("panel", (FoundMachine("1/4/7", {"slug": text}, text),), (text,))),
    TEXTS.map(lambda text: Event(text, "Notice", NOW, text, 500, "panel", text, {"a": text, "operator": text})),
    TEXTS.map(lambda text: Reading("panel", "Profile", text, NOW, {"x": text})),
)


@given(ITEMS, st.booleans())
@example(Observation("panel", "m", "state", {"a": ["https://x:sw0rdfish@nas.factory.local"]}, NOW), False)
def test_nothing_hidden_ever_is_in_the_bytes(item: Any, anonymous: bool) -> None:
    line = item_line(0.0, Redactor(KNOWN, anonymous=anonymous).item(item))
    text = line.decode()
    if '"$bytes"' in text:
        text += "".join(base64.b64decode(part.split('"')[0]).decode("latin-1") for part in text.split('"$bytes":"')[1:])
    told = json.dumps(json.loads(line), ensure_ascii=False) + text
    assert [word for word in HIDDEN if word in told] == []


@pytest.mark.parametrize(
    "text",
    [
        "Standby",
        "Frequency 50.0 Hz at 12:30:45",
        "version 3.0.1",
        "live_values.pressure",
        "https://127.0.0.1:8443/a",
        "localhost",
        "1/4/57922",
        "2026-01-01T00:00:00+00:00",
        "temperature: 23.5; mode: Heat",
        "::",
        "basic mode",
        "token bucket",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert Redactor(KNOWN).text(text) == text


def test_numbers_and_states_stay_below_ordinary_names() -> None:
    payload = {
        "pin_count": 8,
        "heating_states": {"front": {"target_temperature": 210.5, "wiring_error": False}},
        "name": "X",
    }
    assert Redactor(KNOWN).tree(payload) == payload


def test_persons_and_hosts_have_the_same_pseudonym_throughout() -> None:
    redactor = Redactor(KNOWN)
    first = redactor.tree(
        [{"operator": "Anna"}, {"operator": "Ben"}, {"operator": "Anna"}, "at 10.0.0.1", "at 10.0.0.2"]
    )
    assert first == [
        {"operator": "person-1"}, {"operator": "person-2"}, {"operator": "person-1"}, "at host-1", "at host-2",
    ]  # fmt: skip
    assert redactor.text("lost 10.0.0.1:443") == "lost host-1:443"


def test_hosts_may_be_kept_secrets_never() -> None:
    redactor = Redactor(KNOWN, keep_hosts=True)
    assert redactor.text("https://a:hunter2!@erp.acme.example/") == "https://erp.acme.example/"
    assert redactor.text("10.0.0.1 refuses hunter2!") == "10.0.0.1 refuses ***"


def test_anonymous_machines_are_alike_everywhere_and_keep_what_chooses_their_mapping() -> None:
    redactor = Redactor(KNOWN, anonymous=True)
    found = FoundMachine("1/4/57922", {"vendor": 1, "machine": 4, "serial": 57922, "slug": "extruder_v1"})
    shown = redactor.item(Inventory("panel", (found,), ("1/4/57922",)))
    assert isinstance(shown, Inventory)
    [machine] = shown.appeared
    assert machine.identity == {"vendor": 1, "machine": 4, "serial": 1, "slug": "extruder_v1"}
    assert shown.vanished == (machine.key,) == ("machine-1",)
    observation = redactor.item(Observation("panel", "1/4/57922", "state", {"serial": 57922, "name": "Halle 3"}, NOW))
    assert isinstance(observation, Observation)
    assert (observation.machine, observation.payload) == ("machine-1", {"serial": 1, "name": "name-1"})
    lost = redactor.item(Condition("panel", StatusCode.BadTimeout, "1/4/57922 (serial 57922) is gone", NOW))
    assert isinstance(lost, Condition)
    assert "57922" not in lost.reason


def test_serials_and_names_of_machines_stay_otherwise() -> None:
    found = FoundMachine("1/4/57922", {"vendor": 1, "serial": 57922})
    assert Redactor(KNOWN).item(Inventory("panel", (found,))) == Inventory("panel", (found,))


def test_every_secret_and_host_of_a_configuration_is_known(tmp_path: Path) -> None:
    site = make_site(
        tmp_path,
        """
version: 1
bridge: {name: bridge-1, enterprise: acme, site: essen, state_directory: state}
sources:
  panel: {type: qitech, url: "https://panel-7.example", password: wordofthepanel}
  cloud: {type: quantiix, url: "https://q.example/api/v1", email: anna@acme.example, password: wordofthecloud}
northbound:
  uns: {broker: {host: mq.example, username: x, password: wordofthebroker}}
broker: {enabled: true, users: {anna: wordofanna}}
commands: {people: {"4711": ben@acme.example}}
""",
    )
    known = Known.of(site.file, site.people, {"own"})
    assert known.secrets >= {"wordofthepanel", "wordofthecloud", "wordofthebroker", "wordofanna", "own"}
    assert known.hosts >= {"panel-7.example", "q.example", "mq.example"}
    assert "4711" in known.people
    assert "wordof" not in repr(known)


def test_ugly_texts_take_no_time_and_deep_payloads_end() -> None:
    redactor = Redactor(KNOWN)
    for ugly in (
        "token" * 30_000,
        "a.-" * 60_000,
        "::" * 60_000,
        "1.2." * 40_000,
        "eyJ" * 50_000,
        "://" * 50_000,
        "@" * 99_999,
    ):
        assert isinstance(redactor.text(ugly), str)
    deep: Any = "sw0rdfish"
    for _ in range(5000):
        deep = {"password": deep} if deep == "sw0rdfish" else [deep]
    assert "sw0rdfish" not in repr(redactor.tree(deep))


def test_pseudonyms_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.runtime.redaction.REMEMBERED", 3)
    redactor = Redactor(KNOWN)
    assert [redactor.tree({"user": str(number)})["user"] for number in range(5)] == [
        "person-1", "person-2", "person-3", "person-x", "person-x",
    ]  # fmt: skip
