// A folder of a bucket: what begins with a prefix, up to the next `/`. Files dropped on it are uploaded into it.

import { ask, byId, el, button, hrefOf, say } from "./dom.js";
import { LINES, Refused } from "./gateway.js";
import { chosen, dropped } from "./files.js";
import { count, explain, nameOf, size, time } from "./words.js";

/// How long to wait for other uploads before the list is asked for again, milliseconds.
const REFRESH_PAUSE = 300;

/// The way from all buckets to a folder or an object; the last one is where we are.
export function crumbs(bucket, key) {
  const names = key.split("/").filter((name, at, all) => name !== "" || at < all.length - 1);
  const isFolder = key === "" || key.endsWith("/");
  const links = [["All buckets", "#buckets"], [bucket, hrefOf("folder", bucket)]];
  names.forEach((name, at) => {
    const prefix = `${names.slice(0, at + 1).join("/")}/`;
    links.push([name || "/", at < names.length - 1 || isFolder ? hrefOf("folder", bucket, prefix) : undefined]);
  });
  return el("nav", { "aria-label": "Where this is", class: "crumbs" }, el("ol", {}, links.map(([name, href], at) =>
    el("li", {}, at < links.length - 1 ? el("a", { href }, name) : el("span", { "aria-current": "page" }, name)))));
}

function folderRow(bucket, prefix) {
  return el("tr", {},
    el("th", { scope: "row" }, el("a", { href: hrefOf("folder", bucket, prefix), class: "folder" }, nameOf(prefix))),
    el("td", { class: "number" }, ""), el("td", { class: "wide" }, ""));
}

function objectRow(bucket, prefix, { key, size: bytes, modified }) {
  const name = key === prefix ? "(the folder itself)" : key.slice(prefix.lastIndexOf("/") + 1);
  return el("tr", {},
    el("th", { scope: "row" }, el("a", { href: hrefOf("object", bucket, key), class: "file" }, name)),
    el("td", { class: "number" }, size(bytes)),
    el("td", { class: "wide" }, time(modified)));
}

/// The list, which grows by a page at a time.
function listing(gateway, bucket, prefix, first) {
  const body = el("tbody");
  const status = el("p", { class: "faint", role: "status" });
  const more = button("Show more", () => next());
  let [lines, token] = [0, undefined];
  const add = (page) => {
    const rows = [...page.folders.map((folder) => folderRow(bucket, folder)),
      ...page.objects.map((object) => objectRow(bucket, prefix, object))];
    body.append(...rows);
    lines += rows.length;
    token = page.next;
    more.hidden = !token;
    status.textContent = lines === 0 ? "Nothing is here." : `${count(lines, "entry", "entries")}${token ? ", and there is more" : ""}.`;
    return rows[0];
  };
  const next = async () => {
    more.disabled = true;
    try {
      const row = add(await gateway.list(bucket, prefix, token));
      row?.querySelector("a").focus();
    } catch (error) {
      status.textContent = explain(error);
    }
    more.disabled = false;
  };
  add(first);
  const table = el("table", { class: "list" },
    el("caption", { class: "unseen" }, `Contents of ${nameOf(prefix) === "/" ? bucket : nameOf(prefix)}`),
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Name"), el("th", { scope: "col", class: "number" }, "Size"),
      el("th", { scope: "col", class: "wide" }, "Changed"))),
    body);
  table.hidden = lines === 0;
  return [table, status, el("p", {}, more)];
}

/// Where files come in. `take` gets `[{ file, path }]`.
function dropZone(take) {
  const input = (id, attributes) => el("input", {
    type: "file", id, class: "unseen", multiple: true, ...attributes,
    onchange: (event) => {
      take(chosen(event.target.files));
      event.target.value = "";
    },
  });
  return el("div", { class: "drop" },
    el("p", {}, el("strong", {}, "Drop files or folders"), el("span", { class: "faint" }, " anywhere on this page")),
    el("p", { class: "tools" },
      input("choose-files", {}), el("label", { for: "choose-files", class: "button main" }, "Choose files"),
      input("choose-folder", { webkitdirectory: true }), el("label", { for: "choose-folder", class: "button" }, "Choose a folder")));
}

