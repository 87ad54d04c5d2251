//! What accounts occupy, counted again from all other rows: for metadata that came without it, and to check.

use std::collections::BTreeMap;

use arion_protocol::LedgerRecord;
use arion_types::StripeId;
use codec::{DecodeAll, Encode};

use super::{ALL, CLAIMS, COUNTED, Claims, OCCUPIED, PACKED_FOR, Row, references};
use crate::{
    account::account_of,
    manifest::{Manifest, ManifestId, PartManifest},
    meta::{
        Hash, LEDGER, MANIFESTS, Meta, MetaError, OBJECTS, PARTS, ReadableTable, SETTINGS, UPLOADS, VERSIONS,
        WriteTransaction, packs, stripes, uploads,
    },
    object::Version,
};

/// What all rows come to.
#[derive(Default)]
struct Found {
    claims: BTreeMap<StripeId, Claims>,
    packed_for: BTreeMap<ManifestId, String>,
}

impl Found {
    fn refer(&mut self, account: &str, part: &PartManifest) {
        for (record, bytes) in references(part) {
            self.claims.entry(record.id()).or_insert_with(|| Claims::new(record)).refer(account, bytes);
        }
    }

    fn version(&mut self, transaction: &WriteTransaction, row: &[u8]) -> Result<(), MetaError> {
        let Ok(version) = Version::from_row(row) else { return Ok(()) };
        let Some(info) = version.object() else { return Ok(()) };
        let manifests = transaction.open_table(MANIFESTS)?;
        let Some(row) = manifests.get(info.manifest)? else { return Ok(()) };
        let Ok(manifest) = Manifest::from_row(row.value()) else { return Ok(()) };
        let account = account_of(version.payer());
        manifest.parts.iter().for_each(|part| self.refer(account, part));
        if packs::is_shared(&manifest) {
            self.packed_for.insert(info.manifest, account.to_owned());
        }
        Ok(())
    }

    fn occupied(&self) -> BTreeMap<String, u64> {
        let mut occupied = BTreeMap::new();
        for claims in self.claims.values() {
            *occupied.entry(ALL.to_owned()).or_insert(0) += claims.live_bytes();
            for (account, share) in claims.shares() {
                *occupied.entry(account.to_owned()).or_insert(0) += share;
            }
        }
        occupied.retain(|_, bytes| *bytes > 0);
        occupied
    }
}

/// Goes through all rows.
fn find(transaction: &WriteTransaction) -> Result<Found, MetaError> {
    let mut found = Found::default();
    for row in transaction.open_table(LEDGER)?.iter()? {
        // Whatever was deleted is of stripes that are gone.
        let Ok(LedgerRecord::Stored(signed)) = LedgerRecord::decode_all(&mut row?.1.value()) else {
            continue;
        };
        let receipt = &signed.receipt;
        let Some(record) = stripes::record_for_change(transaction, &receipt.stripe)? else { continue };
        let claims = found.claims.entry(receipt.stripe).or_insert_with(|| Claims::new(&record));
        claims.mark(&record, &receipt.shard);
    }
    for row in transaction.open_table(OBJECTS)?.iter()? {
        found.version(transaction, row?.1.value())?;
    }
    for row in transaction.open_table(VERSIONS)?.iter()? {
        found.version(transaction, row?.1.value())?;
    }
    let parts = transaction.open_table(PARTS)?;
    for row in transaction.open_table(UPLOADS)?.iter()? {
        let (key, row) = row?;
        let Ok(info) = uploads::decode_upload(row.value()) else { continue };
        let id = key.value().2;
        for row in parts.range((id, 0)..=(id, u32::MAX))? {
            if let Ok(part) = uploads::decode_part(row?.1.value()) {
                found.refer(account_of(&info.properties.payer), &part.manifest);
            }
        }
    }
    found.claims.retain(|_, claims| !claims.is_empty());
    Ok(found)
}

/// Takes out what was counted.
fn empty(transaction: &WriteTransaction) -> Result<(), MetaError> {
    transaction.open_table(CLAIMS)?.remove_range::<Hash>(..)?;
    transaction.open_table(OCCUPIED)?.remove_range::<&str>(..)?;
    transaction.open_table(PACKED_FOR)?.remove_range::<ManifestId>(..)
}

/// Counts all of it.
pub(super) fn count_anew(transaction: &WriteTransaction) -> Result<(), MetaError> {
    empty(transaction)?;
    let found = find(transaction)?;
    let occupied = found.occupied();
    let mut table = transaction.open_table(CLAIMS)?;
    for (id, claims) in found.claims {
        table.insert(id.0, Row::V1(claims).encode().as_slice())?;
    }
    let mut table = transaction.open_table(OCCUPIED)?;
    for (account, bytes) in &occupied {
        table.insert(account.as_str(), bytes)?;
    }
    let mut table = transaction.open_table(PACKED_FOR)?;
    for (manifest, account) in &found.packed_for {
        table.insert(manifest, account.as_str())?;
    }
    transaction.open_table(SETTINGS)?.insert(COUNTED, [1u8].as_slice())
}

/// What is noted, as [`find`] finds it.
fn noted(transaction: &WriteTransaction) -> Result<(Found, BTreeMap<String, u64>), MetaError> {
    let mut noted = Found::default();
    for row in transaction.open_table(CLAIMS)?.iter()? {
        let (id, row) = row?;
        noted.claims.insert(StripeId(id.value()), Claims::of_row(row.value())?);
    }
    for row in transaction.open_table(PACKED_FOR)?.iter()? {
        let (id, account) = row?;
        noted.packed_for.insert(id.value(), account.value().to_owned());
    }
    let mut occupied = BTreeMap::new();
    for row in transaction.open_table(OCCUPIED)?.iter()? {
        let (account, bytes) = row?;
        occupied.insert(account.value().to_owned(), bytes.value());
    }
    Ok((noted, occupied))
}

impl Meta {
    /// Goes through all rows and says whether what is noted is what there is; nothing else is written meanwhile.
    pub async fn recount_occupied(&self) -> Result<bool, MetaError> {
        self.write(|transaction| {
            let (found, (noted, occupied)) = (find(transaction)?, noted(transaction)?);
            let same = (&found.claims, &found.packed_for) == (&noted.claims, &noted.packed_for);
            Ok(same && found.occupied() == occupied)
        })
        .await
    }

    /// Counts all of it again.
    pub async fn repair_occupied(&self) -> Result<(), MetaError> {
        self.write(count_anew).await
    }
}
