// AWS Signature Version 4, in a header or in the address.
// https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html

import { hex, hmac, sha256 } from "./sha256.js";

const ALGORITHM = "AWS4-HMAC-SHA256";
// The gateway takes any; it is part of what is signed.
const REGION = "us-east-1";
const UNSIGNED = "UNSIGNED-PAYLOAD";

/// Percent-encoded as signatures want it: all but letters, digits and `-_.~`.
export function encoded(text) {
  return encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}

/// The path of a bucket or an object.
export function pathOf(bucket, key) {
  const tail = key === undefined ? "" : `/${key.split("/").map(encoded).join("/")}`;
  return bucket === undefined ? "/" : `/${encoded(bucket)}${tail}`;
}

function queryOf(parameters) {
  const pairs = Object.entries(parameters).map(([name, value]) => [encoded(name), encoded(String(value))]);
  return pairs.sort(([a], [b]) => (a < b ? -1 : 1)).map((pair) => pair.join("=")).join("&");
}

/// `20261122T053000Z`.
export function stamp(date) {
  return `${date.toISOString().slice(0, 19).replace(/[-:]/g, "")}Z`;
}

/// The signature of a canonical request.
function signature(secret, time, scope, canonical) {
  const [day, region, service, end] = scope.split("/");
  const key = [day, region, service, end].reduce((key, part) => hmac(key, part), `AWS4${secret}`);
  return hex(hmac(key, [ALGORITHM, time, scope, hex(sha256(canonical))].join("\n")));
}

function canonical(method, path, query, headers) {
  const names = Object.keys(headers).sort();
  const lines = names.map((name) => `${name}:${headers[name].trim().replace(/ +/g, " ")}\n`).join("");
  return [method, path, query, lines, names.join(";"), UNSIGNED].join("\n");
}

/// A request, signed: its address without the host, and its headers. The body is not part of what is signed.
/// `keys` has `access` and `secret`; `headers` are the `x-amz-` ones to send, in lower case.
export function signed(keys, method, host, path, parameters, headers, date) {
  const [time, query] = [stamp(date), queryOf(parameters)];
  const all = { ...headers, "x-amz-content-sha256": UNSIGNED, "x-amz-date": time };
  const scope = `${time.slice(0, 8)}/${REGION}/s3/aws4_request`;
  const made = { host, ...all };
  const proof = signature(keys.secret, time, scope, canonical(method, path, query, made));
  const names = Object.keys(made).sort().join(";");
  all.authorization = `${ALGORITHM} Credential=${keys.access}/${scope}, SignedHeaders=${names}, Signature=${proof}`;
  return { address: query ? `${path}?${query}` : path, headers: all };
}

/// An address that works without a key for some seconds.
export function presigned(keys, method, host, path, parameters, seconds, date) {
  const time = stamp(date);
  const scope = `${time.slice(0, 8)}/${REGION}/s3/aws4_request`;
  const query = queryOf({
    ...parameters,
    "X-Amz-Algorithm": ALGORITHM,
    "X-Amz-Credential": `${keys.access}/${scope}`,
    "X-Amz-Date": time,
    "X-Amz-Expires": seconds,
    "X-Amz-SignedHeaders": "host",
  });
  const proof = signature(keys.secret, time, scope, canonical(method, path, query, { host }));
  return `${path}?${query}&X-Amz-Signature=${proof}`;
}
