//! The CRUSH map of an epoch as it stands on chain.

use bounded_collections::{BoundedVec, ConstU32};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

/// Longest endpoint, in bytes.
pub const ENDPOINT_BYTES_MAX: u32 = 128;
/// Weight of one TiB in [`MinerRecord::weight`]: 1.0 in 16.16 fixed point, as in Ceph.
pub const WEIGHT_ONE: u32 = 0x1_0000;

/// Parameters of a map: what decides placement besides the list of miners.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct CrushParams {
    /// Number of placement groups, at least 1.
    pub pg_count: u32,
    /// Data shards of a stripe (k), at least 1.
    pub ec_k: u8,
    /// Parity shards of a stripe (m); k + m is at most 255.
    pub ec_m: u8,
    /// Most shards of one stripe that may lie in one family, at least 1.
    pub family_shards_max: u8,
    /// Attempts CRUSH makes for one position before it leaves it empty (`set_choose_tries`).
    pub choose_tries: u16,
}

impl CrushParams {
    /// The parameters of the product: RS(10, 20), at most 2 shards of a stripe in a family.
    pub const STANDARD: Self =
        Self { pg_count: 4_096, ec_k: 10, ec_m: 20, family_shards_max: 2, choose_tries: 500 };

    /// k + m.
    pub fn shards(&self) -> u16 {
        u16::from(self.ec_k) + u16::from(self.ec_m)
    }
}

/// Where a miner is reached, UTF-8: `host:port` or `[v6]:port`.
pub type Endpoint = BoundedVec<u8, ConstU32<ENDPOINT_BYTES_MAX>>;

/// One miner in a map. `AccountId` is `AccountId32` on chain and `[u8; 32]` elsewhere: same bytes.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct MinerRecord<AccountId = [u8; 32]> {
    /// Number of the miner; lists are strictly increasing in it.
    pub uid: u32,
    /// Ed25519 public key of the node.
    pub node_id: [u8; 32],
    /// Family account: the failure domain.
    pub family: AccountId,
    /// CRUSH weight, 16.16 fixed point, 1.0 per TiB offered; 0 receives nothing.
    pub weight: u32,
    /// QUIC address, see [`Endpoint`].
    pub endpoint: Endpoint,
}

/// The commitment of a map: BLAKE2b-256 over the SCALE encoding of `(params, miners)`.
pub fn map_root<AccountId: Encode>(params: &CrushParams, miners: &[MinerRecord<AccountId>]) -> [u8; 32] {
    use blake2::Digest;
    blake2::Blake2b::<blake2::digest::consts::U32>::digest((params, miners).encode()).into()
}
