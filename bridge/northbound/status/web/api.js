// The admin API as the page uses it. The cookie is sent by the browser; nothing secret is kept here.

export class Refusal extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

let onLoggedOut = () => {};
export const whenLoggedOut = (callback) => (onLoggedOut = callback);

async function answer(path, options) {
  let response;
  try {
    response = await fetch(path, { cache: "no-store", credentials: "same-origin", ...options });
  } catch {
    throw new Refusal(0, "The bridge does not answer. Is it running?");
  }
  return told(response, path);
}

async function told(response, path) {
  const body = await response.json().catch(() => ({}));
  if (response.ok) return body;
  if (response.status === 401 && path !== "/api/v1/login") onLoggedOut();
  const refusal = new Refusal(response.status, body.detail ?? `The bridge answers ${response.status}`);
  throw refusal;
}

export const get = (path) => answer(path);

export const post = (path, body = {}) =>
  answer(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

const VIEW = Math.random().toString(36).slice(2);
const RETRY_MS = 1500;

/** The stream of what is on the screen. `look` says what that is; it is opened anew where that changes. */
export class Screen {
  constructor(handlers, told) {
    this.handlers = handlers;
    this.told = told;
    this.query = null;
  }

  look(query) {
    const text = new URLSearchParams({ ...query, view: VIEW }).toString();
    if (text === this.query && this.source) return;
    this.query = text;
    this.open();
  }

  open() {
    this.close();
    const source = new EventSource(`/api/v1/screen?${this.query}`);
    this.source = source;
    for (const [name, handler] of Object.entries(this.handlers)) {
      source.addEventListener(name, (event) => {
        if (source !== this.source) return;
        this.told("");
        handler(JSON.parse(event.data));
      });
    }
    source.onerror = () => this.lost(source);
  }

  async lost(source) {
    if (source !== this.source) return;
    this.close();
    const query = this.query;
    this.told("The connection to the bridge is lost; what is shown is old. Trying again …");
    try {
      await this.probe();
    } catch (refusal) {
      if (refusal.status === 401) return;
      if (refusal.status) this.told(refusal.message);
    }
    this.timer = setTimeout(() => query === this.query && this.open(), RETRY_MS);
  }

  /** An EventSource does not tell why it was refused: ask once more, and hear. */
  async probe() {
    const stop = new AbortController();
    const response = await fetch(`/api/v1/screen?${this.query}`, { cache: "no-store", signal: stop.signal }).catch(() => null);
    if (response?.ok) stop.abort();
    else if (response) await told(response, "");
  }

  close() {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }
}
