// The gateway as the page sees it: an S3 client, and the routes under /v1 that the `arion` tool asks too.

import { encoded, pathOf, presigned, signed } from "./signature.js";

/// Lines of a listing asked for at once.
export const LINES = 200;

/// The gateway refused. `code` is S3's.
export class Refused extends Error {
  constructor(status, code, message, retryAfter) {
    super(message);
    Object.assign(this, { name: "Refused", status, code, retryAfter });
  }
}

/// Nobody answered.
export class Unreachable extends Error {}

/// Somebody ended the request.
export class Cancelled extends Error {}

/// Browsers rewrite addresses with these names before they send them.
export class Unaddressable extends Error {}

// Answers are XML. This policy only lets the parser have them: it makes a document that is read, never shown.
const policy = globalThis.trustedTypes?.createPolicy("answers", { createHTML: (text) => text });

function parsed(text) {
  return new DOMParser().parseFromString(policy ? policy.createHTML(text) : text, "application/xml");
}

/// The text of the first element of a name; empty if there is none.
function textOf(node, name) {
  return node.getElementsByTagName(name)[0]?.textContent ?? "";
}

function all(node, name) {
  return Array.from(node.getElementsByTagName(name));
}

// What HEAD is refused with has no body.
const CODES = { 400: "InvalidRequest", 403: "AccessDenied", 404: "NoSuchKey", 405: "MethodNotAllowed", 412: "PreconditionFailed" };

function refusal(xhr) {
  const answer = xhr.responseText ? parsed(xhr.responseText) : undefined;
  const code = (answer && textOf(answer, "Code")) || CODES[xhr.status] || `HTTP ${xhr.status}`;
  const wait = Number(xhr.getResponseHeader("retry-after")) || undefined;
  return new Refused(xhr.status, code, (answer && textOf(answer, "Message")) || "", wait);
}

function decoded(text) {
  return decodeURIComponent(text.replaceAll("+", "%20"));
}

/// Everything that can be asked of a gateway with an access key.
export class Gateway {
  /// `keys` has `access` and `secret`. `onSkew` is told by how many milliseconds the gateway's clock is ahead, where that matters.
  constructor(keys, onSkew = () => {}) {
    Object.assign(this, { keys, onSkew, skew: 0 });
  }

  now() {
    return new Date(Date.now() + this.skew);
  }

  /// Sends a request; answers the finished XMLHttpRequest, as only that tells how much of a body is sent.
  /// `options`: query, headers (those of S3 are signed), body, onProgress, signal.
  async ask(method, bucket, key, options = {}) {
    try {
      return await this.askOnce(method, pathOf(bucket, key), options);
    } catch (error) {
      if (error.code !== "RequestTimeTooSkewed" || !error.date) throw error;
      // The clock of this machine is wrong. That of the gateway is the one that counts.
      this.skew = error.date - Date.now();
      this.onSkew(this.skew);
      return this.askOnce(method, pathOf(bucket, key), options);
    }
  }

  askOnce(method, path, { query = {}, headers = {}, body, onProgress, signal }) {
    if (path.split("/").some((name) => name === "." || name === "..")) throw new Unaddressable();
    const ours = Object.fromEntries(Object.entries(headers).filter(([name]) => name.startsWith("x-amz-")));
    const request = signed(this.keys, method, location.host, path, query, ours, this.now());
    return new Promise((resolve, reject) => {
      const xhr = new XMLHttpRequest();
      const abort = () => xhr.abort();
      const end = (settle, value) => {
        signal?.removeEventListener("abort", abort);
        settle(value);
      };
      xhr.open(method, request.address);
      for (const [name, value] of Object.entries({ ...headers, ...request.headers })) xhr.setRequestHeader(name, value);
      if (onProgress) xhr.upload.onprogress = (event) => onProgress(event.loaded);
      xhr.onload = () => {
        if (xhr.status >= 200 && xhr.status < 300) return end(resolve, xhr);
        const error = refusal(xhr);
        error.date = Date.parse(xhr.getResponseHeader("date"));
        return end(reject, error);
      };
      xhr.onerror = () => end(reject, new Unreachable());
      xhr.onabort = () => end(reject, new Cancelled());
      if (signal?.aborted) return end(reject, new Cancelled());
      signal?.addEventListener("abort", abort);
      return xhr.send(body);
    });
  }

  async usage() {
    return JSON.parse((await this.ask("GET", "v1", "usage")).responseText);
  }

  async locate(bucket, key) {
    return JSON.parse((await this.ask("GET", "v1", "locate", { query: { bucket, key } })).responseText);
  }

