// Signing in and out, and which view is shown. Views are functions of `{ gateway, transfers, place, view, left }` that fill `view`; `left`
// is aborted when the reader goes on.

import { buckets, usage } from "./buckets.js";
import { byId, el, isLocal, placeOf, say } from "./dom.js";
import { folder } from "./folder.js";
import { Gateway, Refused } from "./gateway.js";
import { object } from "./object.js";
import { startTransfers } from "./transfers.js";
import { duration, explain } from "./words.js";

// This tab only: the browser forgets it with the tab.
const STORE = "arion-keys";
const VIEWS = { buckets, usage, folder, object };
const SIGNED_OUT = ["InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"];

let session;
let shown = 0;
let leaving = new AbortController();

function tellSkew(skew) {
  const way = skew > 0 ? "behind" : "ahead of";
  byId("clock").textContent =
    `The clock of this device is ${duration(Math.abs(skew) / 1000)} ${way} the gateway's. This page allows for it; other S3 clients will be refused.`;
  byId("clock").hidden = false;
}

function keysOf(form) {
  return { access: form.elements.access.value.trim(), secret: form.elements.secret.value.trim() };
}

async function enter(keys) {
  const gateway = new Gateway(keys, tellSkew);
  const { account } = await gateway.usage();
  session = { gateway, account, transfers: startTransfers(gateway) };
  sessionStorage.setItem(STORE, JSON.stringify(keys));
  byId("who").textContent = account;
  byId("sign-in").hidden = true;
  byId("bar").hidden = false;
  await show();
}

/// Forgets everything; `why` is shown beside the form.
function leave(why = "") {
  sessionStorage.removeItem(STORE);
  session?.transfers.stop();
  session = undefined;
  shown += 1;
  leaving.abort();
  byId("view").replaceChildren();
  for (const id of ["bar", "clock"]) byId(id).hidden = true;
  byId("sign-in").hidden = false;
  byId("sign-in-error").textContent = why;
  byId("plain").hidden = location.protocol === "https:" || isLocal();
  document.title = "Sign in - Arion";
  byId("access").focus();
}

/// Shows what the address says.
async function show() {
  if (!session) return;
  const [turn, place] = [(shown += 1), placeOf(location.hash)];
  const view = el("div");
  leaving.abort();
  leaving = new AbortController();
  const old = byId("view");
  old.setAttribute("aria-busy", "true");
  for (const link of document.querySelectorAll("nav a")) {
    const here = link.hash === `#${place.view}` || (link.hash === "#buckets" && place.bucket !== "");
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  try {
    await (VIEWS[place.view] ?? buckets)({ ...session, place, view, left: leaving.signal });
  } catch (error) {
    if (turn !== shown) return;
    if (error instanceof Refused && SIGNED_OUT.includes(error.code)) {
      leave(explain(error));
      return;
    }
    view.append(el("h1", { tabindex: -1 }, "That did not work"), el("p", { class: "notice wrong", role: "alert" }, explain(error)),
      el("p", {}, el("button", { type: "button", onclick: show }, "Try again"), " ", el("a", { href: "#buckets" }, "All buckets")));
  }
  // Somebody went on meanwhile.
  if (turn !== shown) return;
  old.replaceChildren(view);
  old.removeAttribute("aria-busy");
  const title = view.querySelector("h1");
  document.title = `${title.textContent} - Arion`;
  title.focus({ preventScroll: true });
  scrollTo(0, 0);
}

function start() {
  const form = byId("sign-in-form");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const [keys, go] = [keysOf(form), form.querySelector("button")];
    go.disabled = true;
    byId("sign-in-error").textContent = "";
    try {
      await enter(keys);
      form.reset();
    } catch (error) {
      byId("sign-in-error").textContent = explain(error);
      byId("secret").select();
    }
    go.disabled = false;
  });
  byId("sign-out").addEventListener("click", () => {
    if (session.transfers.busy() && !confirm("Uploads are under way. Sign out and give them up?")) return;
    leave();
    say("You are signed out.");
  });
  byId("skip").addEventListener("click", (event) => {
    event.preventDefault();
    byId("main").focus();
  });
  addEventListener("hashchange", show);
  // Otherwise a browser leaves the page for a file that was dropped beside its place.
  for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());
  addEventListener("beforeunload", (event) => {
    if (session?.transfers.busy()) event.preventDefault();
  });
  const kept = sessionStorage.getItem(STORE);
  if (kept) enter(JSON.parse(kept)).catch((error) => leave(explain(error)));
  else leave();
}

start();
