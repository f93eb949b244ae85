// Every tag, live: a list that holds only what is on the screen, whatever the size of the plant.
import { h, show } from "./dom.js";
import { detail } from "./detail.js";
import { line, remember } from "./trend.js";
import { SEVERITIES, age, clock, statusBadge, valueText } from "./words.js";

const AROUND = 20;
const PAUSE_MS = 150;
const MOST = 300;

export function tagsPage(main, parameters, look, navigate) {
  const page = new TagList(parameters, look, navigate);
  show(main, page.elements());
  page.resized();
  return page;
}

class TagList {
  constructor(parameters, look, navigate) {
    this.look = look;
    this.navigate = navigate;
    this.search = parameters.get("q") ?? "";
    this.only = new Set((parameters.get("only") ?? "").split(",").filter(Boolean));
    this.total = 0;
    this.offset = 0;
    this.tags = [];
    this.rows = new Map();
    this.cursor = 0;
    this.rowHeight = 48;
    this.dialog = null;
  }

  elements() {
    this.input = h("input", { id: "search", type: "search", placeholder: "temperature front", maxlength: 200, value: this.search, spellcheck: "false", "aria-describedby": "found", oninput: () => this.later(() => this.searched()) });
    const filters = Object.entries(SEVERITIES).map(([name, word]) =>
      h("label", { class: "filter" }, h("input", { type: "checkbox", checked: this.only.has(name), onchange: (event) => this.filtered(name, event.target.checked) }), ` ${word}`),
    );
    this.count = h("p", { id: "found", class: "quiet", role: "status" });
    this.spacer = h("div", { class: "spacer" });
    this.scroller = h(
      "div",
      { class: "list", role: "grid", "aria-label": "Tags", tabindex: "0", onscroll: () => this.scrolled(), onkeydown: (event) => this.keyed(event), onclick: (event) => this.clicked(event) },
      h("div", { class: "row head", role: "row" }, ["Tag", "Value", "Quality", "Age", "Trend"].map((name) => h("span", { role: "columnheader", class: name === "Value" ? "right" : null }, name))),
      this.spacer,
    );
    return [
      h("h1", {}, "Tags"),
      h("form", { class: "tools", role: "search", onsubmit: (event) => event.preventDefault() }, h("label", { for: "search" }, "Search"), this.input, h("fieldset", {}, h("legend", {}, "Show only"), filters), this.count),
      this.scroller,
    ];
  }

  get query() {
    const { first, limit } = this.wanted();
    return { q: this.search, only: [...this.only].join(","), offset: first, limit, ...(this.pinned ? { pin: this.pinned } : {}) };
  }

  wanted() {
    const visible = Math.ceil((this.scroller?.clientHeight || 800) / this.rowHeight);
    const limit = Math.min(MOST, visible + 2 * AROUND);
    return { first: Math.max(0, this.top() - AROUND), visible, limit };
  }

  top() {
    return Math.floor((this.scroller?.scrollTop ?? 0) / this.rowHeight);
  }

  later(callback) {
    clearTimeout(this.timer);
    this.timer = setTimeout(callback, PAUSE_MS);
  }

  searched() {
    this.search = this.input.value.trim();
    this.scroller.scrollTop = 0;
    this.cursor = 0;
    this.navigate(this.address());
    this.look();
  }

  filtered(name, on) {
    if (on) this.only.add(name);
    else this.only.delete(name);
    this.searched();
  }

  address() {
    const parameters = new URLSearchParams();
    if (this.search) parameters.set("q", this.search);
    if (this.only.size) parameters.set("only", [...this.only].join(","));
    return `#/tags${parameters.size ? `?${parameters}` : ""}`;
  }

  scrolled() {
    const { first, visible } = this.wanted();
    const top = this.top();
    const covered = top >= this.offset && Math.min(this.total, top + visible) <= this.offset + this.tags.length;
    if (!covered || (first < this.offset && top - this.offset < AROUND / 2)) this.later(() => this.look());
  }

  resized() {
    const height = Number.parseFloat(getComputedStyle(this.scroller).getPropertyValue("--row"));
    const size = Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
    this.rowHeight = height * size;
    this.place();
    this.look();
  }

  window(told) {
    this.total = told.total;
    this.offset = told.offset;
    this.tags = told.tags;
    this.count.textContent = told.total === told.all ? `${told.all} tags` : `${told.total} of ${told.all} tags`;
    this.scroller.setAttribute("aria-rowcount", told.total + 1);
    for (const tag of told.tags) remember(tag.id, tag);
    if (this.pinned && told.pinned[this.pinned]) this.dialog?.changed(told.pinned[this.pinned]);
    this.place();
  }

