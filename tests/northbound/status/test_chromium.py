"""The page in a real Chromium: one browser for all, a fresh profile for each test, and no error in its console."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from bridge.hub.slots import Slots
from bridge.hub.table import Table
from bridge.model.alarm import AlarmCondition, AlarmKind
from bridge.model.plant import Plant
from bridge.model.status import StatusCode
from bridge.ports import FoundWaiting
from bridge.transport.clock import SystemClock
from tests import peers
from tests.northbound.status.test_commands import Desk
from tests.northbound.status.test_status import HEALTH, TOKEN, good, serving
from tests.one_of_everything import NOW, NoEvents, filled_table, machine, plant

try:
    from playwright import async_api as playwright
except ImportError:
    if peers.are_required():
        raise
    pytest.skip("playwright is not installed", allow_module_level=True)

pytestmark = [pytest.mark.peer("chromium"), pytest.mark.asyncio(loop_scope="module")]

PHONE = {"viewport": {"width": 375, "height": 740}, "device_scale_factor": 2, "has_touch": True}
PRESSURE = "extruder-1.Monitoring.Pressure"
ROW = f'.row[data-id="{PRESSURE}"]'


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Any]:
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=peers.chromium())
        yield browser
        await browser.close()


CLIENT = {
    "folder": "rejected",
    "thumbprint": "3f1c8a" + "0" * 34,
    "subject": "CN=<i>Ignition</i>,O=acme",
    "application_uri": "urn:ignition",
    "hosts": ["scada"],
    "ends": "2031-01-01T00:00:00+00:00",
    "days_left": 1700.0,
}
LETTER = {
    "id": "uns:-:order/4711",
    "target": "extruder-1.Commands.StartStep",
    "machine": "extruder-1",
    "arguments": {"Order": "4711"},
    "door": "uns",
    "requester": "mes",
    "role": "Operator",
    "issued": "2026-03-04T05:06:07.089Z",
    "state": "dead",
    "history": [{"state": "accepted", "at": "2026-03-04T05:06:07.089Z", "detail": ""}],
    "result": "unknown",
    "status": "BadTimeout",
    "sentence": "Sent, but nothing was read back in time",
    "vendor_text": "",
    "items": [],
}
ALARM = AlarmCondition(
    "extruder-1.Monitoring.Pressure.Alarm", AlarmKind.LIMIT, "extruder-1", "Melt pressure", PRESSURE, active=True,
    level="High", acked=False, severity=700, since=NOW, message="Melt pressure is above 250 bar", event="e1",
)  # fmt: skip


class Waiting(Desk):
    """A bridge with something of everything that waits for a person."""

    def __init__(self) -> None:
        super().__init__()
        self.conditions = [ALARM]
        self.letters = [LETTER]
        self.kept = [CLIENT]
        self.waiting = [FoundWaiting("panel", "1/22/9", "panel-extruder-9", {"serial": 9}, NOW, "qitech/extruder")]
        self.done: list[tuple[str, ...]] = []

    async def commands(self, limit: int, machine: str, dead: bool) -> Sequence[Mapping[str, Any]]:
        return self.letters

    async def discard(self, identifier: str, requester: str, reason: str) -> None:
        self.done.append(("discard", identifier, requester, reason))
        self.letters = []

    def acknowledge(self, condition: str, by: str, comment: str | None) -> bool:
        self.done.append(("acknowledge", condition, by, comment or ""))
        self.conditions = [replace(ALARM, acked=True, acked_by=by, comment=comment or "")]
        return True

    async def trust(self, thumbprint: str, by: str) -> None:
        self.done.append(("trust", thumbprint, by))
        self.kept = [{**CLIENT, "folder": "trusted"}]

    async def adopt(self, source: str, key: str, by: str) -> str:
        self.done.append(("adopt", source, key, by))
        self.waiting = []
        return "panel-extruder-9"


class Site:
    """A served page, and browsers' profiles at it."""

    def __init__(self, browser: Any, url: str, table: Table, desk: Waiting) -> None:
        self._browser = browser
        self.url = url
        self.table = table
        self.desk = desk
        self.complaints: list[str] = []

    async def page(self, path: str = "", *, logged_in: bool = True, **context: Any) -> Any:
        profile = await self._browser.new_context(**context)
        page = await profile.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda said: said.type in ("error", "warning") and self.complaints.append(said.text))
        if logged_in:
            await page.goto(f"{self.url}/#token={TOKEN}")
            await page.wait_for_selector("#headline")
        await page.goto(f"{self.url}/{path}")
        return page

    def say(self, identifier: str, value: Any) -> None:
        tag = self.table.plant.find(identifier)
        assert tag
        self.table.update([(tag.slot, value)])


