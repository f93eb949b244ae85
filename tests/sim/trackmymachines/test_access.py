"""Keys, hosts, routes, and the faults of the wire on this vendor's requests."""

from __future__ import annotations

import httpx
import pytest

from bridge.sim.trackmymachines import CHOICES, FAULTS, Behaviour, Machine, Organisation, TrackMyMachines
from bridge.sim.trackmymachines.organisation import MAX_STEPS
from tests.sim.trackmymachines.client import DAY, NOON, Client, error, server

NO_WRITE = {"error": "This API key does not have write permissions"}
WINDOW = f"events?from={DAY['from']}&to={DAY['to']}"


@pytest.mark.parametrize("name", ["expired", "revoked"])
async def test_key_that_is_no_longer_good_is_refused_everywhere(tmm: Client, name: str) -> None:
    tmm.key = tmm.simulator.secret(name)
    answers = [await tmm.app(WINDOW), await tmm.com("step_events"), await tmm.create(), await tmm.app("charts/x")]
    assert [(answer.status_code, list(answer.json())) for answer in answers] == [(401, ["error"])] * 4
    assert len(tmm.simulator.organisation.events) == 0


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer nope", "Basic cm86cm8=", "Token {}", "bearer {}"])
async def test_anything_but_a_bearer_key_is_refused(tmm: Client, header: str) -> None:
    answer = await tmm.app(WINDOW, headers={"Authorization": header.format(tmm.key)})
    assert answer.status_code == 401


async def test_read_only_key_reads_and_does_not_write(tmm: Client) -> None:
    tmm.key = tmm.simulator.secret("ro")
    assert (await tmm.app(WINDOW)).status_code == 200
    assert (await tmm.com("step_events")).status_code == 200
    assert error(await tmm.create()) == (403, NO_WRITE)
    assert error(await tmm.create(start=None)) == (403, NO_WRITE)
    assert error(await tmm.finish(machine_display_name="Machine 1")) == (403, NO_WRITE)


async def test_key_expires_after_90_days_and_can_be_taken_away_and_renewed(tmm: Client) -> None:
    tmm.faults.advance(90 * 86400 - 1)
    assert (await tmm.app(WINDOW)).status_code == 200
    tmm.faults.advance(1)
    assert (await tmm.app(WINDOW)).status_code == 401
    tmm.faults.renew_key("rw")
    assert (await tmm.app(WINDOW)).status_code == 200
    tmm.faults.revoke_key("rw")
    assert (await tmm.app(WINDOW)).status_code == 401
    tmm.faults.revoke_key("rw", revoked=False)
    tmm.faults.expire_key("rw")
    assert (await tmm.app(WINDOW)).status_code == 401


async def test_each_host_has_its_own_paths_and_both_has_all(tmm: Client) -> None:
    assert [(await tmm.app("step_events")).status_code, (await tmm.com(WINDOW)).status_code] == [404, 404]
    tmm.faults.behave("hosts", "both")
    assert [(await tmm.app("step_events")).status_code, (await tmm.com(WINDOW)).status_code] == [200, 200]


async def test_host_header_chooses_the_virtual_host(tmm: Client) -> None:
    app, com = ({"Host": f"your-org.trackmymachines.{end}"} for end in ("app", "com"))
    assert (await tmm.app("step_events", headers=com)).status_code == 200
    assert (await tmm.app(WINDOW, headers=com)).status_code == 404
    assert (await tmm.com(WINDOW, headers=app)).status_code == 200


async def test_path_or_method_that_is_not_there_is_rails_own_page(tmm: Client) -> None:
    for method, path in (("GET", "machines"), ("PUT", "step_events"), ("GET", "step_events/finish"), ("POST", WINDOW)):
        answer = await tmm.com(path, method)
        assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (404, "text/html")
    answer = await tmm.com("machines", headers={"Accept": "application/json"})
    assert error(answer) == (404, {"status": 404, "error": "Not Found"})


async def test_journal_names_the_key_and_never_holds_it(tmm: Client) -> None:
    await tmm.create()
    await tmm.app(WINDOW, headers={"Authorization": "Bearer nope"})
    [create, read] = tmm.simulator.journal
    assert (create.account, create.status, read.account, read.status) == ("rw", 201, "", 401)
    assert tmm.simulator.journal.counts("rw") == {"requests": 1, "201": 1}
    assert tmm.key not in str(list(tmm.simulator.journal)) + str(tmm.simulator.journal.as_json())
    assert tmm.key not in repr(tmm.simulator.keys["rw"])


