// @aws-sdk/client-s3, unmodified: the commands of the client matrix. Each prints one JSON object.

import { createReadStream, createWriteStream, promises as fs } from "node:fs";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import {
  S3Client, CompleteMultipartUploadCommand, CreateBucketCommand, DeleteBucketCommand, DeleteObjectCommand,
  DeleteObjectsCommand, GetObjectCommand, HeadObjectCommand, ListBucketsCommand, ListMultipartUploadsCommand,
  ListPartsCommand, PutObjectCommand, UploadPartCommand, paginateListObjectsV2,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const PART_BYTES = 5 << 20;
const AT_ONCE = 8;

const s3 = new S3Client({ endpoint: process.env.S3_ENDPOINT, forcePathStyle: true });

const buckets = async () => (await s3.send(new ListBucketsCommand({}))).Buckets.map((bucket) => bucket.Name);

async function walk(directory) {
  const entries = await fs.readdir(directory, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath ?? entry.path, entry.name));
}

async function atOnce(items, work) {
  const left = [...items];
  const worker = async () => {
    for (let item = left.pop(); item !== undefined; item = left.pop()) await work(item);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

async function contents(bucket) {
  const all = [];
  for await (const page of paginateListObjectsV2({ client: s3, pageSize: 100 }, { Bucket: bucket })) {
    all.push(...(page.Contents ?? []));
  }
  return all;
}

async function partsOf(file) {
  const body = await fs.readFile(file);
  return Array.from({ length: Math.ceil(body.length / PART_BYTES) }, (_, index) =>
    body.subarray(index * PART_BYTES, (index + 1) * PART_BYTES));
}

const commands = {
  async version() {
    const manifest = new URL("node_modules/@aws-sdk/client-s3/package.json", import.meta.url);
    return { version: `@aws-sdk/client-s3 ${JSON.parse(await fs.readFile(manifest)).version}` };
  },
  async "make-bucket"(bucket) {
    await s3.send(new CreateBucketCommand({ Bucket: bucket }));
    return { buckets: await buckets() };
  },
  async "upload-tree"(directory, bucket) {
    await atOnce(await walk(directory), async (file) => {
      const Key = path.relative(directory, file);
      await s3.send(new PutObjectCommand({ Bucket: bucket, Key, Body: await fs.readFile(file) }));
    });
    return {};
  },
  async list(bucket) {
    return { sizes: Object.fromEntries((await contents(bucket)).map((entry) => [entry.Key, entry.Size])) };
  },
  async "download-tree"(bucket, directory) {
    await atOnce(await contents(bucket), async ({ Key }) => {
      const file = path.join(directory, Key);
      await fs.mkdir(path.dirname(file), { recursive: true });
      const answer = await s3.send(new GetObjectCommand({ Bucket: bucket, Key }));
      await pipeline(answer.Body, createWriteStream(file));
    });
    return {};
  },
  async upload(file, bucket, key) {
    const params = { Bucket: bucket, Key: key, Body: createReadStream(file) };
    await new Upload({ client: s3, params, partSize: PART_BYTES, queueSize: 1, leavePartsOnError: true }).done();
    return {};
  },
  async complete(file, bucket, key) {
    const open = await s3.send(new ListMultipartUploadsCommand({ Bucket: bucket, Prefix: key }));
    if (open.Uploads?.length !== 1) throw new Error(`${open.Uploads?.length ?? 0} open uploads`);
    const target = { Bucket: bucket, Key: key, UploadId: open.Uploads[0].UploadId };
    const listed = (await s3.send(new ListPartsCommand(target))).Parts ?? [];
    const there = new Map(listed.map((part) => [part.PartNumber, part]));
    const parts = [];
    for (const [index, body] of (await partsOf(file)).entries()) {
      const PartNumber = index + 1;
      const part = there.get(PartNumber)
        ?? await s3.send(new UploadPartCommand({ ...target, PartNumber, Body: body }));
      const { ETag, ChecksumCRC32 } = part;
      parts.push({ PartNumber, ETag, ChecksumCRC32 });
    }
    await s3.send(new CompleteMultipartUploadCommand({ ...target, MultipartUpload: { Parts: parts } }));
    return { kept: there.size, sent: parts.length - there.size };
  },
  async range(bucket, key, first, last, file) {
    const answer = await s3.send(new GetObjectCommand({ Bucket: bucket, Key: key, Range: `bytes=${first}-${last}` }));
    await pipeline(answer.Body, createWriteStream(file));
    return { content_range: answer.ContentRange };
  },
  async presign(method, bucket, key) {
    const Command = { GET: GetObjectCommand, PUT: PutObjectCommand }[method];
    return { url: await getSignedUrl(s3, new Command({ Bucket: bucket, Key: key }), { expiresIn: 300 }) };
  },
  async checksums(file, bucket, key) {
    const body = await fs.readFile(file);
    const equal = [];
    for (const algorithm of ["CRC32", "CRC32C", "SHA1", "SHA256"]) {
      const put = await s3.send(
        new PutObjectCommand({ Bucket: bucket, Key: key, Body: body, ChecksumAlgorithm: algorithm }));
      const got = await s3.send(new GetObjectCommand({ Bucket: bucket, Key: key, ChecksumMode: "ENABLED" }));
      const same = Buffer.from(await got.Body.transformToByteArray()).equals(body);
      const name = `Checksum${algorithm}`;
      if (same && put[name] && put[name] === got[name]) equal.push(algorithm);
    }
    return { equal, wanted: 4 };
  },
  async delete(bucket, key) {
    await s3.send(new DeleteObjectCommand({ Bucket: bucket, Key: key }));
    try {
      await s3.send(new HeadObjectCommand({ Bucket: bucket, Key: key }));
    } catch (error) {
      return { gone: error.$metadata?.httpStatusCode === 404 };
    }
    return { gone: false };
  },
  async "remove-bucket"(bucket) {
    const keys = (await contents(bucket)).map(({ Key }) => ({ Key }));
    for (let start = 0; start < keys.length; start += 1000) {
      const answer = await s3.send(
        new DeleteObjectsCommand({ Bucket: bucket, Delete: { Objects: keys.slice(start, start + 1000), Quiet: true } }));
      if (answer.Errors?.length) throw new Error(`not deleted: ${JSON.stringify(answer.Errors.slice(0, 3))}`);
    }
    await s3.send(new DeleteBucketCommand({ Bucket: bucket }));
    return { buckets: await buckets() };
  },
};

const [command, ...rest] = process.argv.slice(2);
console.log(JSON.stringify(await commands[command](...rest)));