  values(told) {
    for (const tag of this.tags) {
      const value = told.values[tag.id];
      if (!value) continue;
      Object.assign(tag, value);
      remember(tag.id, tag);
      this.fill(this.rows.get(tag.id), tag);
    }
    const pinned = this.pinned && told.values[this.pinned];
    if (pinned) {
      remember(this.pinned, pinned);
      this.dialog?.changed(pinned);
    }
  }

  /** Ages grow, and lines, while nothing comes. */
  tick() {
    for (const tag of this.tags) {
      const row = this.rows.get(tag.id);
      if (!row) continue;
      row.querySelector(".age").textContent = age(tag.time);
      row.querySelector(".line").replaceChildren(line(tag.id, 120, 24) ?? "");
    }
    this.dialog?.tick();
  }

  place() {
    this.spacer.style.height = `${this.total * this.rowHeight}px`;
    const before = this.rows;
    this.rows = new Map();
    this.tags.forEach((tag, index) => {
      const row = before.get(tag.id) ?? this.row(tag);
      before.delete(tag.id);
      this.rows.set(tag.id, row);
      const number = this.offset + index;
      row.style.transform = `translateY(${number * this.rowHeight}px)`;
      row.setAttribute("aria-rowindex", number + 2);
      row.dataset.number = number;
      row.id = `row-${number}`;
      this.fill(row, tag);
      if (!row.isConnected) this.spacer.append(row);
    });
    for (const row of before.values()) row.remove();
    this.point();
  }

  row(tag) {
    return h(
      "div",
      { class: "row", role: "row", "data-id": tag.id },
      h("span", { role: "gridcell", class: "tag" }, h("span", { class: "machine" }, `${tag.machine} `), h("span", { class: "name" }, tag.name)),
      h("span", { role: "gridcell", class: "value" }),
      h("span", { role: "gridcell", class: "quality" }),
      h("span", { role: "gridcell", class: "age" }),
      h("span", { role: "gridcell", class: "line" }),
    );
  }

  fill(row, tag) {
    if (!row) return;
    const [, value, quality, since, trend] = row.children;
    const text = valueText(tag.value);
    value.replaceChildren(text, h("span", { class: "unit" }, tag.unit && tag.value !== null ? ` ${tag.unit}` : ""));
    if (quality.dataset.status !== tag.status + tag.reason) {
      quality.dataset.status = tag.status + tag.reason;
      quality.replaceChildren(statusBadge(tag.status), tag.reason ? h("span", { class: "why" }, tag.reason) : "");
    }
    since.textContent = age(tag.time);
    since.title = `Source time ${clock(tag.time)}`;
    trend.replaceChildren(line(tag.id, 120, 24) ?? "");
  }

  /** The keyboard's row: one stop for the Tab key, arrows inside. */
  point() {
    for (const row of this.rows.values()) row.classList.toggle("cursor", Number(row.dataset.number) === this.cursor);
    if (document.getElementById(`row-${this.cursor}`)) this.scroller.setAttribute("aria-activedescendant", `row-${this.cursor}`);
    else this.scroller.removeAttribute("aria-activedescendant");
  }

  keyed(event) {
    const page = Math.max(1, this.wanted().visible - 2);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -this.total, End: this.total };
    if (event.key === "Enter") {
      const row = document.getElementById(`row-${this.cursor}`);
      if (row) this.open(row.dataset.id);
    } else if (event.key in steps) {
      this.cursor = Math.min(this.total - 1, Math.max(0, this.cursor + steps[event.key]));
      const top = this.cursor * this.rowHeight;
      const height = this.scroller.clientHeight - this.rowHeight - 2;
      if (top < this.scroller.scrollTop) this.scroller.scrollTop = top;
      else if (top > this.scroller.scrollTop + height - this.rowHeight) this.scroller.scrollTop = top - height + this.rowHeight;
      this.point();
    } else return;
    event.preventDefault();
  }

  clicked(event) {
    const row = event.target.closest(".row[data-id]");
    if (!row) return;
    this.cursor = Number(row.dataset.number);
    this.point();
    this.open(row.dataset.id);
  }

  open(id) {
    this.pinned = id;
    this.dialog = detail(id, () => {
      this.pinned = this.dialog = null;
      this.scroller.focus({ preventScroll: true });
      this.look();
    });
    this.look();
  }

  leave() {
    clearTimeout(this.timer);
    this.dialog?.shut();
  }
}
