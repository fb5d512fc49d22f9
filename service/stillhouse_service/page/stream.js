// Server-sent events by fetch, as EventSource sends no token. Goes on after the last event it heard;
// rests while its tab is hidden, since a browser opens six connections to a server and no more.

import { headers } from "./api.js";

const LONGEST_PAUSE_MS = 15_000;

/**
 * Follows a stream from the event after `last` on.
 * `heard(event)` gets each event's JSON, `became(state)` one of live, lost, over.
 * Returns what ends it.
 */
export function follow(path, last, heard, became) {
  let stopped = false;
  let abort = new AbortController();
  let pauseMs = 1000;

  async function run() {
    while (!stopped) {
      await visible();
      if (stopped) return;
      abort = new AbortController();
      try {
        const answer = await fetch(path, {
          credentials: "omit",
          headers: headers({ "Last-Event-ID": String(last) }),
          signal: abort.signal,
        });
        if (answer.status >= 400 && answer.status < 500) return became("lost");
        if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
        became("live");
        pauseMs = 1000;
        if (await read(answer.body.getReader())) return became("over");
      } catch {
        // said below; what was missed is sent again
      }
      if (stopped) return;
      if (document.hidden) continue;
      became("lost");
      await new Promise((done) => setTimeout(done, pauseMs));
      pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS);
    }
  }

  /** Reads until the line breaks (false) or the study is over (true). */
  async function read(reader) {
    const decoder = new TextDecoder();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return false;
      const blocks = (rest + decoder.decode(value, { stream: true })).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const fields = Object.fromEntries(
          block.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]),
        );
        if (fields.event === "end") return true;
        if (fields.id) last = Number(fields.id);
        if (fields.data) heard(JSON.parse(fields.data));
      }
    }
  }

  function visible() {
    if (!document.hidden) return Promise.resolve();
    return new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }));
  }

  function hidden() {
    if (document.hidden) abort.abort();
  }

  document.addEventListener("visibilitychange", hidden);
  run();
  return () => {
    stopped = true;
    document.removeEventListener("visibilitychange", hidden);
    abort.abort();
  };
}
