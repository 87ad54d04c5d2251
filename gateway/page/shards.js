// Where the shards of an object are, and what may still be lost: what `arion locate` asks for.

import { button, el } from "./dom.js";
import { count, explain, size } from "./words.js";

/// Above this the answer is long (a row for each of 30 shards per 10 MiB): it is asked for when somebody wants it.
const ASKED_AT_ONCE_BYTES = 2 * 2 ** 30;
const STRIPES_DRAWN = 20;
const MINERS_LISTED = 100;

function isThere(shard) {
  return shard.durable && shard.uid !== null;
}

/// What an answer of `/v1/locate` comes to: of the worst stripe how many shards are there, and can be lost.
function health({ stripes }) {
  const counted = stripes.map((stripe) => {
    const there = stripe.shards.filter(isThere).length;
    return { there, total: stripe.shards.length, spare: there - stripe.data_shards };
  });
  const sum = (field) => counted.reduce((all, stripe) => all + stripe[field], 0);
  const [there, total] = [sum("there"), sum("total")];
  const spare = counted.reduce((least, stripe) => Math.min(least, stripe.spare), Infinity);
  const state = spare < 0 ? "lost" : there < total ? "partial" : "whole";
  return { there, total, spare, state };
}

function verdict(located) {
  const { there, total, spare, state } = health(located);
  if (located.stripes.length === 0) return ["The object is empty: it has no shards.", "whole"];
  const stripes = count(located.stripes.length, "stripe");
  if (state === "lost") return [`${there} of ${total} shards in ${stripes} are confirmed. One stripe has fewer than reading it needs.`, state];
  const what = state === "whole" ? `All ${total} shards in ${stripes} are confirmed` : `${there} of ${total} shards in ${stripes} are confirmed, the others are on their way`;
  return [`${what}. Any ${spare} of a stripe can be lost and the object can still be read.`, state];
}

function kindOf(shard, stripe) {
  if (!isThere(shard)) return "waiting";
  return shard.index < stripe.data_shards ? "data" : "parity";
}

function strip(stripe, at) {
  const there = stripe.shards.filter(isThere).length;
  const label = `Stripe ${at + 1}: ${there} of ${stripe.shards.length} shards confirmed, ${stripe.data_shards} are enough`;
  const cells = stripe.shards.map((shard) => el("span", {
    class: `shard ${kindOf(shard, stripe)}`,
    title: `Shard ${shard.index}, ${shard.uid === null ? "no miner" : `miner ${shard.uid}`}${isThere(shard) ? "" : ", not confirmed yet"}`,
  }));
  return el("div", { class: "stripe" },
    el("span", { class: "faint small" }, `Stripe ${at + 1}, ${size(stripe.len)}`),
    el("div", { class: "cells", role: "img", "aria-label": label }, cells));
}

/// What each miner holds, the largest holders first.
function miners({ stripes }) {
  const held = new Map();
  stripes.forEach((stripe, at) => stripe.shards.forEach((shard) => {
    const row = held.get(shard.uid) ?? { uid: shard.uid, endpoint: shard.endpoint, shards: 0, there: 0, stripes: new Set() };
    row.shards += 1;
    row.there += isThere(shard) ? 1 : 0;
    row.stripes.add(at + 1);
    held.set(shard.uid, row);
  }));
  return [...held.values()].sort((a, b) => b.shards - a.shards || a.uid - b.uid);
}

function list(numbers) {
  const shown = [...numbers].slice(0, 8).join(", ");
  return numbers.size > 8 ? `${shown} and ${numbers.size - 8} more` : shown;
}

function table(located) {
  const rows = miners(located);
  const left = rows.length - MINERS_LISTED;
  return el("details", {},
    el("summary", {}, `Held by ${count(rows.length, "miner")}`),
    el("table", { class: "list" },
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Miner"), el("th", { scope: "col", class: "number" }, "Shards"),
        el("th", { scope: "col", class: "number" }, "Confirmed"), el("th", { scope: "col", class: "wide" }, "Of stripes"),
        el("th", { scope: "col", class: "wide" }, "Address"))),
      el("tbody", {}, rows.slice(0, MINERS_LISTED).map((row) => el("tr", {},
        el("th", { scope: "row" }, row.uid === null ? "nobody" : `Miner ${row.uid}`),
        el("td", { class: "number" }, String(row.shards)), el("td", { class: "number" }, String(row.there)),
        el("td", { class: "wide" }, list(row.stripes)), el("td", { class: "wide" }, row.endpoint ?? ""))))),
    left > 0 && el("p", { class: "faint" }, `And ${count(left, "miner")} more; arion locate lists all.`));
}

/// An answer of `/v1/locate` as elements.
export function drawn(located) {
  const [text, state] = verdict(located);
  const left = located.stripes.length - STRIPES_DRAWN;
  const legend = [["data", "data"], ["parity", "parity"], ["waiting", "not confirmed yet"]];
  return [
    el("p", { class: `health ${state}`, role: "status" }, text),
    located.stripes.length > 0 && el("p", { class: "legend faint small", "aria-hidden": "true" },
      legend.map(([kind, name]) => el("span", {}, el("span", { class: `shard ${kind}` }), ` ${name}`))),
    ...located.stripes.slice(0, STRIPES_DRAWN).map(strip),
    left > 0 && el("p", { class: "faint" }, `And ${count(left, "stripe")} more, counted above.`),
    located.stripes.length > 0 && table(located),
    el("p", { class: "faint small" },
      "Confirmed: the miner signed that the shard is on its disk. Wardens audit miners all the time; what they find is on the chain, not on this page. arion locate checks the placement against the chain."),
  ].filter(Boolean);
}

/// The section about an object's shards; fills itself.
export function shards(gateway, bucket, key, bytes) {
  const body = el("div", { "aria-busy": "true" }, el("p", { class: "faint" }, "Asking the gateway…"));
  const refresh = button("Look again", () => look(), { class: "quiet" });
  const look = async () => {
    refresh.disabled = true;
    try {
      body.replaceChildren(...drawn(await gateway.locate(bucket, key)));
    } catch (error) {
      body.replaceChildren(el("p", { class: "notice wrong" }, explain(error)));
    }
    refresh.disabled = false;
    body.removeAttribute("aria-busy");
  };
  const asked = bytes > ASKED_AT_ONCE_BYTES;
  if (asked) {
    body.replaceChildren(el("p", { class: "faint" }, "The object is large, and so is the list of its shards: “Look again” fetches it."));
    body.removeAttribute("aria-busy");
  } else look();
  return el("section", { class: "card", id: "shards" }, el("div", { class: "head" }, el("h2", {}, "Shard health"), refresh), body);
}
