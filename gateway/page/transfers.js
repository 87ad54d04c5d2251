// The list of uploads: two at a time, with progress, and what can be done about each.

import { byId, button, el, say } from "./dom.js";
import { Cancelled } from "./gateway.js";
import { Unreadable, upload } from "./uploads.js";
import { count, duration, explain, size } from "./words.js";

const AT_ONCE = 2;
/// Over how long the rate is taken, milliseconds.
const RATE_WINDOW = 5_000;

function why(error) {
  if (error instanceof Unreadable) return "The file cannot be read any more: it was changed, moved or deleted.";
  return explain(error);
}

/// A row of the list. It is waiting, sending, done, failed or cancelled.
class Transfer {
  constructor(list, bucket, key, file) {
    Object.assign(this, { list, bucket, key, file, state: "waiting", sent: 0, samples: [], replace: false });
    const id = `upload-${list.next()}`;
    this.name = el("span", { id, class: "name" }, key);
    this.bar = el("progress", { max: Math.max(file.size, 1), value: 0, "aria-labelledby": id });
    this.text = el("span", { class: "faint small state" });
    this.actions = el("span", { class: "row-actions" });
    this.row = el("li", {}, this.name, this.actions, this.bar, this.text);
    this.draw();
  }

  draw(error) {
    const named = (text, act) => button(text, act, { class: "quiet", "aria-label": `${text} ${this.key}` });
    const cancel = named("Cancel", () => this.cancel());
    const again = named("Try again", () => this.again());
    const replace = named("Replace", () => {
      this.replace = true;
      this.again();
    });
    const [text, actions] = {
      waiting: [() => `${size(this.file.size)}, waiting`, [cancel]],
      sending: [() => this.progress(), [cancel]],
      done: [() => `${size(this.file.size)} stored`, []],
      failed: [() => why(error), error?.code === "PreconditionFailed" ? [replace] : [again]],
      cancelled: [() => "cancelled", [again]],
    }[this.state];
    const focused = this.actions.contains(document.activeElement);
    if (this.row.className !== this.state) this.actions.replaceChildren(...actions);
    if (focused) (this.actions.querySelector("button") ?? byId("transfers-clear")).focus();
    this.row.className = this.state;
    this.text.textContent = text();
    this.bar.value = this.state === "done" ? this.bar.max : this.sent;
    this.bar.hidden = this.state === "failed" || this.state === "cancelled";
  }

  /// How far it is, how fast, and for how long still.
  progress() {
    if (this.sent >= this.file.size) return "sent; the miners confirm it";
    const [first, last] = [this.samples[0], this.samples.at(-1)];
    const rate = last && last[0] > first[0] ? ((last[1] - first[1]) / (last[0] - first[0])) * 1000 : 0;
    const rest = rate > 0 ? `, ${size(Math.round(rate))}/s, ${duration((this.file.size - this.sent) / rate)} left` : "";
    return `${size(this.sent)} of ${size(this.file.size)}${rest}`;
  }

  async run(gateway) {
    this.state = "sending";
    this.controller = new AbortController();
    this.draw();
    const onProgress = (sent) => {
      const now = performance.now();
      this.sent = Math.min(sent, this.file.size);
      this.samples = [...this.samples.filter(([at]) => at > now - RATE_WINDOW), [now, this.sent]];
      if (this.state === "sending") this.draw();
    };
    let error;
    try {
      await upload(gateway, { ...this.job(), signal: this.controller.signal, onProgress });
      this.state = "done";
    } catch (failure) {
      error = failure;
      this.state = failure instanceof Cancelled ? "cancelled" : "failed";
    }
    this.draw(error);
    return error;
  }

  job() {
    const { bucket, key, file, replace } = this;
    return { bucket, key, file, replace };
  }

  cancel() {
    if (this.state === "waiting") {
      this.state = "cancelled";
      this.draw();
      this.list.advance();
    } else this.controller?.abort();
  }

  again() {
    Object.assign(this, { state: "waiting", sent: 0, samples: [] });
    this.draw();
    this.list.advance();
  }
}

/// All uploads of a session. `add` begins some, `onStored` tells when one is done, `busy` whether any is not, `stop` ends all.
export function startTransfers(gateway) {
  const [panel, rows] = [byId("transfers"), byId("transfer-list")];
  const title = byId("transfers-title");
  let [all, listener, numbers] = [[], undefined, 0];
  const under_way = () => all.filter(({ state }) => state === "waiting" || state === "sending");
  const tell = () => {
    panel.hidden = all.length === 0;
    const left = under_way().length;
    title.textContent = left > 0 ? `Uploading ${count(left, "file")}` : "Uploads";
    byId("transfers-clear").hidden = left === all.length;
  };
  const finish = (transfer, error) => {
    tell();
    const state = transfer.state === "failed" ? `failed: ${why(error)}` : transfer.state === "done" ? "is stored" : "was cancelled";
    say(`${transfer.key} ${state}`);
    if (transfer.state === "done") listener?.(transfer);
  };
  const list = {
    next: () => (numbers += 1),
    advance() {
      tell();
      const sending = all.filter(({ state }) => state === "sending").length;
      const waiting = all.filter(({ state }) => state === "waiting").slice(0, Math.max(AT_ONCE - sending, 0));
      for (const transfer of waiting) {
        transfer.run(gateway).then((error) => {
          finish(transfer, error);
          list.advance();
        });
      }
    },
  };
  byId("transfers-clear").onclick = () => {
    all = under_way();
    rows.replaceChildren(...all.map(({ row }) => row));
    tell();
    byId("main").focus();
  };
  return {
    add(bucket, prefix, files) {
      if (files.length === 0) return;
      const made = files.map(({ file, path }) => new Transfer(list, bucket, prefix + path, file));
      all.push(...made);
      rows.append(...made.map(({ row }) => row));
      say(`Uploading ${count(files.length, "file")}.`);
      list.advance();
    },
    onStored(act) {
      listener = act;
    },
    busy: () => under_way().length > 0,
    stop() {
      const ended = under_way();
      all = [];
      for (const transfer of ended) transfer.cancel();
      rows.replaceChildren();
      tell();
    },
  };
}

