// What an engineer decides: clients to trust, machines to adopt, the configuration.
import { post } from "./api.js";
import { act, ask } from "./ask.js";
import { h, show } from "./dom.js";
import { faultList } from "./faults.js";
import { poll } from "./poll.js";
import { badge, since } from "./words.js";

export function setupPage(main, parameters, look, navigate, session) {
  const [machines, certificates, configuration] = [h("div"), h("div"), h("div")];
  const problem = h("p", { class: "problem", role: "alert" });
  show(main, h("h1", {}, "Setup"), problem, machines, certificates, configuration);
  const again = () => polling.now();
  const polling = poll(
    () => ["/api/v1/found", "/api/v1/certificates"],
    (found, kept) => {
      show(machines, foundMachines(found.machines, session, again));
      show(certificates, certificateLists(kept.certificates, session, again));
    },
    (text) => (problem.textContent = text),
  );
  let before = null;
  return {
    query: {},
    overview(told) {
      const text = JSON.stringify([told.refused, told.configuration]);
      if (text !== before) show(configuration, configurationOf(told, session));
      before = text;
    },
    leave: () => polling.stop(),
  };
}

const pairs = (row) => h("dl", {}, row.filter(([, value]) => value).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));

function foundMachines(machines, session, again) {
  return h(
    "section",
    { "aria-labelledby": "found" },
    h("h2", { id: "found" }, "Found machines waiting for adoption"),
    machines.length
      ? h("ul", { class: "cards" }, machines.map((machine) => foundCard(machine, session, again)))
      : h("p", { class: "quiet" }, "None. With discovery: publish in bridge.yaml found machines appear at once; with discovery: adopt they wait here."),
  );
}

function foundCard(machine, session, again) {
  const identity = Object.entries(machine.identity).map(([name, value]) => [name, String(value)]);
  const adopt = () =>
    ask({
      title: `Take ${machine.id} into the plant?`,
      words: [h("p", {}, "It appears on every face and keeps this id for ever. For another id, a place or a label, name it in machines: of bridge.yaml instead.")],
      button: "Adopt",
      done: again,
      action: async () => void (await post("/api/v1/found/adopt", { source: machine.source, key: machine.key })),
    });
  return h(
    "li",
    { class: "card" },
    h("h3", {}, machine.id),
    pairs([["Source", machine.source], ...identity, ["Mapping", machine.mapping]]),
    machine.mapping ? null : h("p", { class: "advice" }, "No mapping matches it: write one first (docs/tutorial/write-a-mapping.md)."),
    h("p", { class: "quiet" }, "Seen first ", since(machine.first_seen)),
    machine.mapping ? act(session, "Engineer", "Adopt …", adopt, `adopt-${machine.source}-${machine.key}`) : null,
  );
}

const FOLDERS = { rejected: "Certificates waiting for trust", trusted: "Trusted clients", issuers: "Authorities that are known, not trusted", own: "The server's own" };
const VERBS = { rejected: ["trust", "Trust …", ""], trusted: ["distrust", "Trust no longer …", "danger"] };

function certificateLists(certificates, session, again) {
  return Object.entries(FOLDERS).map(([folder, title]) => {
    const kept = certificates.filter((one) => one.folder === folder);
    if (!kept.length && folder !== "rejected") return null;
    return h(
      "section",
      { "aria-labelledby": folder },
      h("h2", { id: folder }, title),
      kept.length
        ? h("ul", { class: "cards" }, kept.map((one) => certificateCard(one, session, again)))
        : h("p", { class: "quiet" }, "None. A client that is refused for its certificate appears here."),
    );
  });
}

function certificateCard(one, session, again) {
  const [verb, text, kind] = VERBS[one.folder] ?? [];
  const decide = () =>
    ask({
      title: verb === "trust" ? "Let this client in?" : "Shut this client out?",
      words: [
        h("p", {}, h("strong", {}, one.subject)),
        verb === "trust" ? h("p", {}, "Compare the thumbprint with the one that the client itself shows; anybody can write any name into a certificate.") : null,
        h("p", {}, h("code", {}, one.thumbprint)),
        h("p", {}, "It counts from its next connect on."),
      ],
      button: verb === "trust" ? "Trust" : "Trust no longer",
      done: again,
      action: async () => void (await post(`/api/v1/certificates/${one.thumbprint}/${verb}`)),
    });
  const ends = one.days_left < 0 ? badge("bad", "has ended") : one.days_left < 30 ? badge("uncertain", `ends in ${Math.floor(one.days_left)} days`) : `${one.ends.slice(0, 10)} (in ${Math.floor(one.days_left)} days)`;
  return h(
    "li",
    { class: "card" },
    h("h3", {}, one.subject),
    pairs([["Application", one.application_uri], ["Hosts", one.hosts.join(", ")], ["Thumbprint", h("code", {}, one.thumbprint)], ["Ends", ends]]),
    verb ? act(session, "Engineer", text, decide, `${verb}-${one.thumbprint}`, kind) : null,
  );
}

function configurationOf(told, session) {
  const reload = () =>
    ask({
      title: "Read the configuration again?",
      words: [h("p", {}, "Files that have changed are taken over by themselves; this reads them at once. Faults change nothing.")],
      button: "Read again",
      action: async () => (await post("/api/v1/reload"), "The configuration is in force."),
    });
  return h(
    "section",
    { "aria-labelledby": "configuration" },
    h("h2", { id: "configuration" }, "Configuration"),
    told.refused.length
      ? [h("p", {}, badge("bad", "The changed configuration is refused; the old one keeps running")), faultList(told.refused)]
      : h("p", {}, badge("good", `${told.configuration} is in force`)),
    act(session, "Engineer", "Read again …", reload, "reload"),
  );
}