@pytest_asyncio.fixture(loop_scope="module")
async def site(chromium: Any) -> AsyncIterator[Site]:
    table, desk = filled_table()[0], Waiting()
    async with serving(table, desk) as (_, url):
        served = Site(chromium, url, table, desk)
        yield served
        for profile in chromium.contexts:
            await profile.close()
    assert served.complaints == []


async def has(page: Any, selector: str, text: str) -> None:
    """Wait until the first of these elements shows this text."""
    await playwright.expect(page.locator(selector).first).to_contain_text(text)


async def test_login_asks_for_the_token_and_says_meanwhile_what_is_wrong(site: Site) -> None:
    page = await site.page(logged_in=False)
    await has(page, "main", "panel: connection refused")
    await page.keyboard.type("wrong")
    async with page.expect_response("**/api/v1/login"):
        await page.keyboard.press("Enter")
    await has(page, "[role=alert]", "this is not the admin token")
    await page.fill("#token", TOKEN)
    await page.keyboard.press("Enter")
    await has(page, "#who", "admin (Engineer)")
    await page.reload()
    await has(page, "#who", "admin (Engineer)")
    await page.click("text=Log out")
    await page.wait_for_selector("#token")
    site.complaints.remove("Failed to load resource: the server responded with a status of 401 (Unauthorized)")


async def test_overview_answers_what_is_grey_why_and_what_to_do(site: Site) -> None:
    page = await site.page()
    assert TOKEN not in page.url
    await has(page, "#headline", "2 values are not Good")
    await has(page, ".card.bad .reason", "The sensor reports a wiring error")
    await has(page, "section[aria-labelledby=sources] .advice", "Is it on?")
    await has(page, ".counts", "1 alarm is active, 1 not acknowledged")
    site.say("extruder-1.Monitoring.Temperature.Front", good(21.0))
    await has(page, "#headline", "1 value is not Good")
    await page.click(".card.uncertain a")
    await has(page, "#found", "1 of")


async def test_value_changes_on_the_screen_and_its_quality_has_words(site: Site) -> None:
    page = await site.page("#/tags?q=melt+pressure")
    await has(page, f"{ROW} .value", "12.5 bar")
    site.say(PRESSURE, good(99.25))
    await has(page, f"{ROW} .value", "99.25 bar")
    lost = good(0)._replace(value=None, status=StatusCode.BadNoCommunication, reason="The panel <b>is</b> off")
    site.say(PRESSURE, lost)
    await has(page, f"{ROW} .quality", "BadNoCommunication")
    await has(page, f"{ROW} .quality", "The panel <b>is</b> off")


async def test_keyboard_finds_and_opens_a_tag(site: Site) -> None:
    page = await site.page("#/tags")
    await page.wait_for_selector(".row[data-id]")
    await page.focus("#search")
    await page.keyboard.type("extruder-1 Monitoring")
    await has(page, "#found", "7 of")
    await page.focus(".list")
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Home")
    await page.keyboard.press("Enter")
    await has(page, "dialog h2", PRESSURE)
    await has(page, "dialog code", f"ns=2;s={PRESSURE}")
    site.say(PRESSURE, good(31.0))
    await has(page, "dialog .big", "31 bar")
    await page.keyboard.press("Escape")
    await playwright.expect(page.locator("dialog")).to_have_count(0)
    assert await page.evaluate("document.activeElement.className") == "list"


async def test_ten_thousand_tags_are_a_list_of_what_is_seen(chromium: Any) -> None:
    slots = Slots()
    machines = {f"m-{number:03}": machine(slots, f"m-{number:03}") for number in range(500)}
    table = Table(Plant(plant(slots, machine(slots)).bridge, machines), SystemClock(), NoEvents())  # type: ignore[arg-type]
    table.update([(tag.slot, good(1.0)) for one in machines.values() for tag in one.tags])
    async with serving(table, Waiting()) as (_, url):
        site = Site(chromium, url, table, Waiting())
        page = await site.page("#/tags")
        await has(page, "#found", "10003 tags")
        await page.focus(".list")
        await page.keyboard.press("End")
        last = page.locator('.row[data-id="Bridge.Sources.panel.Reconnects"]')
        await playwright.expect(last).to_be_in_viewport()
        await page.fill("#search", "m-321 plain")
        await has(page, "#found", "1 of 10003")
        site.say("m-321.Monitoring.Plain", good(4711.0))
        await has(page, ".row[data-id] .value", "4711")
        assert await page.locator(".row[data-id]").count() < 120
        await page.context.close()
    assert site.complaints == []


