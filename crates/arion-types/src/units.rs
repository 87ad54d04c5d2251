//! Units of the token and of sizes.

/// One ALPHA in its smallest unit: 18 decimals.
pub const HIPP: u128 = 1_000_000_000_000_000_000;
/// 1,024 bytes.
pub const KIB: u64 = 1 << 10;
/// 1,048,576 bytes.
pub const MIB: u64 = 1 << 20;
/// 1,073,741,824 bytes.
pub const GIB: u64 = 1 << 30;
/// Largest shard, in bytes.
pub const SHARD_BYTES_MAX: u32 = 1 << 20;
