// The server's REST API: JSON, problem documents, downloads. The token travels in a header alone.

const KEY = "stillhouse-token";
const known = new Map(); // path -> {etag, body}
const N_KNOWN = 50;

/** A refusal, as its problem document has it; status 0: the server does not answer. */
export class Problem extends Error {
  constructor(status, document) {
    super(document.detail || document.title || `HTTP ${status}`);
    this.status = status;
    this.problems = document.problems || [];
  }
}

export function token() {
  return sessionStorage.getItem(KEY) || localStorage.getItem(KEY);
}

/** Remembers a token until the tab is closed, or until it is forgotten. */
export function remember(value, isKept) {
  forget();
  (isKept ? localStorage : sessionStorage).setItem(KEY, value);
}

export function forget() {
  sessionStorage.removeItem(KEY);
  localStorage.removeItem(KEY);
  known.clear();
}

export function headers(more = {}) {
  const shown = token();
  return shown ? { Authorization: `Bearer ${shown}`, ...more } : more;
}

/** JSON of a path; the very same object as last time where nothing has changed. */
export async function get(path) {
  const before = known.get(path);
  const answer = await ask(path, { headers: headers(before ? { "If-None-Match": before.etag } : {}) });
  if (answer.status === 304) return before.body;
  const body = await answer.json();
  const etag = answer.headers.get("ETag");
  if (etag) {
    known.delete(path);
    known.set(path, { etag, body });
    if (known.size > N_KNOWN) known.delete(known.keys().next().value);
  }
  return body;
}

/** Waits on the server until a path's JSON is another one, `seconds` at most. */
export async function news(path, seconds, signal) {
  const before = known.get(path);
  const more = before ? { "If-None-Match": before.etag } : {};
  const answer = await ask(`${path}?wait=${seconds}`, { headers: headers(more), signal });
  if (answer.status === 304) return before.body;
  const body = await answer.json();
  known.set(path, { etag: answer.headers.get("ETag"), body });
  return body;
}

/** Asks for what may take long: waits for the operation where the server begins one. */
export async function worked(path, signal) {
  let answer = await ask(path, { headers: headers(), signal });
  if (answer.status === 202) {
    const id = (await answer.json()).id;
    for (;;) {
      const operation = await news(`/v1/operations/${id}`, 20, signal);
      if (operation.state === "failed") throw new Problem(500, { detail: operation.error });
      if (operation.state === "done") break;
    }
    answer = await ask(`/v1/operations/${id}/result`, { headers: headers(), signal });
  }
  return answer;
}

/** Sends a POST; sent again by the browser it is done once. */
export async function post(path, body = undefined, signal = undefined) {
  const key = [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16)).join("");
  const answer = await ask(path, {
    method: "POST",
    headers: headers({ "Content-Type": "application/json", "Idempotency-Key": key }),
    body: body === undefined ? undefined : JSON.stringify(body),
    signal,
  });
  return answer.json();
}

/** Saves what a path gives as a file: a link could not carry the token. */
export async function download(path, name) {
  const answer = await worked(path);
  const url = URL.createObjectURL(await answer.blob());
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

export async function text(sha256) {
  return (await ask(`/v1/artifacts/${sha256}`, { headers: headers() })).text();
}

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "omit", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { detail: "the server does not answer" });
  }
  if (answer.ok || answer.status === 304) return answer;
  let said = {};
  try {
    said = await answer.json();
  } catch {
    // a proxy's page, perhaps: the status must do
  }
  if (answer.status === 401) window.dispatchEvent(new CustomEvent("token-wanted", { detail: said.detail }));
  throw new Problem(answer.status, said);
}
