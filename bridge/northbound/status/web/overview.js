// The night shift's first question: what is grey, why, and what is to be done.
import { h, show } from "./dom.js";
import { faultList } from "./faults.js";
import { SEVERITIES, age, badge, plural, severity, since, span, stateBadge, statusBadge } from "./words.js";

export function overviewPage(main) {
  const body = h("div", { id: "overview" });
  show(main, body);
  let before = "";
  return {
    query: {},
    overview(told) {
      const drawn = JSON.stringify({ ...told, now: 0, sources: told.sources.map((one) => ({ ...one, ...RESTLESS })) });
      if (drawn !== before) show(body, headline(told), causes(told), refused(told), sources(told), faces(told), about(told));
      else for (const source of told.sources) refresh(body, source);
      before = drawn;
    },
  };
}

/** What changes all the time: its text is exchanged, so that nobody loses what they are about to click or copy. */
const RESTLESS = { last_update: 0, next_try_in: 0, budget: 0 };

const restless = (source) => ({
  last: source.last_update ? `${age(source.last_update)} ago` : "none yet",
  next: source.next_try_in === null ? "–" : `in ${span(source.next_try_in)}`,
  budget: source.budget ? budget(source.budget) : "–",
});

function refresh(body, source) {
  for (const [what, text] of Object.entries(restless(source))) {
    const place = [...body.querySelectorAll(`[data-live="${what}"]`)].find((one) => one.dataset.source === source.name);
    if (place && place.textContent !== text) place.textContent = text;
  }
}

function headline(told) {
  const { good, uncertain, bad } = told.values;
  const grey = uncertain + bad;
  let words = told.ready ? "All values flow" : "The bridge is not ready";
  if (grey) words = `${plural(grey, "value is", "values are")} not Good`;
  else if (told.ready && !good) words = "Nothing has been received yet";
  const kind = bad || !told.ready ? "bad" : uncertain ? "uncertain" : "good";
  const counts = Object.entries(told.values).map(([name, count]) =>
    h("li", {}, h("a", { href: `#/tags?only=${name}`, "data-key": `count-${name}` }, badge(name, SEVERITIES[name]), h("strong", {}, ` ${count}`))),
  );
  const { active, unseen } = told.alarms;
  if (active || unseen) {
    const text = `${plural(active, "alarm is", "alarms are")} active, ${unseen} not acknowledged`;
    counts.push(h("li", {}, h("a", { href: "#/events", "data-key": "alarms" }, badge(active ? "bad" : "uncertain", text))));
  }
  const why = grey ? [] : told.why_not_ready;
  return h(
    "section",
    { class: `headline ${kind}`, "aria-labelledby": "headline" },
    h("h1", { id: "headline" }, badge(kind, words)),
    why.length ? h("ul", {}, why.map((one) => h("li", {}, one))) : null,
    h("ul", { class: "counts", "aria-label": "Values by quality, and alarms" }, counts),
  );
}

function causes(told) {
  if (!told.causes.length) return null;
  return h(
    "section",
    { "aria-labelledby": "causes" },
    h("h2", { id: "causes" }, "What is grey, and why"),
    h("ul", { class: "cards wide" }, told.causes.map((cause) => causeCard(cause))),
    told.more_causes ? h("p", {}, `and ${told.more_causes} more: `, h("a", { href: "#/tags?only=bad,uncertain" }, "all of them")) : null,
  );
}

function causeCard(cause) {
  const q = cause.machines.length === 1 && !cause.more_machines ? `${cause.machines[0]}.*` : "";
  const link = `#/tags?${new URLSearchParams({ q, only: severity(cause.status) })}`;
  const key = `cause-${cause.status}-${cause.reason}`;
  const names = cause.machines.join(", ") + (cause.more_machines ? ` and ${cause.more_machines} more` : "");
  return h(
    "li",
    { class: `card ${severity(cause.status)}` },
    h("p", { class: "reason" }, cause.reason || cause.status),
    cause.advice ? h("p", { class: "advice" }, h("strong", {}, "What to do: "), cause.advice) : null,
    h("p", {}, statusBadge(cause.status), " ", h("a", { href: link, "data-key": key }, plural(cause.count, "value")), ` of ${names}`, cause.source ? ` (source ${cause.source})` : ""),
    h("p", { class: "quiet" }, "Since ", since(cause.since)),
  );
}

function refused(told) {
  if (!told.refused.length) return null;
  return h(
    "section",
    { class: "card bad", "aria-labelledby": "refused" },
    h("h2", { id: "refused" }, badge("bad", "The changed configuration is refused; the old one keeps running")),
    faultList(told.refused),
  );
}

function sources(told) {
  return h(
    "section",
    { "aria-labelledby": "sources" },
    h("h2", { id: "sources" }, "Sources"),
    told.sources.length ? h("ul", { class: "cards" }, told.sources.map(sourceCard)) : h("p", { class: "quiet" }, "None is configured."),
  );
}

function sourceCard(source) {
  const row = (name, ...value) => [h("dt", {}, name), h("dd", {}, ...value)];
  const texts = restless(source);
  const live = (what) => h("span", { "data-live": what, "data-source": source.name }, texts[what]);
  return h(
    "li",
    { class: "card" },
    h("h3", {}, source.name, " ", stateBadge(source.state)),
    source.reason ? h("p", { class: "reason" }, source.reason) : null,
    source.advice ? h("p", { class: "advice" }, h("strong", {}, "What to do: "), source.advice) : null,
    h(
      "dl",
      {},
      row("Type", source.type),
      row("Since", since(source.since)),
      ["Connected", "Degraded"].includes(source.state) ? null : row("Next try", live("next")),
      row("Last value", live("last")),
      row("Machines", source.machines),
      source.reconnects ? row("Reconnects", source.reconnects) : null,
      source.budget ? row("Requests", live("budget")) : null,
    ),
  );
}

function budget({ used, limit, rate, throttled }) {
  const words = [];
  if (used !== undefined) words.push(`${used} in the last minute${limit === undefined ? "" : ` of ${limit}`}`);
  if (rate !== undefined) words.push(`now ${Math.round(rate * 10) / 10} a minute`);
  if (throttled) words.push(`refused as too many: ${throttled}`);
  return words.join("; ");
}

function faces(told) {
  return h(
    "section",
    { "aria-labelledby": "faces" },
    h("h2", { id: "faces" }, "Faces"),
    h(
      "ul",
      { class: "plain" },
      told.faces.map((face) =>
        h("li", {}, badge(face.running && !face.detail ? "good" : "bad", face.name), face.running ? "" : " does not run", face.detail && face.running ? `: ${face.detail}` : ""),
      ),
    ),
  );
}

const about = (told) =>
  h("p", { class: "quiet" }, `plantbridge ${told.version}, configuration ${told.configuration}, ${plural(told.machines, "machine")}, started `, since(told.started));
