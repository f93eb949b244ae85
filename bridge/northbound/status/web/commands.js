// Commands: what was asked for, how far it is, how it ended; and those that a person must decide about.
import { post } from "./api.js";
import { act, ask } from "./ask.js";
import { h, show } from "./dom.js";
import { poll } from "./poll.js";
import { badge, clock, since, valueText } from "./words.js";

const DONE = { confirmed: "good", changed: "uncertain", accepted: "good", queued: "uncertain", superseded: "none", expired: "none" };
const MOST = 100;

export function commandsPage(main, parameters, look, navigate, session) {
  const dead = h("div");
  const list = h("div");
  const problem = h("p", { class: "problem", role: "alert" });
  const open = new Set();
  show(main, h("h1", {}, "Commands"), problem, dead, list);
  const polling = poll(
    () => ["/api/v1/commands?dead=true&limit=100", `/api/v1/commands?limit=${MOST}`],
    (letters, newest) => {
      show(dead, letters.commands.length ? deadLetters(letters.commands, session, () => polling.now()) : null);
      show(list, newest.commands.length ? table(newest.commands, open, session, () => polling.now()) : h("p", { class: "quiet" }, "Nobody has commanded anything yet."));
    },
    (text) => (problem.textContent = text),
  );
  return { query: {}, leave: () => polling.stop() };
}

const asked = (command) =>
  Object.entries(command.arguments).map(([name, value]) => (name === "value" ? valueText(value) : `${name} ${valueText(value)}`)).join(", ");

function result(command) {
  if (command.state === "dead") return badge("bad", "dead letter");
  if (!command.result) return badge("uncertain", command.state);
  return badge(DONE[command.result] ?? "bad", command.result);
}

function deadLetters(letters, session, again) {
  return h(
    "section",
    { "aria-labelledby": "dead" },
    h("h2", { id: "dead" }, "Waiting for a person"),
    h("p", {}, "It is not known whether these had an effect. Look at the machine, or at the vendor's own screen, before you decide."),
    h("ul", { class: "cards" }, letters.map((letter) => h("li", { class: "card bad" }, letterWords(letter), buttons(letter, session, again)))),
  );
}

const letterWords = (letter) => [
  h("h3", {}, letter.target),
  h("p", { class: "reason" }, letter.sentence || letter.history.at(-1)?.detail),
  h("p", {}, asked(letter), ` · by ${letter.requester}, `, since(letter.issued)),
];

const path = (command, verb) => `/api/v1/commands/${encodeURIComponent(command.id)}/${verb}`;

function buttons(letter, session, again) {
  const words = [h("p", {}, h("strong", {}, letter.target), ` ${asked(letter)}`)];
  const retry = () =>
    ask({
      title: "Send it again?",
      words: [...words, h("p", {}, "It is sent as a new command, and may be the second of its kind.")],
      button: "Send again",
      done: again,
      action: async () => {
        const ended = await post(path(letter, "retry"));
        return `${ended.result}: ${ended.sentence}`;
      },
    });
  const discard = () =>
    ask({ title: "Put it aside?", words, field: "Why (kept in the journal)", button: "Put aside", done: again, action: async (reason) => void (await post(path(letter, "discard"), { reason })) });
  return h("p", { class: "buttons" }, act(session, "Operator", "Send again …", retry, `retry-${letter.id}`), " ", act(session, "Operator", "Put aside …", discard, `discard-${letter.id}`, "danger"));
}

function table(commands, open, session, again) {
  const rows = commands.map((command) => {
    const details = h(
      "details",
      { open: open.has(command.id), ontoggle: (event) => (event.target.open ? open.add(command.id) : open.delete(command.id)) },
      h("summary", { "data-key": command.id }, command.target),
      h("ol", {}, command.history.map((step) => h("li", {}, `${clock(step.at)} ${step.state}`, step.detail ? `: ${step.detail}` : ""))),
      command.items.length ? h("ul", {}, command.items.map((item) => h("li", {}, `${item.target}: ${item.result} ${item.sentence}`))) : null,
      command.vendor_text ? h("p", {}, `The vendor's words: ${command.vendor_text}`) : null,
      h("p", { class: "quiet" }, `${command.id}, by ${command.door} as ${command.role}`),
      command.state === "queued" ? buttons(command, session, again) : null,
    );
    return h(
      "tr",
      {},
      h("td", {}, details),
      h("td", {}, asked(command)),
      h("td", {}, result(command), command.sentence ? h("span", { class: "why" }, command.sentence) : null),
      h("td", {}, command.requester),
      h("td", {}, h("time", { datetime: command.issued }, clock(command.issued))),
    );
  });
  return h(
    "section",
    { "aria-labelledby": "newest" },
    h("h2", { id: "newest" }, "The newest"),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": "newest" }, h("table", {}, h("thead", {}, h("tr", {}, ["Target", "Asked for", "Result", "By", "At"].map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, rows))),
  );
}
