// Talking to the daemon: requests with the token, and the stream of events, opened again for ever.

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 8000;
const SILENT_MS = 10000;

export const token = {
  get: () => sessionStorage.getItem("filterd-token") || "",
  set: (value) => sessionStorage.setItem("filterd-token", value),
};

function headers(more = {}) {
  return token.get() ? { ...more, Authorization: `Bearer ${token.get()}` } : more;
}

/** An answer as an object; throws what the daemon says is wrong. */
export async function ask(method, path, body) {
  const options = { method, headers: headers() };
  if (body !== undefined) {
    options.headers = headers({ "Content-Type": "application/json" });
    options.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("the daemon does not answer");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error || `status ${response.status}`);
  return answer;
}

/** Calls handlers[name](value) for each event; handlers.lost() while there is no connection. */
export class Events {
  constructor(handlers) {
    this.handlers = handlers;
    this.run();
  }

  /** Connect anew, with the token of now. */
  reopen() {
    this.reopened = true;
    this.abort?.abort();
  }

  async run() {
    for (let wait = FIRST_WAIT_MS; ; wait = Math.min(2 * wait, LONGEST_WAIT_MS)) {
      const began = Date.now();
      await this.listen().catch(() => {});
      if (this.reopened) {
        this.reopened = false;
        continue;
      }
      this.handlers.lost();
      if (Date.now() - began > SILENT_MS) wait = FIRST_WAIT_MS;
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }

  async listen() {
    this.abort = new AbortController();
    const signal = this.abort.signal;
    const response = await fetch("/api/events", { headers: headers(), signal });
    if (!response.ok) return;
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      // A daemon whose machine went away says nothing: it ticks every second while it lives.
      const silence = setTimeout(() => this.abort.abort(), SILENT_MS);
      const { value, done } = await reader.read().finally(() => clearTimeout(silence));
      if (done) return;
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      for (const event of events) this.dispatch(event);
    }
  }

  dispatch(event) {
    const [, name, data] = /^event: (\w+)\ndata: (.*)$/.exec(event) || [];
    if (name) this.handlers[name]?.(JSON.parse(data));
  }
}
