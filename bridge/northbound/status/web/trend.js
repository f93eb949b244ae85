// The last minutes of what was on the screen, kept in this browser. Bounded: points of a tag, and tags.
import { s } from "./dom.js";
import { now, span } from "./words.js";

export const WINDOW_MS = 5 * 60_000;
const LEAST_MS = 30_000;
const MOST_POINTS = 400;
const MOST_TAGS = 1000;

const trends = new Map();

const number = (value) => (typeof value === "boolean" ? Number(value) : typeof value === "number" ? value : null);

/** A tag's points, [time, number or null], the oldest first. */
export const points = (id) => trends.get(id) ?? [];

/** Remember a value, by its source time: it holds until the next one. None is a gap. */
export function remember(id, { value, time }) {
  const at = value === null ? now() : Math.min(now(), Date.parse(time));
  let known = trends.get(id);
  if (known === undefined) {
    if (trends.size >= MOST_TAGS) trends.delete(trends.keys().next().value);
    trends.set(id, (known = []));
  }
  if (known.length && (known.at(-1)[0] >= at || (value === null && known.at(-1)[1] === null))) return;
  known.push([at, number(value)]);
  while (known.length > MOST_POINTS) known.shift();
}

/** What was before this page looked, from the bridge's history. */
export function prepend(id, older) {
  const known = points(id);
  const first = known.length ? known[0][0] : Infinity;
  const before = older.map(([time, value]) => [Date.parse(time), number(value)]).filter(([time]) => time < first);
  trends.set(id, [...before, ...known].slice(-MOST_POINTS));
}

/** When the window begins: 5 minutes ago, or where what is known begins; half a minute at least. */
function start(id) {
  const first = points(id)[0]?.[0] ?? 0;
  return Math.min(Math.max(now() - WINDOW_MS, first), now() - LEAST_MS);
}

/** How long the window is, in seconds. */
export const shownFor = (id) => (now() - start(id)) / 1000;

/** What is in the window: the value that held when it began, then the points in it. */
function inWindow(id) {
  const begin = start(id);
  const known = points(id);
  const first = known.findLastIndex(([time]) => time <= begin);
  return known.slice(Math.max(0, first)).map(([time, value]) => [Math.max(time, begin), value]);
}

/** The least and the most in the window, or null. */
export function range(id) {
  const values = inWindow(id).map(([, value]) => value).filter((value) => value !== null);
  return values.length ? [Math.min(...values), Math.max(...values)] : null;
}

/** A line of `width` by `height`; null where there is nothing to draw. */
export function line(id, width, height) {
  const [low, high] = range(id) ?? [];
  if (low === undefined) return null;
  const end = now();
  const round = (number) => Math.round(number * 10) / 10;
  const begin = start(id);
  const x = (time) => round(((time - begin) / (end - begin)) * width);
  const y = (value) => round(high === low ? height / 2 : height - 2 - ((value - low) / (high - low)) * (height - 4));
  let path = "";
  let isDrawn = false;
  for (const [time, value] of inWindow(id)) {
    if (isDrawn) path += `H${x(time)}`;
    if (value !== null) path += isDrawn ? `V${y(value)}` : `M${x(time)} ${y(value)}`;
    isDrawn = value !== null;
  }
  if (isDrawn) path += `H${width}`;
  const label = `between ${low} and ${high} in the last ${span(shownFor(id))}`;
  const size = { viewBox: `0 0 ${width} ${height}`, width, height, preserveAspectRatio: "none" };
  return s("svg", { ...size, class: "trend", role: "img", "aria-label": label }, s("path", { d: path, fill: "none", "vector-effect": "non-scaling-stroke" }));
}
