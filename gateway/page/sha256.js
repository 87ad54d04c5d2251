// SHA-256 (FIPS 180-4) and HMAC (RFC 2104), for signing requests. WebCrypto has both, but only on https and localhost.
// Files are not hashed with this: it is not fast.

const BLOCK = 64;

/// The first 32 bits of the fractional parts of roots of the first primes: cube roots for the rounds, square roots to begin with.
function constants() {
  const primes = [];
  for (let n = 2; primes.length < 64; n += 1) {
    if (primes.every((prime) => n % prime !== 0)) primes.push(n);
  }
  const fraction = (root) => ((root - Math.floor(root)) * 2 ** 32) | 0;
  return {
    rounds: Int32Array.from(primes, (prime) => fraction(Math.cbrt(prime))),
    initial: Int32Array.from(primes.slice(0, 8), (prime) => fraction(Math.sqrt(prime))),
  };
}

const { rounds: K, initial: INITIAL } = constants();
const rotated = (word, by) => (word >>> by) | (word << (32 - by));

function padded(bytes) {
  const length = Math.ceil((bytes.length + 9) / BLOCK) * BLOCK;
  const message = new Uint8Array(length);
  message.set(bytes);
  message[bytes.length] = 0x80;
  new DataView(message.buffer).setBigUint64(length - 8, BigInt(bytes.length) * 8n);
  return new DataView(message.buffer);
}

/// The hash of bytes or of text as UTF-8: 32 bytes.
export function sha256(input) {
  const message = padded(asBytes(input));
  const state = Int32Array.from(INITIAL);
  const w = new Int32Array(64);
  for (let offset = 0; offset < message.byteLength; offset += BLOCK) {
    for (let i = 0; i < 16; i += 1) w[i] = message.getInt32(offset + 4 * i);
    for (let i = 16; i < 64; i += 1) {
      const [a, b] = [w[i - 15], w[i - 2]];
      const small = rotated(a, 7) ^ rotated(a, 18) ^ (a >>> 3);
      w[i] = w[i - 16] + small + w[i - 7] + (rotated(b, 17) ^ rotated(b, 19) ^ (b >>> 10));
    }
    let [a, b, c, d, e, f, g, h] = state;
    for (let i = 0; i < 64; i += 1) {
      const one = h + (rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)) + ((e & f) ^ (~e & g)) + K[i] + w[i];
      const two = (rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + one) | 0, c, b, a, (one + two) | 0];
    }
    [a, b, c, d, e, f, g, h].forEach((word, i) => { state[i] += word; });
  }
  const hash = new DataView(new ArrayBuffer(32));
  state.forEach((word, i) => hash.setInt32(4 * i, word));
  return new Uint8Array(hash.buffer);
}

/// HMAC-SHA-256: 32 bytes.
export function hmac(key, input) {
  let block = asBytes(key);
  if (block.length > BLOCK) block = sha256(block);
  const with_pad = (byte, rest) => {
    const bytes = new Uint8Array(BLOCK + rest.length).fill(byte, 0, BLOCK);
    block.forEach((value, i) => { bytes[i] ^= value; });
    bytes.set(rest, BLOCK);
    return sha256(bytes);
  };
  return with_pad(0x5c, with_pad(0x36, asBytes(input)));
}

/// Bytes in hexadecimal.
export function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function asBytes(input) {
  return typeof input === "string" ? new TextEncoder().encode(input) : input;
}
