// A question before something is done, and the answer of the bridge to it.
import { h } from "./dom.js";

const RANK = ["Observer", "Operator", "Engineer"];

export const may = (session, role) => RANK.indexOf(session.role) >= RANK.indexOf(role);

/** A button for what wants a role; whoever has it not is told which. */
export function act(session, role, text, onclick, key, kind = "") {
  const allowed = may(session, role);
  return h(
    "button",
    { type: "button", class: kind, "data-key": key, onclick: allowed ? onclick : null, "aria-disabled": allowed ? null : "true", disabled: !allowed, title: allowed ? null : `This wants the role ${role}` },
    text,
  );
}

/** Ask; `action(text)` does it and may give a sentence to show. What the bridge refuses is said, and can be tried again. */
export function ask({ title, words = [], field = null, button, action, done = () => {} }) {
  const problem = h("p", { class: "problem", role: "alert" });
  const input = field && h("textarea", { id: "ask-field", rows: 2, maxlength: 200 });
  const go = h("button", {}, button);
  const cancel = h("button", { type: "button", class: "small", onclick: () => dialog.close() }, "Cancel");
  const form = h("form", { method: "dialog", onsubmit: send }, words, field && [h("label", { for: "ask-field" }, field), input], problem, h("p", { class: "buttons" }, go, " ", cancel));
  const dialog = h("dialog", { "aria-labelledby": "ask-title", onclose: () => dialog.remove() }, h("h2", { id: "ask-title" }, title), form);
  async function send(event) {
    event.preventDefault();
    go.disabled = true;
    problem.textContent = "";
    try {
      const sentence = await action(input?.value.trim() ?? "");
      done();
      if (!sentence) return dialog.close();
      form.replaceChildren(h("p", { role: "status" }, sentence), h("p", {}, (cancel.textContent = "Close", cancel)));
      cancel.focus();
    } catch (refusal) {
      problem.textContent = refusal.message;
      go.disabled = false;
    }
  }
  document.body.append(dialog);
  dialog.showModal();
  (input ?? go).focus();
}
