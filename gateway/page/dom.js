// Making elements. Whatever comes from the gateway becomes text or the value of an attribute, never HTML.

/// The element with an id.
export function byId(id) {
  return document.getElementById(id);
}

/// Whether the gateway is on this machine, at an address that leads nowhere from others.
export function isLocal() {
  return ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
}

/// An element. `attributes` whose name begins with `on` are listeners; `true` sets one without a value, `undefined` and `false` none.
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== undefined && child !== false));
  return made;
}

/// A button.
export function button(text, onclick, attributes = {}) {
  return el("button", { type: "button", onclick, ...attributes }, text);
}

/// The place in the page of an object or a folder; the inverse is `placeOf`.
export function hrefOf(view, bucket, key = "") {
  return `#${view}/${encodeURIComponent(bucket)}/${encodeURIComponent(key)}`;
}

/// `{ view, bucket, key }` of an address such as `#folder/BUCKET/PREFIX`.
export function placeOf(hash) {
  const [view = "", bucket = "", key = ""] = hash.replace(/^#/, "").split("/");
  try {
    return { view: view || "buckets", bucket: decodeURIComponent(bucket), key: decodeURIComponent(key) };
  } catch {
    return { view: "buckets", bucket: "", key: "" };
  }
}

let clearing;

/// Tells screen readers something that others see.
export function say(text) {
  byId("said").textContent = text;
  clearTimeout(clearing);
  clearing = setTimeout(() => { byId("said").textContent = ""; }, 10_000);
}

/// A dialog that the page waits for. `content` is what is in its form, `act` does what the button says and may throw: then the dialog
/// stays and says why, in the words of `explain`. Answers whether it was done.
export function ask({ title, content = [], action, danger = false, act, explain }) {
  return new Promise((resolve) => {
    const error = el("p", { class: "error", role: "alert" });
    const go = el("button", { type: "submit", class: danger ? "danger" : "main" }, action);
    const cancel = button("Cancel", () => dialog.close());
    const form = el("form", { method: "dialog" }, el("h2", { id: "dialog-title" }, title), content, error,
      el("p", { class: "actions" }, cancel, go));
    const dialog = el("dialog", { "aria-labelledby": "dialog-title" }, form);
    let done = false;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      go.disabled = true;
      error.textContent = "";
      try {
        await act();
        done = true;
        dialog.close();
      } catch (failure) {
        error.textContent = explain(failure);
        go.disabled = false;
      }
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(done);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/// Puts text on the clipboard. Browsers offer that on https and localhost only; elsewhere what is selected is copied.
export async function copy(input) {
  if (navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(input.value);
      return true;
    } catch { /* not allowed: the other way */ }
  }
  input.select();
  return document.execCommand("copy");
}
