// Links that read an object without a key.

import { button, copy, el, isLocal, say } from "./dom.js";
import { nameOf, time } from "./words.js";

const LIFETIMES = [["1 hour", 3600], ["1 day", 86_400], ["7 days, the longest", 604_800]];

/// Lets somebody choose how long, and hands out the link.
export function share(gateway, bucket, key) {
  const lifetime = el("select", { id: "share-lifetime" },
    LIFETIMES.map(([text, seconds]) => el("option", { value: seconds, selected: seconds === 86_400 }, text)));
  const save = el("input", { type: "checkbox", id: "share-save" });
  const link = el("input", { id: "share-link", readonly: true, spellcheck: "false" });
  const until = el("p", { class: "faint small", role: "status" });
  const draw = () => {
    const seconds = Number(lifetime.value);
    link.value = gateway.link(bucket, key, seconds, { name: save.checked ? nameOf(key) : undefined });
    until.textContent =
      `Whoever has the link can read the object until ${time(new Date(Date.now() + 1000 * seconds))}. It ends earlier only if the object is deleted or your access key expires or is removed.`;
  };
  const copied = button("Copy link", async () => {
    const done = await copy(link);
    copied.textContent = done ? "Copied" : "Copy it by hand";
    say(done ? "The link was copied." : "The link could not be copied; it is selected.");
  }, { class: "main" });
  for (const input of [lifetime, save]) input.addEventListener("change", draw);
  const dialog = el("dialog", { "aria-labelledby": "share-title" },
    el("h2", { id: "share-title" }, "Share link"),
    el("label", { for: "share-lifetime" }, "Works for"), lifetime,
    el("p", { class: "check" }, save, el("label", { for: "share-save" }, "Browsers save the file instead of showing it")),
    el("label", { for: "share-link" }, "Link"), link, until,
    isLocal() && el("p", { class: "faint small" }, "You opened the gateway at an address of this device: the link works here only."),
    el("p", { class: "actions" }, button("Close", () => dialog.close()), copied));
  dialog.addEventListener("close", () => dialog.remove());
  draw();
  document.body.append(dialog);
  dialog.showModal();
}
