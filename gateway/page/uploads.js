// One file on its way into a bucket: in one piece, or in parts where it is large; again where something failed.

import { Cancelled, Refused, Unaddressable, Unreachable } from "./gateway.js";

const MIB = 1 << 20;
/// Files above this go in parts of this size, or larger ones where there would be too many.
const PART_BYTES = 16 * MIB;
const PARTS_MAX = 10_000;
const PARTS_AT_ONCE = 3;
const ATTEMPTS = 4;
/// Below this a refusal is read even when it comes before the whole file was sent.
const ASKED_BYTES = MIB / 4;

/// The file changed or went away while it was read.
export class Unreadable extends Error {}

/// Which parts a file of some size goes in: `[from, to]` each.
export function partsOf(bytes) {
  const length = Math.max(PART_BYTES, Math.ceil(bytes / PARTS_MAX / MIB) * MIB);
  const parts = [];
  for (let from = 0; from < bytes; from += length) parts.push([from, Math.min(from + length, bytes)]);
  return parts;
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new Cancelled());
    });
  });
}

/// Does something until it succeeds, where trying again may help.
async function persist(signal, work) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      const passing = error instanceof Unreachable || (error instanceof Refused && error.status >= 500);
      if (!passing || attempt === ATTEMPTS) throw error;
      await pause(Math.max((error.retryAfter ?? 0) * 1000, 500 * 2 ** attempt), signal);
    }
  }
}

async function exists(gateway, { bucket, key }) {
  try {
    await gateway.head(bucket, key);
    return true;
  } catch (error) {
    // A key that may only write is not told what is there.
    if (error instanceof Refused && (error.status === 404 || error.status === 403)) return false;
    // There, under a customer's key.
    if (error instanceof Refused && error.status === 400) return true;
    throw error;
  }
}

function taken() {
  return new Refused(412, "PreconditionFailed", "");
}

/// A browser does not show what a gateway said that ended the connection early. Finds out what it was.
async function cause(gateway, file, error) {
  if (!(error instanceof Unreachable)) return error;
  try {
    await file.slice(-1).arrayBuffer();
  } catch {
    return new Unreadable();
  }
  try {
    const used = await gateway.usage();
    const full = used.quota_bytes !== null && used.bytes + file.size > used.quota_bytes;
    return full ? new Refused(403, "QuotaExceeded", "") : error;
  } catch (other) {
    return other;
  }
}

async function refuseBeyondQuota(gateway, file) {
  if (file.size < ASKED_BYTES) return;
  const used = await gateway.usage();
  if (used.quota_bytes !== null && used.bytes + file.size > used.quota_bytes) {
    throw new Refused(403, "QuotaExceeded", "");
  }
}

async function inParts(gateway, { bucket, key, file, headers, condition, signal, onProgress }) {
  const upload = await persist(signal, () => gateway.beginUpload(bucket, key, headers, signal));
  const [parts, etags, sent] = [partsOf(file.size), [], []];
  const failure = new AbortController();
  const either = AbortSignal.any([signal, failure.signal]);
  let next = 0;
  const worker = async () => {
    while (next < parts.length) {
      const at = next;
      next += 1;
      const body = file.slice(...parts[at]);
      const progress = (bytes) => {
        sent[at] = Math.min(bytes, body.size);
        onProgress(sent.reduce((sum, part) => sum + (part ?? 0), 0));
      };
      etags[at] = await persist(either, () =>
        gateway.putPart(bucket, key, upload, at + 1, body, { signal: either, onProgress: progress }));
      progress(body.size);
    }
  };
  try {
    const workers = Array.from({ length: PARTS_AT_ONCE }, () => worker().catch((error) => {
      failure.abort();
      throw error;
    }));
    const ended = await Promise.allSettled(workers);
    const failed = ended.map(({ reason }) => reason).filter(Boolean);
    if (failed.length > 0) throw failed.find((error) => !(error instanceof Cancelled)) ?? failed[0];
    await persist(signal, () => gateway.completeUpload(bucket, key, upload, etags, condition, signal));
  } catch (error) {
    // Nothing is left behind; what cannot be told now the gateway gives up by itself.
    await gateway.abortUpload(bucket, key, upload).catch(() => {});
    throw error;
  }
}

/// Uploads `{ bucket, key, file, replace, signal, onProgress }`. An object that is there already is replaced only if `replace` says so;
/// otherwise the error has the code `PreconditionFailed`.
export async function upload(gateway, job) {
  const { bucket, key, file, replace, signal, onProgress } = job;
  const kind = file.type ? { "content-type": file.type } : {};
  const condition = replace ? {} : { "if-none-match": "*" };
  try {
    if (key.split("/").some((name) => name === "." || name === "..")) throw new Unaddressable();
    // Told now, not after the bytes were sent.
    if (!replace && (await persist(signal, () => exists(gateway, job)))) throw taken();
    await refuseBeyondQuota(gateway, file);
    if (file.size > PART_BYTES) await inParts(gateway, { ...job, headers: kind, condition });
    else {
      const headers = { ...kind, ...condition };
      await persist(signal, () => gateway.put(bucket, key, file, { headers, signal, onProgress }));
    }
  } catch (error) {
    throw signal.aborted ? new Cancelled() : await cause(gateway, file, error);
  }
}
