//! Where bytes of the plaintext lie in the ciphertext.

use std::ops::Range;

/// Plaintext bytes of every segment but the last.
pub const SEGMENT_BYTES: usize = 64 * 1024;
/// Bytes that sealing adds to a segment.
pub const TAG_BYTES: usize = 16;
/// Ciphertext bytes of every segment but the last.
pub const SEALED_BYTES: usize = SEGMENT_BYTES + TAG_BYTES;

/// Number of segments of a stream of `plain_len` bytes: at least one, so that an empty stream is authenticated
/// too.
pub fn segment_count(plain_len: u64) -> u64 {
    plain_len.div_ceil(SEGMENT_BYTES as u64).max(1)
}

/// Length of the ciphertext of `plain_len` bytes.
pub fn ciphertext_len(plain_len: u64) -> u64 {
    plain_len + segment_count(plain_len) * TAG_BYTES as u64
}

/// The segments that hold the bytes `plain` of a stream of `plain_len` bytes, and where those segments lie in
/// the ciphertext. `plain` must be non-empty and lie within the stream.
pub fn segment_range(plain: Range<u64>, plain_len: u64) -> (Range<u64>, Range<u64>) {
    debug_assert!(plain.start < plain.end && plain.end <= plain_len);
    let first = plain.start / SEGMENT_BYTES as u64;
    let end = plain.end.div_ceil(SEGMENT_BYTES as u64);
    let bytes = first * SEALED_BYTES as u64..ciphertext_len(plain_len).min(end * SEALED_BYTES as u64);
    (first..end, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_at_segment_borders() {
        let segment = SEGMENT_BYTES as u64;
        for (plain, segments) in
            [(0, 1), (1, 1), (segment - 1, 1), (segment, 1), (segment + 1, 2), (3 * segment, 3)]
        {
            assert_eq!(segment_count(plain), segments, "{plain}");
            assert_eq!(ciphertext_len(plain), plain + 16 * segments, "{plain}");
        }
    }

    #[test]
    fn ranges_cover_whole_segments() {
        let (segment, sealed) = (SEGMENT_BYTES as u64, SEALED_BYTES as u64);
        let len = 2 * segment + 10;
        assert_eq!(segment_range(0..1, len), (0..1, 0..sealed));
        assert_eq!(segment_range(segment - 1..segment + 1, len), (0..2, 0..2 * sealed));
        assert_eq!(segment_range(2 * segment..len, len), (2..3, 2 * sealed..ciphertext_len(len)));
    }
}
