//! Range and challenge proofs: the honest one verifies, and no other bytes do.

use std::sync::LazyLock;

use arion_proofs::{derive, prove, prove_range, verify, verify_range};
use arion_types::ShardHash;

/// Longest shard: over twelve chunk groups.
const SHARD_BYTES_MAX: usize = 200_000;

static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut bytes = vec![0; SHARD_BYTES_MAX];
    blake3::Hasher::new().update(b"arion wire checks").finalize_xof().fill(&mut bytes);
    bytes
});

/// Numbers and what is left, from the bytes of an input.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn number(&mut self) -> u32 {
        let (head, rest) = self.0.split_at(self.0.len().min(3));
        self.0 = rest;
        head.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
    }

    fn below(&mut self, end: u32) -> u32 {
        self.number() % end
    }
}

fn shard(input: &mut Input<'_>) -> (ShardHash, &'static [u8]) {
    let shard = &BYTES[..1 + input.below(SHARD_BYTES_MAX as u32) as usize];
    (ShardHash(blake3::hash(shard).into()), shard)
}

/// Every proof that is not `honest` is refused: a bit changed, cut, lengthened, and the rest of the input.
fn forged(honest: &[u8], input: &mut Input<'_>, refused: impl Fn(&[u8]) -> bool) {
    let mut changed = honest.to_vec();
    let at = input.below(honest.len() as u32) as usize;
    changed[at] ^= 1 << input.below(8);
    assert!(refused(&changed), "bit changed in byte {at}");
    assert!(refused(&honest[..at]), "cut to {at} bytes");
    changed.clear();
    changed.extend_from_slice(honest);
    changed.push(0);
    assert!(refused(&changed), "a byte too many");
    assert!(input.0 == honest || refused(input.0), "bytes of the input");
}

/// The answer to `FetchRange`.
pub fn range(bytes: &[u8]) -> bool {
    let mut input = Input(bytes);
    let (address, shard) = shard(&mut input);
    let length = shard.len() as u32;
    let start = input.below(length);
    let end = start + 1 + input.below(length - start);
    let proof = prove_range(&address, shard, start..end).unwrap();
    let proven = verify_range(&address, length, start..end, &proof).unwrap();
    assert_eq!(proven, &shard[start as usize..end as usize]);
    forged(&proof, &mut input, |forged| verify_range(&address, length, start..end, forged).is_err());
    true
}

/// The answer to `Challenge`.
pub fn challenge(bytes: &[u8]) -> bool {
    let mut input = Input(bytes);
    let (address, shard) = shard(&mut input);
    let length = shard.len() as u32;
    let seed = blake3::hash(&input.number().to_le_bytes());
    let groups = derive(seed.as_bytes(), length);
    let proof = prove(&address, shard, &groups).unwrap();
    assert!(verify(&address, length, &groups, &proof).is_ok());
    forged(&proof, &mut input, |forged| verify(&address, length, &groups, forged).is_err());
    true
}
