// Alarms, the worst first, with who has seen them; and what happened, the newest first.
import { post } from "./api.js";
import { act, ask } from "./ask.js";
import { h, show } from "./dom.js";
import { poll } from "./poll.js";
import { badge, clock, since } from "./words.js";

const MOST = 200;

export function eventsPage(main, parameters, look, navigate, session) {
  const alarms = h("div");
  const events = h("div");
  const problem = h("p", { class: "problem", role: "alert" });
  show(main, h("h1", {}, "Alarms and events"), problem, alarms, events);
  const polling = poll(
    () => ["/api/v1/alarms", `/api/v1/events?limit=${MOST}`],
    (told, happened) => {
      show(alarms, alarmList(told.alarms, session, () => polling.now()));
      show(events, eventList(happened.events));
    },
    (text) => (problem.textContent = text),
  );
  return { query: {}, leave: () => polling.stop() };
}

const rank = (alarm) => (alarm.active ? 2 : 0) + (alarm.acked ? 0 : 1);

function alarmList(alarms, session, again) {
  const sorted = [...alarms].sort((a, b) => rank(b) - rank(a) || b.severity - a.severity);
  return h(
    "section",
    { "aria-labelledby": "alarms" },
    h("h2", { id: "alarms" }, "Alarms"),
    sorted.length ? h("ul", { class: "cards" }, sorted.map((alarm) => alarmCard(alarm, session, again))) : h("p", {}, badge("good", "No alarm is active, and none waits to be acknowledged")),
  );
}

function alarmCard(alarm, session, again) {
  const kind = alarm.active ? (alarm.severity >= 700 ? "bad" : "uncertain") : "none";
  const acknowledge = () =>
    ask({
      title: `Acknowledge: ${alarm.name}`,
      words: [h("p", {}, alarm.message)],
      field: "Comment (everybody can read it)",
      button: "Acknowledge",
      done: again,
      action: async (comment) => void (await post(`/api/v1/alarms/${encodeURIComponent(alarm.id)}/acknowledge`, comment ? { comment } : {})),
    });
  return h(
    "li",
    { class: `card ${kind}` },
    h("h3", {}, badge(kind, alarm.active ? "active" : "over"), ` ${alarm.name}`, alarm.level ? ` (${alarm.level})` : ""),
    h("p", { class: "reason" }, alarm.message),
    h("p", {}, alarm.machine, " ", h("a", { href: `#/tags?${new URLSearchParams({ q: alarm.tag })}` }, alarm.tag), `, severity ${alarm.severity}`),
    h("p", { class: "quiet" }, "Since ", since(alarm.since)),
    alarm.acked
      ? h("p", {}, `Acknowledged by ${alarm.acked_by || "somebody"}`)
      : h("p", { class: "buttons" }, act(session, "Operator", "Acknowledge …", acknowledge, `ack-${alarm.id}`)),
    alarm.comment ? h("p", {}, `“${alarm.comment}”${alarm.commented_by ? ` (${alarm.commented_by})` : ""}`) : null,
  );
}

const kindOf = (severity) => (severity >= 700 ? "bad" : severity >= 500 ? "uncertain" : "plain");

function eventList(events) {
  const rows = events.map((event) =>
    h(
      "tr",
      {},
      h("td", {}, h("time", { datetime: event.time, title: event.time }, clock(event.time))),
      h("td", {}, badge(kindOf(event.severity), event.kind)),
      h("td", { class: "short" }, event.machine || event.source),
      h("td", {}, event.message),
    ),
  );
  return h(
    "section",
    { "aria-labelledby": "events" },
    h("h2", { id: "events" }, "Events"),
    rows.length
      ? h("div", { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": "events" }, h("table", {}, h("thead", {}, h("tr", {}, ["At", "What", "Where", "In words"].map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, rows)))
      : h("p", { class: "quiet" }, "Nothing has happened yet."),
  );
}
