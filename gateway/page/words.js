// What the page says: sizes, times, and what went wrong.

import { Refused, Unaddressable, Unreachable } from "./gateway.js";

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/// Bytes for people: three digits.
export function size(bytes) {
  const power = bytes < 1 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), UNITS.length - 1);
  const value = bytes / 1024 ** power;
  return `${power === 0 ? bytes : value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ${UNITS[power]}`;
}

/// A number with separators.
export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en-GB")} ${number === 1 ? one : many}`;
}

export function time(date) {
  return date.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
}

/// `3 min 20 s`.
export function duration(seconds) {
  const whole = Math.max(Math.round(seconds), 0);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/// The last name of a key, or of a folder.
export function nameOf(key) {
  const names = key.split("/");
  return (key.endsWith("/") ? names.at(-2) : names.at(-1)) || "/";
}

const CODES = {
  InvalidAccessKeyId: "There is no such access key at this gateway. Check it, or ask its operator for one.",
  SignatureDoesNotMatch: "The secret key is not the one that belongs to this access key.",
  ExpiredToken: "This access key has expired. Ask the gateway's operator for a new one.",
  RequestTimeTooSkewed: "The clock of this device is too far from the gateway's. Set it and try again.",
  QuotaExceeded: "The quota is used up: delete something, or ask the gateway's operator for more.",
  AccountProblem: "The account on chain that pays for this cannot be billed for more. Reading and deleting go on.",
  SlowDown: "The gateway asks to wait a moment. Try again shortly.",
  NoSuchBucket: "There is no such bucket.",
  NoSuchKey: "There is no such object. It may have been deleted.",
  NoSuchVersion: "There is no such version. It may have been deleted.",
  NoSuchUpload: "The upload was given up, here or somewhere else. Start it again.",
  BucketNotEmpty: "The bucket is not empty: delete what is in it first, old versions too.",
  BucketAlreadyExists: "Another account has a bucket of this name. Names are global: choose another.",
  BucketAlreadyOwnedByYou: "You already have a bucket of this name.",
  InvalidBucketName: "A bucket's name has 3 to 63 lower-case letters, digits, hyphens and dots, with a letter or digit at both ends.",
  KeyTooLongError: "The name is too long: with its folders it may have 1,024 bytes.",
  EntityTooLarge: "The file is too large: 5 TiB is the most.",
  PreconditionFailed: "An object of this name is there already.",
};

/// What went wrong, and what to do about it.
export function explain(error) {
  if (error instanceof Unreachable) return "The gateway does not answer. Is it running, and are you online?";
  if (error instanceof Unaddressable) {
    return "Browsers rewrite addresses in which a name is “.” or “..”, so this page cannot reach the object. The arion tool and other S3 clients can.";
  }
  if (!(error instanceof Refused)) return `This page has a fault: ${error.message}`;
  if (error.code === "AccessDenied") {
    return `Your access key may not do this${error.message ? ` (${error.message})` : ""}.`;
  }
  const said = CODES[error.code];
  if ((error.code === "QuotaExceeded" || error.code === "AccountProblem") && error.message) return `${said} (${error.message})`;
  if (said) return said;
  if (error.status >= 500) return `The gateway cannot do this now${error.message ? `: ${error.message}` : ""}. Try again later.`;
  return `The gateway refused: ${error.message || error.code}.`;
}
