// Logging in, and what can be said to somebody who is not: whether the bridge is well, and faults of its files.
import { post } from "./api.js";
import { h, show } from "./dom.js";
import { faultList } from "./faults.js";
import { badge } from "./words.js";

/** The form; `done` is called with the session. */
export function loginPage(main, session, done) {
  const problem = h("p", { class: "problem", role: "alert" });
  const state = h(
    "section",
    { "aria-label": "State of the bridge" },
    h("p", {}, session.ready ? badge("good", "Ready: values flow") : badge("bad", "Not ready")),
    h("ul", {}, session.why_not_ready.map((why) => h("li", {}, why))),
  );
  const send = async (event, body) => {
    event.preventDefault();
    try {
      done(await post("/api/v1/login", body()));
    } catch (refusal) {
      problem.textContent = refusal.message;
    }
  };
  const field = (id, label, type, autocomplete) => [
    h("label", { for: id }, label),
    h("input", { id, type, autocomplete, required: true, maxlength: 1024, spellcheck: "false", autocapitalize: "none" }),
  ];
  const read = (id) => document.getElementById(id).value;
  const byName = h(
    "form",
    { onsubmit: (event) => send(event, () => ({ user: read("user"), password: read("password") })) },
    h("h2", {}, "Log in"),
    h("p", { class: "quiet" }, "With a user of northbound: opcua: users, as in your OPC UA client."),
    field("user", "User", "text", "username"),
    field("password", "Password", "password", "current-password"),
    h("button", {}, "Log in"),
  );
  const byToken = h(
    "form",
    { onsubmit: (event) => send(event, () => ({ token: read("token") })) },
    h("h2", {}, "Log in with the admin token"),
    h("p", { class: "quiet" }, "It is in the file ", h("code", {}, "admin.token"), " of the bridge's state directory."),
    field("token", "Admin token", "password", "off"),
    h("button", {}, "Log in"),
  );
  show(main, h("h1", {}, "plantbridge"), state, problem, session.has_users && byName, byToken);
  (session.has_users ? byName : byToken).querySelector("input").focus();
}

const LOOK_AGAIN_MS = 2000;

/** A configuration that was refused at the start: what is wrong, until it is mended. */
export function refusedPage(main, session, again) {
  show(
    main,
    h("h1", {}, badge("bad", "The bridge does not run: its configuration has faults")),
    h("p", {}, "Mend the files; they are read again when they change, and this page goes on by itself."),
    faultList(session.faults),
    h("p", { class: "quiet" }, "The same on a command line: ", h("code", {}, "plantbridge check bridge.yaml"), ". Nothing is connected, and nothing is written, until then."),
  );
  setTimeout(again, LOOK_AGAIN_MS);
}
