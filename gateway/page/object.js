// One object: what it is, where it lies, its versions; downloading, sharing and deleting it.

import { ask, button, el, hrefOf, say } from "./dom.js";
import { crumbs } from "./folder.js";
import { Refused } from "./gateway.js";
import { share } from "./share.js";
import { shards } from "./shards.js";
import { explain, nameOf, size, time } from "./words.js";

/// A download has to begin within this time, seconds.
const DOWNLOAD_SECONDS = 300;

function download(gateway, bucket, key, version) {
  const name = nameOf(key);
  const href = gateway.link(bucket, key, DOWNLOAD_SECONDS, { version, name });
  const link = el("a", { href, download: name, rel: "noopener" });
  document.body.append(link);
  link.click();
  link.remove();
}

async function remove(gateway, bucket, key, versioned) {
  const consequence = versioned
    ? "The bucket keeps versions: this one and older ones stay, and count, until they are deleted too."
    : "It cannot be brought back.";
  const done = await ask({
    title: `Delete ${nameOf(key)}?`,
    content: [el("p", { class: "path" }, `${bucket}/${key}`), el("p", {}, consequence)],
    action: "Delete",
    danger: true,
    explain,
    act: () => gateway.remove(bucket, key),
  });
  if (!done) return;
  say(`${key} was deleted.`);
  location.hash = hrefOf("folder", bucket, key.slice(0, key.lastIndexOf("/", key.length - 2) + 1));
}

/// A row of details; nothing where there is no value.
function detail(name, value) {
  return value ? el("div", {}, el("dt", {}, name), el("dd", {}, value)) : undefined;
}

function encryption(header) {
  const kind = header("x-amz-server-side-encryption");
  if (kind === "AES256") return "AES-256, under a key of its own that the gateway keeps; miners have ciphertext only";
  return kind;
}

function lock(header) {
  const until = header("x-amz-object-lock-retain-until-date");
  const kept = until && `${header("x-amz-object-lock-mode").toLowerCase()} until ${time(new Date(until))}`;
  const held = header("x-amz-object-lock-legal-hold") === "ON" && "legal hold";
  return [kept, held].filter(Boolean).join(", ");
}

function details({ header, size: bytes, names }) {
  const prefixed = (prefix) => names.filter((name) => name.startsWith(prefix)).map((name) => [name.slice(prefix.length), header(name)]);
  const sums = prefixed("x-amz-checksum-").filter(([name]) => name !== "type" && name !== "algorithm");
  const version = header("x-amz-version-id");
  return el("section", { class: "card" }, el("h2", {}, "Details"), el("dl", { class: "details" },
    detail("Size", bytes < 1024 ? size(bytes) : `${size(bytes)} (${bytes.toLocaleString("en-GB")} bytes)`),
    detail("Changed", time(new Date(header("last-modified")))),
    detail("Type", header("content-type")),
    detail("ETag", header("etag")?.replaceAll('"', "")),
    sums.map(([name, value]) => detail(name.toUpperCase(), value)),
    detail("Encryption", encryption(header)),
    detail("Version", version),
    detail("Parts", header("x-amz-mp-parts-count")),
    detail("Locked", lock(header)),
    detail("Expires", header("x-amz-expiration")),
    prefixed("x-amz-meta-").map(([name, value]) => detail(`Metadata ${name}`, value))));
}

async function versions(gateway, bucket, key, again) {
  const section = el("section", { class: "card", id: "versions" }, el("h2", {}, "Versions"));
  const removeVersion = async (version) => {
    const done = await ask({
      title: "Delete this version for good?",
      content: [el("p", { class: "path" }, `${bucket}/${key}`), el("p", {}, `The version of ${time(version.modified)} cannot be brought back.`)],
      action: "Delete version",
      danger: true,
      explain,
      act: () => gateway.remove(bucket, key, version.id),
    });
    if (done) again();
  };
  let found;
  try {
    found = await gateway.versions(bucket, key);
  } catch (error) {
    section.append(el("p", { class: "faint" }, explain(error)));
    return section;
  }
  section.append(el("table", { class: "list" },
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Changed"), el("th", { scope: "col", class: "number" }, "Size"),
      el("th", { scope: "col", class: "wide" }, "Id"), el("th", { scope: "col" }, el("span", { class: "unseen" }, "Actions")))),
    el("tbody", {}, found.versions.map((version) => el("tr", {},
      el("th", { scope: "row" }, time(version.modified), version.latest && el("span", { class: "badge" }, "newest")),
      el("td", { class: "number" }, version.marker ? "deleted here" : size(version.size)),
      el("td", { class: "wide id" }, version.id),
      el("td", { class: "row-actions" },
        !version.marker && button("Download", () => download(gateway, bucket, key, version.id), { class: "quiet" }),
        button("Delete", () => removeVersion(version), { class: "quiet" })))))));
  if (found.more) section.append(el("p", { class: "faint" }, "There are more; these are the newest hundred."));
  return section;
}

/// Everything about the newest version of an object.
export async function object({ gateway, place: { bucket, key }, view }) {
  let head;
  const notices = [];
  try {
    head = await gateway.head(bucket, key);
  } catch (error) {
    if (!(error instanceof Refused) || error.status !== 400) throw error;
    notices.push(el("p", { class: "notice" },
      "This object is encrypted under its owner's own key (SSE-C), which this page does not take: use an S3 client to read it."));
  }
  const version = head?.header("x-amz-version-id");
  const again = () => dispatchEvent(new HashChangeEvent("hashchange"));
  view.append(
    crumbs(bucket, key),
    el("h1", { tabindex: -1 }, nameOf(key)),
    el("p", { class: "tools" },
      head && button("Download", () => download(gateway, bucket, key), { class: "main" }),
      head && button("Share link", () => share(gateway, bucket, key)),
      button("Delete", () => remove(gateway, bucket, key, Boolean(version)), { class: "quiet" })),
    ...notices);
  if (head) view.append(details(head));
  view.append(shards(gateway, bucket, key, head?.size ?? 0));
  if (version) view.append(await versions(gateway, bucket, key, again));
}