@pytest.mark.parametrize("path", ["", "#/tags", "#/events", "#/commands", "#/setup"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_phone_shows_everything_without_scrolling_sideways(site: Site, path: str, scheme: str) -> None:
    page = await site.page(path, color_scheme=scheme, **PHONE)
    await page.wait_for_selector(".row[data-id], .card")
    wide, seen = await page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide <= seen
    assert await page.evaluate(LOW_CONTRAST) == []
    assert await page.evaluate(UNNAMED) == []
    assert await page.evaluate("document.querySelectorAll('main, header, nav').length") == 3


LOW_CONTRAST = """() => {
  const parts = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const ground = (one) => {
    for (; one; one = one.parentElement) {
      const c = parts(getComputedStyle(one).backgroundColor);
      if (c.length === 3 || c[3] > 0.99) return c;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const one of document.querySelectorAll("body *")) {
    if (![...one.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || !one.checkVisibility()) continue;
    const [a, b] = [parts(getComputedStyle(one).color), ground(one)].map(luminance).sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) found.push(one.outerHTML.slice(0, 120));
  }
  return found;
}"""
"""Text that is hard to read: WCAG 2.2, 1.4.3."""

UNNAMED = """() => [...document.querySelectorAll("a, button, input, [role=grid], dialog, nav")]
  .filter((one) => one.checkVisibility() && !one.labels?.length && !one.textContent.trim()
    && !one.getAttribute("aria-label") && !one.getAttribute("aria-labelledby"))
  .map((one) => one.outerHTML.slice(0, 120))"""
"""What has no name for a screen reader: WCAG 2.2, 4.1.2."""


async def test_alarm_is_acknowledged_with_a_comment(site: Site) -> None:
    page = await site.page()
    await page.click("nav >> text=Alarms")
    await has(page, ".card.bad", "Melt pressure is above 250 bar")
    await page.keyboard.press("Tab")
    await page.click("text=Acknowledge …")
    await page.keyboard.type("on my way")
    await page.click("dialog >> button:text-is('Acknowledge')")
    await has(page, ".card", "Acknowledged by admin")
    await has(page, ".card", "on my way")
    assert site.desk.done == [("acknowledge", ALARM.id, "admin", "on my way")]
    await playwright.expect(page.locator("nav .count")).to_have_count(2)


async def test_client_is_trusted_by_a_button_after_its_thumbprint_is_shown(site: Site) -> None:
    page = await site.page("#/setup")
    await has(page, "section[aria-labelledby=rejected] h3", CLIENT["subject"])
    await page.click("text=Trust …")
    await has(page, "dialog code", CLIENT["thumbprint"])
    await page.click("dialog >> button:text-is('Trust')")
    await has(page, "section[aria-labelledby=trusted] h3", CLIENT["subject"])
    await page.click("text=Adopt …")
    await page.click("dialog >> button:text-is('Adopt')")
    await has(page, "section[aria-labelledby=found]", "None.")
    assert site.desk.done == [("trust", CLIENT["thumbprint"], "admin"), ("adopt", "panel", "1/22/9", "admin")]


async def test_dead_letter_is_put_aside_with_a_reason(site: Site) -> None:
    page = await site.page("#/commands")
    await has(page, ".card.bad", LETTER["sentence"])
    await page.click("text=Put aside …")
    await page.keyboard.type("done by hand")
    await page.click("dialog >> button:text-is('Put aside')")
    await has(page, "main", "Nobody has commanded anything yet")
    assert site.desk.done == [("discard", LETTER["id"], "admin", "done by hand")]


async def test_faults_of_a_start_are_on_the_page_before_anybody_logs_in(site: Site) -> None:
    fault = "bridge.yaml:14:7: sources.panel.url: this is no URL; expected https://…"
    site.desk.current = replace(HEALTH, configuration="", refused=(fault,), sources=(), faces=())
    page = await site.page(logged_in=False)
    await has(page, "main h1", "its configuration has faults")
    await has(page, ".faults code", "bridge.yaml:14:7")
    await has(page, ".faults", "this is no URL")
    site.desk.current = HEALTH
    await page.wait_for_selector("#token")


async def test_one_view_too_many_is_told_why(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    await site.page()
    monkeypatch.setattr("bridge.northbound.status.api.MAX_STREAMS", 1)
    page = await site.page(logged_in=False)
    await page.goto(f"{site.url}/#token={TOKEN}")
    await has(page, "#line", "1 views are open already; close one")
    site.complaints[:] = [said for said in site.complaints if "503" not in said]


async def test_lost_bridge_is_told_and_its_return_too(chromium: Any) -> None:
    table = filled_table()[0]
    async with contextlib.AsyncExitStack() as stack:
        served = await stack.enter_async_context(contextlib.AsyncExitStack())
        _, url = await served.enter_async_context(serving(table, Waiting()))
        site = Site(chromium, url, table, Waiting())
        page = await site.page()
        await has(page, "#headline", "2 values")
        await served.aclose()
        await has(page, "#line", "The connection to the bridge is lost")
        port = int(url.rpartition(":")[2])
        await stack.enter_async_context(serving(table, Desk(), port))
        await page.wait_for_selector("#token")  # sessions end with the process: who may look is asked anew
        await page.context.close()