  async buckets() {
    const answer = parsed((await this.ask("GET")).responseText);
    return all(answer, "Bucket").map((bucket) => ({
      name: textOf(bucket, "Name"),
      created: new Date(textOf(bucket, "CreationDate")),
    }));
  }

  makeBucket(bucket) {
    return this.ask("PUT", bucket);
  }

  removeBucket(bucket) {
    return this.ask("DELETE", bucket);
  }

  /// A page of a folder: `{ folders, objects, next }`.
  async list(bucket, prefix, token) {
    const query = { "list-type": 2, delimiter: "/", "encoding-type": "url", "max-keys": LINES, prefix };
    if (token) query["continuation-token"] = token;
    const answer = parsed((await this.ask("GET", bucket, undefined, { query })).responseText);
    return {
      folders: all(answer, "CommonPrefixes").map((folder) => decoded(textOf(folder, "Prefix"))),
      objects: all(answer, "Contents").map((object) => ({
        key: decoded(textOf(object, "Key")),
        size: Number(textOf(object, "Size")),
        modified: new Date(textOf(object, "LastModified")),
      })),
      next: textOf(answer, "NextContinuationToken") || undefined,
    };
  }

  /// What is known about an object: a function from header names to values.
  async head(bucket, key) {
    const xhr = await this.ask("HEAD", bucket, key, { headers: { "x-amz-checksum-mode": "ENABLED" } });
    const header = (name) => xhr.getResponseHeader(name) ?? undefined;
    return {
      header,
      size: Number(header("content-length")),
      names: xhr.getAllResponseHeaders().trim().split(/\r?\n/).map((line) => line.split(":")[0]),
    };
  }

  /// The versions of an object, the newest first; at most a hundred. `more` says that there are others.
  async versions(bucket, key) {
    const query = { versions: "", prefix: key, "encoding-type": "url", "max-keys": 100 };
    const answer = parsed((await this.ask("GET", bucket, undefined, { query })).responseText);
    const rows = Array.from(answer.documentElement.children)
      .filter(({ localName }) => localName === "Version" || localName === "DeleteMarker")
      .map((row) => ({
        key: decoded(textOf(row, "Key")),
        id: textOf(row, "VersionId"),
        latest: textOf(row, "IsLatest") === "true",
        modified: new Date(textOf(row, "LastModified")),
        marker: row.localName === "DeleteMarker",
        size: Number(textOf(row, "Size")),
      }));
    const own = rows.filter((row) => row.key === key);
    return { versions: own, more: own.length === rows.length && textOf(answer, "IsTruncated") === "true" };
  }

  remove(bucket, key, version) {
    return this.ask("DELETE", bucket, key, { query: version ? { versionId: version } : {} });
  }

  put(bucket, key, body, options) {
    return this.ask("PUT", bucket, key, { ...options, body });
  }

  async beginUpload(bucket, key, headers, signal) {
    const xhr = await this.ask("POST", bucket, key, { query: { uploads: "" }, headers, signal });
    return textOf(parsed(xhr.responseText), "UploadId");
  }

  async putPart(bucket, key, upload, number, body, options) {
    const query = { partNumber: number, uploadId: upload };
    return (await this.ask("PUT", bucket, key, { ...options, query, body })).getResponseHeader("etag");
  }

  /// `etags` are those of the parts in order. S3 may answer 200 and then say that it failed.
  async completeUpload(bucket, key, upload, etags, headers, signal) {
    const parts = etags.map((etag, at) => `<Part><PartNumber>${at + 1}</PartNumber><ETag>${etag}</ETag></Part>`);
    const body = `<CompleteMultipartUpload>${parts.join("")}</CompleteMultipartUpload>`;
    const xhr = await this.ask("POST", bucket, key, { query: { uploadId: upload }, headers, body, signal });
    const answer = parsed(xhr.responseText);
    if (answer.documentElement.localName === "Error") {
      throw new Refused(500, textOf(answer, "Code"), textOf(answer, "Message"));
    }
  }

  abortUpload(bucket, key, upload) {
    return this.ask("DELETE", bucket, key, { query: { uploadId: upload } });
  }

  /// A link that reads an object without a key, for some seconds. `name` makes browsers save it under that name.
  link(bucket, key, seconds, { version, name } = {}) {
    const path = pathOf(bucket, key);
    if (path.split("/").some((part) => part === "." || part === "..")) throw new Unaddressable();
    const query = version ? { versionId: version } : {};
    if (name) query["response-content-disposition"] = `attachment; filename*=UTF-8''${encoded(name)}`;
    return location.origin + presigned(this.keys, "GET", location.host, path, query, seconds, this.now());
  }
}
