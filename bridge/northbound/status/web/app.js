// The page: who looks, which part, and the one stream that feeds it.
import { Screen, get, post, whenLoggedOut } from "./api.js";
import { commandsPage } from "./commands.js";
import { h, show } from "./dom.js";
import { eventsPage } from "./events.js";
import { loginPage, refusedPage } from "./login.js";
import { overviewPage } from "./overview.js";
import { poll } from "./poll.js";
import { setupPage } from "./setup.js";
import { tagsPage } from "./tags.js";
import { grow, setNow } from "./words.js";

const PAGES = {
  overview: ["Overview", overviewPage],
  tags: ["Tags", tagsPage],
  events: ["Alarms", eventsPage],
  commands: ["Commands", commandsPage],
  setup: ["Setup", setupPage],
};
/** Which page shows what waits for a person. */
const WAITING = { events: ["alarms"], commands: ["dead_letters"], setup: ["certificates", "machines"] };
const TICK_MS = 1000;

const main = document.getElementById("main");
const nav = document.getElementById("nav");
const who = document.getElementById("who");
const line = document.getElementById("line");
let session = null;
let page = null;
let shown = null;
let todo = null;

const screen = new Screen(
  {
    overview: (told) => (setNow(told.now), counted(told), page?.overview?.(told)),
    window: (told) => (setNow(told.now), page?.window?.(told)),
    values: (told) => (setNow(told.now), page?.values?.(told)),
    dropped: (told) => say(told.sentence),
  },
  say,
);

/** What concerns the whole page, above everything, until it is over. */
function say(sentence) {
  if (line.textContent !== sentence) line.textContent = sentence;
}

function counted(told) {
  const bad = told.values.bad + told.values.uncertain;
  document.title = `${bad ? `(${bad}) ` : ""}plantbridge`;
}

function route() {
  const [name, query] = location.hash.replace(/^#\/?/, "").split("?");
  return [name in PAGES ? name : "overview", new URLSearchParams(query ?? "")];
}

function navigate(address) {
  history.replaceState(null, "", address);
}

function open() {
  if (!session?.user) return;
  const [name, parameters] = route();
  page?.leave?.();
  page = null;
  const look = () => page && screen.look(page.query);
  page = PAGES[name][1](main, parameters, look, navigate, session);
  look();
  for (const link of nav.querySelectorAll("a")) {
    if (link.dataset.page === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (shown && shown !== name) main.focus({ preventScroll: true });
  shown = name;
}

/** Beside each page's name, how much there waits for a person. */
function waiting(told) {
  for (const [name, kinds] of Object.entries(WAITING)) {
    const count = kinds.reduce((sum, kind) => sum + told[kind], 0);
    const place = nav.querySelector(`[data-page="${name}"] .waiting`);
    show(place, count ? [h("span", { class: "count", "aria-hidden": "true" }, String(count)), h("span", { class: "hidden" }, `, ${count} waiting`)] : null);
  }
}

function logged(told) {
  session = told;
  nav.hidden = who.hidden = false;
  show(nav, h("ul", {}, Object.entries(PAGES).map(([name, [title]]) => h("li", {}, h("a", { href: `#/${name}`, "data-page": name }, title, h("span", { class: "waiting" }))))));
  show(who, h("span", {}, `${session.user} (${session.role}) `), h("button", { type: "button", class: "small", onclick: logOut }, "Log out"));
  todo?.stop();
  todo = poll(() => ["/api/v1/todo"], waiting, () => {});
  open();
}

async function logOut() {
  await post("/api/v1/logout").catch(() => {});
  start();
}

async function start() {
  screen.close();
  page?.leave?.();
  todo?.stop();
  page = session = shown = null;
  nav.hidden = who.hidden = true;
  let told;
  try {
    told = await token() ?? await get("/api/v1/session");
  } catch (refusal) {
    say(refusal.message);
    setTimeout(start, 2 * TICK_MS);
    return;
  }
  say("");
  if (told.faults.length) refusedPage(main, told, start);
  else if (told.user) logged(told);
  else loginPage(main, told, logged);
}

/** A link with #token=… logs in, once; the token does not stay in the address. */
async function token() {
  const found = /^#token=(.+)$/.exec(location.hash);
  if (!found) return null;
  navigate("#/overview");
  try {
    return await post("/api/v1/login", { token: decodeURIComponent(found[1]) });
  } catch {
    return null;
  }
}

whenLoggedOut(() => session && start());
window.addEventListener("hashchange", () => (location.hash.startsWith("#token=") ? start() : location.hash !== "#main" && open()));
window.addEventListener("resize", () => page?.resized?.());
setInterval(() => (grow(), page?.tick?.()), TICK_MS);
document.querySelector(".skip").addEventListener("click", (event) => (event.preventDefault(), main.focus()));
start();
