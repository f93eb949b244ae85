// How things are said: the same words as in the CLI, OPC UA and MQTT. A colour is never the only sign.
import { h } from "./dom.js";

let skew = 0;

/** Times are the bridge's: this browser's clock may be wrong. */
export function setNow(now) {
  if (now) skew = Date.parse(now) - Date.now();
}

export const now = () => Date.now() + skew;

// Nothing needs to be mended: the vendor has no such value now, or nobody has said one yet.
const NOTHING_YET = new Set(["BadNoData", "BadWaitingForInitialData"]);

/** good, uncertain, bad, or none: there is no such value now. */
export function severity(status) {
  if (status.startsWith("Good")) return "good";
  if (NOTHING_YET.has(status)) return "none";
  return status.startsWith("Uncertain") ? "uncertain" : "bad";
}

const SIGNS = { good: "✓", uncertain: "▲", bad: "✕", none: "–", plain: "•" };
export const SEVERITIES = { good: "Good", uncertain: "Uncertain", bad: "Bad", none: "No value" };

/** A sign and a word. */
export function badge(kind, word) {
  return h("span", { class: `badge ${kind}` }, h("span", { "aria-hidden": "true" }, SIGNS[kind]), ` ${word}`);
}

export const statusBadge = (status) => badge(severity(status), status);

const STATES = { Connected: "good", Waiting: "uncertain", Silent: "uncertain", Degraded: "uncertain" };
export const stateBadge = (state) => badge(STATES[state] ?? "bad", state);

/** "4 s", "3 min", "2 h 05 min", "3 d". */
export function span(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 100) return `${whole} s`;
  if (whole < 5400) return `${Math.round(whole / 60)} min`;
  if (whole < 172800) return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")} min`;
  return `${Math.floor(whole / 86400)} d`;
}

export const age = (time) => (time ? span((now() - Date.parse(time)) / 1000) : "–");

/** The clock time, with the day where it is not today's. */
export function clock(time) {
  if (!time) return "–";
  const moment = new Date(time);
  const today = new Date(now()).toDateString() === moment.toDateString();
  const text = moment.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  return today ? text : `${moment.toLocaleDateString([], { day: "2-digit", month: "short" })} ${text}`;
}

/** A time element that says how long ago it was, and goes on saying it. */
export const since = (time) => (time ? h("time", { datetime: time, title: time, "data-grows": "" }, sinceText(time)) : h("span", {}, "–"));

const sinceText = (time) => `${clock(time)} (${age(time)} ago)`;

/** Let what says how long ago something was grow older. */
export function grow() {
  for (const one of document.querySelectorAll("time[data-grows]")) {
    const text = sinceText(one.dateTime);
    if (one.textContent !== text) one.textContent = text;
  }
}

/** A value as a person reads it; five digits are enough for a look. */
export function valueText(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "number" && !Number.isInteger(value)) {
    return Math.abs(value) >= 1e7 || Math.abs(value) < 1e-4 ? value.toExponential(4) : String(Number(value.toPrecision(6)));
  }
  return String(value);
}

export const plural = (count, one, many) => `${count} ${count === 1 ? one : many ?? `${one}s`}`;
