// The buckets of an account, and what it stores.

import { ask, el, button, hrefOf, say } from "./dom.js";
import { count, explain, size, time } from "./words.js";

/// What bounds an account, as `GET /v1/usage` names it.
const RATES = {
  requests: (number) => `${number} requests a second`,
  burst: (number) => `${number} requests at once after a pause`,
  upload: (bytes) => `${bytes} a second up`,
  download: (bytes) => `${bytes} a second down`,
};

/// A figure beside its bound.
function gauge(label, used, bound, words) {
  const id = `gauge-${label.toLowerCase()}`;
  const text = bound === null ? words(used) : `${words(used)} of ${words(bound)}`;
  const share = bound ? used / bound : 0;
  return el("div", { class: "figure" },
    el("dt", { id }, label),
    el("dd", {}, text, bound !== null && el("meter", {
      "aria-labelledby": id, min: 0, max: bound || 1, value: Math.min(used, bound || 1), high: 0.9 * (bound || 1), optimum: 0,
      title: `${Math.round(share * 100)} % used`,
    })),
    bound !== null && share >= 0.9 && el("dd", { class: "wrong" }, share >= 1 ? "used up" : "nearly used up"));
}

/// What the state of an account's credits means, as `GET /v1/usage` names it; nothing if all is well.
const STATES = {
  low: "The credits run out soon.",
  arrears: "The credits have run out. Everything still works.",
  grace: "The credits have run out. Everything still works for a while.",
  suspended: "The credits have run out, and nothing more can be stored. Reading and deleting go on.",
  "deletion-notice": "The credits have run out, and what is stored will be deleted.",
  "not-authorized": "The account on chain does not let this gateway bill it, so nothing can be stored. Reading and deleting go on.",
};

function plain(label, text) {
  return el("div", { class: "figure" }, el("dt", {}, label), el("dd", {}, text));
}

/// What an account pays, in a few words.
function cost({ account, bill }) {
  if (bill) return `${bill.cost_day} credits a day`;
  return account.includes("/") ? "its account pays" : "nothing is charged";
}

/// What an account is to know of its credits before anything else.
function warning(bill) {
  const words = bill && STATES[bill.state];
  if (!words) return [];
  const owed = bill.owed === "0" ? "" : ` ${bill.owed} credits are owed.`;
  const until = bill.until ? ` That changes about ${time(new Date(bill.until))}, unless credits are bought.` : "";
  return [el("p", { class: bill.state === "low" ? "notice" : "notice wrong", role: "status" }, `${words}${owed}${until}`)];
}

/// The bill in detail.
function costs({ account, bill }) {
  if (!bill) {
    return [el("p", {}, account.includes("/")
      ? "What a sub-account stores is billed to its account."
      : "Nothing is charged: no account on chain pays for this one, or this gateway bills nobody.")];
  }
  const lasts = bill.lasts_until ? `, until about ${time(new Date(bill.lasts_until))} at this rate` : "";
  return [
    el("dl", { class: "figures" },
      gauge("Billed", bill.billed_bytes, bill.billed_bytes_max, size),
      plain("In use now", size(bill.occupied_bytes)),
      plain("Price", `${bill.price_gib_hour} credits a GiB-hour`),
      plain("A day", `${bill.cost_day} credits`),
      plain("A month", `${bill.cost_month} credits, now ${bill.cost_month_alpha} ALPHA`),
      plain("Balance", `${bill.credits} credits${lasts}`),
      bill.owed !== "0" && plain("Owed", `${bill.owed} credits`)),
    el("p", { class: "faint" }, "Billed are bytes of shards, about three for each byte stored, as of the gateway's last commitment to the chain. The balance is for all gateways that the account on chain uses."),
  ];
}

function figures(used) {
  const hour = used.this_hour;
  return el("dl", { class: "figures" },
    gauge("Stored", used.bytes, used.quota_bytes, size),
    gauge("Objects", used.objects, used.quota_objects, (objects) => objects.toLocaleString("en-GB")),
    plain("This hour", `${count(hour.requests, "request")}, ${size(hour.received_bytes)} up, ${size(hour.sent_bytes)} down`),
    plain("Cost", cost(used)));
}

/// Everything in the account, and the way to more.
export async function buckets({ gateway, view }) {
  const [used, found] = await Promise.all([gateway.usage(), gateway.buckets()]);
  const made = async () => {
    const input = el("input", { id: "bucket-name", required: true, autocapitalize: "none", spellcheck: "false", autocomplete: "off" });
    const done = await ask({
      title: "New bucket",
      content: [el("label", { for: "bucket-name" }, "Name"), input,
        el("p", { class: "faint small" }, "3 to 63 lower-case letters, digits, hyphens and dots. Nobody else at this gateway may have it.")],
      action: "Create",
      explain,
      act: () => gateway.makeBucket(input.value.trim()),
    });
    if (!done) return;
    say(`Bucket ${input.value.trim()} was created.`);
    location.hash = hrefOf("folder", input.value.trim());
  };
  view.append(
    el("h1", { tabindex: -1 }, "Buckets"),
    ...warning(used.bill),
    figures(used),
    el("p", { class: "tools" }, button("New bucket", made, { class: "main" })));
  if (found.length === 0) {
    view.append(el("p", { class: "empty" }, "There is no bucket here that your access key may enter."));
    return;
  }
  view.append(el("table", { class: "list" },
    el("caption", { class: "unseen" }, "Your buckets"),
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Name"), el("th", { scope: "col", class: "wide" }, "Created"))),
    el("tbody", {}, found.map(({ name, created }) => el("tr", {},
      el("th", { scope: "row" }, el("a", { href: hrefOf("folder", name), class: "folder" }, name)),
      el("td", { class: "wide" }, time(created)))))));
}

function row(used) {
  return el("tr", {},
    el("th", { scope: "row" }, used.account),
    el("td", {}, used.quota_bytes === null ? size(used.bytes) : `${size(used.bytes)} of ${size(used.quota_bytes)}`),
    el("td", {}, used.objects.toLocaleString("en-GB")),
    el("td", { class: "wide" }, used.this_hour.requests.toLocaleString("en-GB")));
}

/// Usage in detail.
export async function usage({ gateway, view }) {
  const used = await gateway.usage();
  const bound = Object.entries(used.rates ?? {}).filter(([, value]) => value !== null && value !== undefined);
  view.append(
    el("h1", { tabindex: -1 }, "Usage"),
    el("p", {}, "Account ", el("strong", {}, used.account), `, ${count(used.access_keys, "access key")}`,
      used.chain_account ? `, account on chain ${used.chain_account}` : "", "."),
    figures(used),
    el("p", { class: "faint" }, "Stored are bytes as you uploaded them; every version counts, and so do parts of uploads under way. Requests and bytes are counted since the hour began, or the gateway was started."),
    el("h2", {}, "Cost"),
    ...warning(used.bill),
    ...costs(used));
  if (bound.length > 0) {
    view.append(el("h2", {}, "Rates"), el("ul", {}, bound.map(([name, value]) => el("li", {}, RATES[name]?.(value) ?? `${name}: ${value}`))));
  }
  if (used.sub_accounts.length > 0) {
    view.append(el("h2", {}, "Sub-accounts"), el("table", { class: "list" },
      el("thead", {}, el("tr", {}, ["Name", "Stored", "Objects"].map((name) => el("th", { scope: "col" }, name)),
        el("th", { scope: "col", class: "wide" }, "Requests this hour"))),
      el("tbody", {}, used.sub_accounts.map(row))));
  }
}
