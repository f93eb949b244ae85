// One tag, closely: its value, why it is as it is, where it comes from, and where it is on each face.
import { get } from "./api.js";
import { h, show } from "./dom.js";
import { line, prepend, range, remember, shownFor } from "./trend.js";
import { clock, since, span, statusBadge, valueText } from "./words.js";

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
    show(trend, line(id, 600, 120), low === undefined ? null : h("p", { class: "quiet" }, `Last ${span(shownFor(id))}: ${valueText(low)} to ${valueText(high)} ${tag.unit ?? ""}`));
  };
  const path = `/api/v1/tags/${encodeURIComponent(id)}`;
  get(path).then(
    (told) => {
      tag = { ...told };
      remember(id, tag);
      draw();
      show(more, about(tag), provenance(tag.explain));
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
    tag.explain.about ? row("What", tag.explain.about) : null,
    row("Type", `${tag.type}, ${tag.access}`),
    tag.range ? row("Range", `${tag.range[0]} to ${tag.range[1]} ${tag.unit ?? ""}`) : null,
    Object.entries(FACES).filter(([face]) => tag.addresses[face]).map(([face, name]) => row(name, address(tag.addresses[face]))),
    Object.entries(explained).filter(([key]) => tag.explain[key]?.length).map(([key, name]) => row(name, [].concat(tag.explain[key]).join(", "))),
  );
}

/** As `plantbridge why` tells it: what the vendor said, what became of it, and what each face said. */
function provenance(why) {
  if (!why.steps && !why.faces) return null;
  const heard = why.observation;
  const faces = Object.entries(why.faces ?? {}).map(([name, face]) => {
    const said = face.status === null ? "" : ` said ${valueText(face.value)}, ${face.status}, of ${clock(face.time)}`;
    return h("li", {}, h("strong", {}, name), said, face.why_not ? ` not told: ${face.why_not}` : "");
  });
  return h(
    "details",
    {},
    h("summary", {}, "Where this value comes from"),
    heard ? h("p", {}, `Heard on ${heard.channel}, ${heard.how}, ${clock(heard.received)}`) : null,
    why.payload === null || why.payload === undefined ? null : h("pre", { tabindex: "0" }, JSON.stringify(why.payload, null, 2)),
    why.steps?.length ? h("ol", {}, why.steps.map((step) => h("li", {}, `${step.rule} → ${valueText(step.result)}`))) : null,
    why.change ? h("p", {}, why.change) : null,
    faces.length ? h("ul", {}, faces) : null,
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