async def test_wire_faults_strike_by_path(tmm: Client) -> None:
    tmm.faults.throttle(30, path="/api/v1/events")
    assert (await tmm.com("step_events")).status_code == 200
    answer = await tmm.app(WINDOW)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "30")
    assert (await tmm.app(WINDOW)).status_code == 200


async def test_both_hosts_refuse_and_accept_again(tmm: Client) -> None:
    await tmm.faults.refuse()
    for ask in (tmm.app, tmm.com):
        with pytest.raises(httpx.ConnectError):
            await ask(WINDOW)
    await tmm.faults.accept()
    assert (await tmm.app(WINDOW)).status_code == 200


async def test_every_fault_is_at_the_control_port() -> None:
    async with server(control_port=0) as tmm:
        control = tmm.simulator.control
        assert control is not None
        listed = (await tmm.http.get(f"{control.url}/faults")).json()["faults"]
        assert {fault["name"] for fault in listed} == set(FAULTS)
        body = {"machine": "MACHINE_001", "kind": "cycle", "start": DAY["from"], "label": "hello"}
        made = (await tmm.http.post(f"{control.url}/faults/insert", json=body)).json()["result"]
        assert [row["id"] for row in await tmm.events()] == [made]
        wrong = [{"kind": "nonsense"}, {"start": "lately"}, {"machine": "nope"}, {"end": "2025-05-26T00:00:00Z"}]
        for change in wrong:
            answer = await tmm.http.post(f"{control.url}/faults/insert", json={**body, **change})
            assert answer.status_code == 400
        status = (await tmm.http.get(f"{control.url}/status")).json()
        assert (status["now"], status["behaviour"]["edition"]) == ("2025-05-27T12:00:00+00:00", "2025-05")
        assert [e["id"] for e in (await tmm.http.get(f"{control.url}/events")).json()["events"]] == [made]
        set_time = await tmm.http.post(f"{control.url}/faults/set_time", json={"moment": "2025-06-01T00:00:00Z"})
        assert set_time.status_code == 200
        assert (await tmm.app(WINDOW)).headers["date"] == "Sun, 01 Jun 2025 00:00:00 GMT"


@pytest.mark.parametrize("name", sorted(CHOICES))
def test_switch_refuses_another_word(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Behaviour().with_switches({name: "nonsense"})
    for word in CHOICES[name]:
        assert getattr(Behaviour().with_switches({name: word}), name) == word


@pytest.mark.parametrize(
    "switches", [{"nope": 1}, {"feed_delay_s": "x"}, {"feed_delay_s": -1}, {"finish_parameter": ""}]
)
def test_switch_that_makes_no_sense_is_refused(switches: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(switches))):
        Behaviour().with_switches(switches)


def test_two_machines_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="display_name"):
        TrackMyMachines([Machine(1, "A"), Machine(2, "A")])


async def test_garbage_gets_an_answer_and_changes_nothing(tmm: Client) -> None:
    bodies = [b"", b"\xff", b"null", b'{"step_event": {"machine_display_name": [1], "end": {}}}', b"[" * 5000]
    bodies.append(b'{"step_event": {"machine_display_name": "Machine 1", "start": "9999-12-31T23:59:59-23:59"}}')
    for body in bodies:
        for method, path in (("POST", "step_events"), ("PATCH", "step_events/finish")):
            answer = await tmm.com(path, method, content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code in (400, 404, 422)
    for query in (
        "%ff=%ff&from[[]]=1",
        "from=%00&to=%00",
        "=&=&[]=1",
        "types[[a]]=1&from=1",
        "from=9999-99-99T99:99:99Z",
    ):
        assert (await tmm.app(f"events?{query}")).status_code in (400, 422)
    assert (await tmm.app(WINDOW, headers={"Authorization": b"Bearer \xff\xfe"})).status_code == 401
    assert len(tmm.simulator.organisation.events) == 0


async def test_number_beyond_all_numbers_breaks_the_vendor(tmm: Client) -> None:
    answer = await tmm.create(recipe_version=10**400)
    assert answer.status_code in (400, 500)


def test_parts_are_bounded_and_made_again_when_named_again() -> None:
    records = Organisation([], [])
    first = records.step("first", 1, "10", NOON)
    for number in range(MAX_STEPS):
        records.step(f"part {number}", 1, "10", NOON)
    assert (len(records.parts), len(records.recipes), len(records.steps)) == (MAX_STEPS,) * 3
    assert records.step("first", 1, "10", NOON).number != first.number
