// One tag, closely: its value, why it is as it is, where it comes from, and where it is on each face.
import { get } from "./api.js";
import { h, show } from "./dom.js";
import { line, prepend, range, remember } from "./trend.js";
import { clock, since, statusBadge, valueText } from "./words.js";

const FACES = { opcua: "OPC UA NodeId", sparkplug: "Sparkplug metric", uns: "UNS topic", status: "Admin API" };

/** Opens a dialog; gives `changed(value)`, `tick()` and `shut()`. */
export function detail(id, closed) {
  const value = h("div", { class: "now" });
  const trend = h("div", { class: "large-trend" });
  const more = h("div", {}, h("p", { class: "quiet" }, "Loading …"));
  const dialog = h(
    "dialog",
    { "aria-labelledby": "detail-name", onclose: () => (dialog.remove(), closed()) },
    h("h2", { id: "detail-name" }, id),
    value,
    trend,
    more,
    h("button", { type: "button", autofocus: true, onclick: () => dialog.close() }, "Close"),
  );
  document.body.append(dialog);
  dialog.showModal();
  let tag = null;
  const draw = () => {
    if (!tag) return;
    show(value, nowOf(tag));
    const [low, high] = range(id) ?? [];
    show(trend, line(id, 600, 120), low === undefined ? null : h("p", { class: "quiet" }, `Last 5 minutes: ${valueText(low)} to ${valueText(high)} ${tag.unit ?? ""}`));
  };
  const path = `/api/v1/tags/${encodeURIComponent(id)}`;
  get(path).then(
    (told) => {
      tag = { ...told };
      remember(id, tag);
      draw();
      show(more, about(tag));
    },
    (refusal) => show(more, h("p", { class: "problem", role: "alert" }, refusal.message)),
  );
  get(`${path}/trend`).then((told) => (prepend(id, told.values), draw()), () => {});
  return {
    changed(fresh) {
      if (tag) Object.assign(tag, fresh);
      draw();
    },
    tick: draw,
    shut: () => dialog.close(),
  };
}

function nowOf(tag) {
  return [
    h("p", { class: "big" }, valueText(tag.value), h("span", { class: "unit" }, tag.unit && tag.value !== null ? ` ${tag.unit}` : "")),
    h("p", {}, statusBadge(tag.status), tag.reason ? ` ${tag.reason}` : ""),
    tag.since ? h("p", {}, "Since ", since(tag.since)) : null,
    tag.status.startsWith("Good") || !tag.explain.advice ? null : h("p", { class: "advice" }, h("strong", {}, "What to do: "), tag.explain.advice),
    h("p", { class: "quiet" }, `Source time ${clock(tag.time)}`),
  ];
}

function about(tag) {
  const row = (name, ...content) => [h("dt", {}, name), h("dd", {}, ...content)];
  const explained = { from: "Read from", source: "Source", source_machine: "Its machine", mapping: "Mapping", channel: "Channel", owner: "Owner" };
  return h(
    "dl",
    {},
    row("Type", `${tag.type}, ${tag.access}`),
    tag.range ? row("Range", `${tag.range[0]} to ${tag.range[1]} ${tag.unit ?? ""}`) : null,
    Object.entries(FACES).filter(([face]) => tag.addresses[face]).map(([face, name]) => row(name, address(tag.addresses[face]))),
    Object.entries(explained).filter(([key]) => tag.explain[key]?.length).map(([key, name]) => row(name, [].concat(tag.explain[key]).join(", "))),
  );
}

function address(text) {
  const button = h("button", { type: "button", class: "small", onclick: copy }, "Copy");
  async function copy() {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select it by hand";
    }
  }
  return [h("code", {}, text), " ", button];
}
