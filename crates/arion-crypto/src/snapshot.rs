//! What snapshots of metadata are found and opened by: both follow from the operator's secret alone.
//!
//! Specified in docs/spec/snapshot.md; frozen by vectors/snapshot.json.

use ring::hkdf;
use zeroize::Zeroizing;

use crate::keys::{DataKey, OperatorSecret};

/// Salt of the derivation of locators.
const LOCATOR: &[u8] = b"arion/snapshot-locator/v1";
/// Salt of the derivation of keys of roots.
const ROOT: &[u8] = b"arion/snapshot-root/v1";

impl OperatorSecret {
    /// Seed of the Ed25519 key under which snapshots are entered on the chain with this genesis hash: HKDF-SHA256 with the salt
    /// `"arion/snapshot-locator/v1"` and the genesis hash as info.
    pub fn snapshot_locator_seed(&self, genesis: &[u8; 32]) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.derived(LOCATOR, genesis))
    }

    /// Key of the root of one snapshot: HKDF-SHA256 with the salt `"arion/snapshot-root/v1"` and `place` as info, which no two
    /// roots have in common.
    pub fn snapshot_root_key(&self, place: &[u8]) -> DataKey {
        DataKey::from_bytes(self.derived(ROOT, place))
    }

    fn derived(&self, salt: &[u8], info: &[u8]) -> [u8; 32] {
        let mut bytes = [0; 32];
        hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
            .extract(self.as_bytes())
            .expand(&[info], hkdf::HKDF_SHA256)
            .and_then(|output| output.fill(&mut bytes))
            .expect("HKDF-SHA256 gives up to 8,160 bytes");
        bytes
    }
}