/// Takes what is dropped anywhere in the window, until the reader goes on.
function watchDrops(left, take) {
  const veil = byId("veil");
  const on = (name, act) => addEventListener(name, (event) => {
    if (event.dataTransfer?.types.includes("Files")) act(event);
  }, { signal: left });
  on("dragover", () => { veil.hidden = false; });
  on("dragleave", (event) => { if (!event.relatedTarget) veil.hidden = true; });
  on("drop", async (event) => {
    veil.hidden = true;
    take(await dropped(event.dataTransfer));
  });
}

async function removeBucket(gateway, bucket) {
  const done = await ask({
    title: `Delete the bucket ${bucket}?`,
    content: [el("p", {}, "Only an empty bucket can be deleted. Somebody else may take its name afterwards.")],
    action: "Delete bucket",
    danger: true,
    explain,
    act: () => gateway.removeBucket(bucket),
  });
  if (!done) return;
  say(`Bucket ${bucket} was deleted.`);
  location.hash = "#buckets";
}

/// Shows what begins with some letters.
function finder(bucket, prefix) {
  const folder = prefix.slice(0, prefix.lastIndexOf("/") + 1);
  const input = el("input", { id: "find", value: prefix.slice(folder.length), autocapitalize: "none", autocomplete: "off", spellcheck: "false" });
  return el("form", {
    class: "find", role: "search",
    onsubmit: (event) => {
      event.preventDefault();
      location.hash = hrefOf("folder", bucket, folder + input.value);
    },
  }, el("label", { for: "find" }, "Names that begin with"), input, el("button", { type: "submit" }, "Show"));
}

/// A folder, or what in it begins with some letters.
export async function folder({ gateway, transfers, place: { bucket, key: prefix }, view, left }) {
  const inside = prefix.slice(0, prefix.lastIndexOf("/") + 1);
  const take = (files) => transfers.add(bucket, inside, files);
  const parts = [];
  try {
    parts.push(listing(gateway, bucket, prefix, await gateway.list(bucket, prefix)));
  } catch (error) {
    if (!(error instanceof Refused) || error.code !== "AccessDenied") throw error;
    parts.push(el("p", { class: "notice", role: "alert" }, explain(error),
      " If your key may only use part of this bucket, write above what the names there begin with. You can still upload here if it may write."));
  }
  const title = prefix === "" ? bucket : prefix.endsWith("/") ? nameOf(prefix) : `${prefix.slice(inside.length)}…`;
  view.append(
    crumbs(bucket, inside),
    el("div", { class: "head" }, el("h1", { tabindex: -1 }, title),
      prefix === "" && button("Delete bucket", () => removeBucket(gateway, bucket), { class: "quiet" })),
    dropZone(take), finder(bucket, prefix), ...parts.flat());
  watchDrops(left, take);
  // What is uploaded appears, unless the reader turned pages.
  let due;
  const refresh = async () => {
    due = undefined;
    const old = view.querySelector("table.list");
    if (!old || left.aborted || old.querySelectorAll("tbody tr").length > LINES) return;
    const [table, status, more] = listing(gateway, bucket, prefix, await gateway.list(bucket, prefix));
    const focused = old.contains(document.activeElement) && document.activeElement.getAttribute("href");
    const rest = [old.nextElementSibling, old.nextElementSibling.nextElementSibling];
    old.replaceWith(table);
    rest[0].replaceWith(status);
    rest[1].replaceWith(more);
    Array.from(table.querySelectorAll("a")).find((link) => link.getAttribute("href") === focused)?.focus();
  };
  transfers.onStored((at) => {
    if (left.aborted || at.bucket !== bucket || !at.key.startsWith(prefix)) return;
    due ??= setTimeout(() => refresh().catch(() => { /* the list stays as it was */ }), REFRESH_PAUSE);
  });
}
