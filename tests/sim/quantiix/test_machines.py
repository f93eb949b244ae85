"""machineInfo, machineState, paths, and machines that come and go."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

import httpx
import pytest

from bridge.sim.quantiix import Machine
from tests.sim.quantiix.vendor import KNOWN_MS, MINUTE, NOON, M, quantiix


async def test_list_has_the_published_shape() -> None:
    async with quantiix([Machine("MACHINE_001", "CNC Lathe 1")]) as client:
        assert (await client.get("machineInfo")).json() == {
            "machines": [
                {
                    "machineDisplayName": "CNC Lathe 1",
                    "machineUniqueId": "MACHINE_001",
                    "factoryId": "10",
                    "factoryName": "Main Production Floor",
                }
            ]
        }


async def test_list_may_be_empty() -> None:
    async with quantiix([]) as client:
        assert (await client.get("machineInfo")).json() == {"machines": []}


async def test_machines_are_added_renamed_moved_and_removed() -> None:
    async with quantiix([Machine(M, "Old")]) as client:
        faults = client.vendor.faults
        faults.add("SAW", "Saw")
        faults.rename(M, "New")
        faults.move(M, "11", "Hall 2")
        listed = (await client.get("machineInfo")).json()["machines"]
        assert [(m["machineUniqueId"], m["machineDisplayName"], m["factoryId"]) for m in listed] == [
            (M, "New", "11"),
            ("SAW", "Saw", "10"),
        ]
        assert (await client.state("SAW")).status_code == 200
        faults.remove("SAW")
        assert len((await client.get("machineInfo")).json()["machines"]) == 1
        assert (await client.state("SAW")).status_code == 404
        with pytest.raises(ValueError, match="cannot be added"):
            faults.add(M, "Twin")


@pytest.mark.parametrize("call", ["machineState", "machineActivity"])
@pytest.mark.parametrize("status", ["404", "422", "204"])
async def test_unknown_machine_gets_the_status_of_the_switch(call: str, status: str) -> None:
    async with quantiix(unknown_machine=status) as client:
        answer = await client.get(call, machineId="NOPE", startTime=KNOWN_MS - MINUTE, endTime=KNOWN_MS)
        assert (answer.status_code, answer.content) == (int(status), b"")


@pytest.mark.parametrize("params", [{}, {"machineId": ""}])
async def test_state_without_an_id_is_422(params: dict[str, str]) -> None:
    async with quantiix() as client:
        assert (await client.get("machineState", **params)).status_code == 422


async def test_errors_talk_only_where_switched() -> None:
    async with quantiix(error_body="json") as client:
        assert (await client.get("machineState")).json() == {"message": "machineId is missing"}


async def test_state_is_one_to_two_minutes_late_on_a_grid_of_a_minute() -> None:
    async with quantiix() as client:  # 12:00:20; 11:59 is the latest that is known
        client.vendor.faults.state(M, "OFF", minutes_ago=30, minutes=30)
        client.vendor.faults.state(M, "RUNNING", minutes_ago=0, minutes=30)
        assert (await client.state()).json() == {"machineState": "OFF", "durationInMinutes": 30}
        client.vendor.faults.advance(39)  # 12:00:59: RUNNING began two minutes ago
        assert (await client.state()).json() == {"machineState": "OFF", "durationInMinutes": 30}
        client.vendor.faults.advance(1)  # 12:01:00: 11:59 to 12:00 is known
        assert (await client.state()).json() == {"machineState": "RUNNING", "durationInMinutes": 1}
        client.vendor.faults.advance(179)
        assert (await client.state()).json() == {"machineState": "RUNNING", "durationInMinutes": 3}


async def test_silent_machine_and_a_gap_are_204() -> None:
    async with quantiix() as client:
        client.vendor.faults.silence(M)
        assert (await client.state()).status_code == 204
        assert (await client.activity(KNOWN_MS - MINUTE, KNOWN_MS)).status_code == 204
        client.vendor.faults.silence(M, False)
        client.vendor.faults.gap(M, minutes_ago=5, minutes=5)
        answer = await client.state()
        assert (answer.status_code, answer.content) == (204, b"")
        client.vendor.faults.advance(60)
        assert (await client.state()).status_code == 200


async def test_state_in_the_words_of_the_sibling() -> None:
    async with quantiix(running="OPERATING", durations="seconds", last_update="yes") as client:
        client.vendor.faults.state(M, "RUNNING", minutes_ago=4, minutes=60)
        assert (await client.state()).json() == {
            "machineState": "OPERATING",
            "durationInMinutes": (await client.state()).json()["durationInMinutes"],
            "lastUpdateTime": KNOWN_MS,
        }
        assert (await client.state()).json()["durationInMinutes"] >= 240


async def test_unknown_state_is_told_as_it_is() -> None:
    async with quantiix() as client:
        client.vendor.faults.state(M, "MAINTENANCE", minutes_ago=4)
        assert (await client.state()).json() == {"machineState": "MAINTENANCE", "durationInMinutes": 4}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/api/v1/machineInfo", 404),
        ("POST", "/api/v1/api/v1/security/getAPIToken", 404),
        ("GET", "/machineInfo", 404),
        ("GET", "/api/v1/machineInfo/", 404),
        ("GET", "/api/v1/machineinfo", 404),
        ("GET", "/api/v1/security/getAPIToken", 405),
        ("POST", "/api/v1/machineInfo", 405),
        ("POST", "/api/v1/machineActivity", 405),
    ],
)
async def test_paths_and_methods_are_the_published_ones(method: str, path: str, status: int) -> None:
    async with quantiix() as client:
        bearer = {"Authorization": f"Bearer {client.token}"}
        assert (
            await client.http.request(method, httpx.URL(client.vendor.url).copy_with(path=path), headers=bearer)
        ).status_code == status


async def test_only_http_is_spoken() -> None:
    async with quantiix() as client:
        with pytest.raises(httpx.ConnectError):
            await client.http.get(client.vendor.url.replace("http:", "https:") + "/machineInfo")


async def test_date_is_the_vendor_s_and_may_be_wrong() -> None:
    async with quantiix() as client:
        assert parsedate_to_datetime((await client.get("machineInfo")).headers["date"]) == NOON
        client.vendor.faults.date_skew(-300)
        answer = await client.get("machineInfo")
        assert (NOON - parsedate_to_datetime(answer.headers["date"])).total_seconds() == 300


async def test_refused_connections_come_back() -> None:
    async with quantiix() as client:
        await client.vendor.faults.refuse()
        with pytest.raises(httpx.TransportError):  # the connection that was open
            await client.get("machineInfo")
        with pytest.raises(httpx.ConnectError):
            await client.get("machineInfo")
        await client.vendor.faults.accept()
        assert (await client.get("machineInfo")).status_code == 200


async def test_wire_faults_strike_the_calls_they_name() -> None:
    async with quantiix() as client:
        client.vendor.faults.throttle(retry_after=7, path="*/machineState")
        client.vendor.faults.malformed(path="*/machineInfo")
        assert (await client.state()).headers["retry-after"] == "7"
        assert (await client.state()).status_code == 200
        with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
            (await client.get("machineInfo")).json()


async def test_switches_work_from_another_process() -> None:
    async with quantiix() as client:
        assert client.vendor.control is not None
        base = client.vendor.control.url
        async with httpx.AsyncClient() as other:
            names = {fault["name"] for fault in (await other.get(f"{base}/faults")).json()["faults"]}
            assert {"behave", "end_tokens", "spend", "remove", "gap", "revise", "advance", "latency", "reset"} <= names
            done = await other.post(f"{base}/faults/behave", json={"name": "unknown_machine", "value": "204"})
            assert done.status_code == 200
            assert (await client.state("NOPE")).status_code == 204
            wrong = await other.post(f"{base}/faults/behave", json={"name": "unknown_machine", "value": "200"})
            assert (wrong.status_code, "expected 404 or 422 or 204" in wrong.json()["error"]) == (400, True)
            assert (await other.post(f"{base}/faults/remove", json={"machine": "NOPE"})).status_code == 400
            spent = await other.post(f"{base}/faults/spend", json={"requests": 1, "path": "/nope"})
            assert spent.status_code == 400
            status = (await other.get(f"{base}/status")).json()
            assert status["behaviour"]["unknown_machine"] == "204"
            assert status["url"] == client.vendor.url
