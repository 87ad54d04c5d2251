//! Who shares which stripe, so that holes can be reclaimed: members of shared stripes, and the stripes that lost one.
//!
//! References decide whether a stripe is kept (`STRIPES`); what is here only finds the manifests to rewrite. A part of an upload
//! that is not completed refers to its stripe without being a member; such a stripe stays until the upload ends.

use std::collections::HashSet;

use arion_types::{ShardHash, StripeId};

use super::{
    DELETES, Hash, MANIFESTS, MISSING, Meta, MetaError, ReadableTable, TableDefinition, WriteTransaction,
    equal, occupancy, occupancy::PACKED_FOR, receipts::RECEIPTS, stripes,
};
use crate::manifest::{Manifest, ManifestId, StripeRecord};

/// Stripe, offset in it, manifest - bytes.
pub(super) const PACKED: TableDefinition<(Hash, u32, [u8; 16]), u32> = TableDefinition::new("packed");
/// Shared stripes that lost a member since they were looked at.
pub(super) const HOLED: TableDefinition<Hash, ()> = TableDefinition::new("holed");

/// Released stripes are not deleted at once when their members only move: who reads them has this long.
const READERS_MS: u64 = 120_000;

/// A shared stripe with holes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holed {
    /// The stripe.
    pub record: StripeRecord,
    /// Offset and length of what is still needed, in order; no two overlap.
    pub live: Vec<(u32, u32)>,
}

/// A range of a shared stripe that was written anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moved {
    /// The stripe it was in.
    pub from: StripeId,
    /// Where it began there.
    pub before: u32,
    /// Where it begins in the new stripe.
    pub after: u32,
}

fn shared(manifest: &Manifest) -> impl Iterator<Item = (StripeId, u32, u32)> {
    manifest.parts.iter().filter_map(|part| {
        let record = part.shared()?;
        Some((record.id(), part.offset, u32::try_from(part.cipher_len).ok()?))
    })
}

/// Whether any of its stripes may be shared.
pub(super) fn is_shared(manifest: &Manifest) -> bool {
    shared(manifest).next().is_some()
}

/// The manifest, of an object of the account, refers to its stripes from now on.
pub(super) fn enter(
    transaction: &WriteTransaction,
    account: &str,
    id: ManifestId,
    manifest: &Manifest,
) -> Result<(), MetaError> {
    for (stripe, offset, len) in shared(manifest) {
        transaction.open_table(PACKED)?.insert((stripe.0, offset, id), len)?;
    }
    if is_shared(manifest) {
        transaction.open_table(PACKED_FOR)?.insert(id, account)?;
    }
    Ok(())
}

/// The manifest does not refer to its stripes any more.
pub(super) fn leave(
    transaction: &WriteTransaction,
    id: ManifestId,
    manifest: &Manifest,
) -> Result<(), MetaError> {
    for (stripe, offset, _) in shared(manifest) {
        transaction.open_table(PACKED)?.remove((stripe.0, offset, id))?;
        transaction.open_table(HOLED)?.insert(stripe.0, ())?;
    }
    if is_shared(manifest) {
        transaction.open_table(PACKED_FOR)?.remove(id)?;
    }
    Ok(())
}

impl Meta {
    /// Shared stripes that lost a member, at most `limit`; `None` for one that is gone with its last member. One that cannot be
    /// read is passed over.
    pub async fn holed_stripes(&self, limit: usize) -> Result<Vec<(StripeId, Option<Holed>)>, MetaError> {
        let unreadable = self.unreadable.clone();
        self.read(move |transaction| {
            let (holed, packed) = (transaction.open_table(HOLED)?, transaction.open_table(PACKED)?);
            let mut found = Vec::new();
            for row in holed.iter()? {
                if found.len() == limit {
                    break;
                }
                let id = row?.0.value();
                let record = stripes::record(transaction, &StripeId(id));
                let Some(record) = unreadable.readable(record, StripeId(id))? else { continue };
                let Some(record) = record else {
                    found.push((StripeId(id), None));
                    continue;
                };
                let mut live: Vec<(u32, u32)> = Vec::new();
                for row in packed.range((id, 0, [0; 16])..=(id, u32::MAX, [u8::MAX; 16]))? {
                    let (key, len) = row?;
                    let (_, offset, _) = key.value();
                    // Copies of an object share its range.
                    if live.last().is_none_or(|(last, _)| *last != offset) {
                        live.push((offset, len.value()));
                    }
                }
                found.push((StripeId(id), Some(Holed { record, live })));
            }
            Ok(found)
        })
        .await
    }

    /// Whether any stripe has a shard at one of these addresses, or had one that is still to be deleted.
    pub async fn has_shards(&self, shards: HashSet<ShardHash>) -> Result<bool, MetaError> {
        self.index_all_receipts().await?;
        self.read(move |transaction| {
            let (missing, deletes) = (transaction.open_table(MISSING)?, transaction.open_table(DELETES)?);
            let receipts = transaction.open_table(RECEIPTS)?;
            for shard in shards {
                let places = || (shard.0, 0)..=(shard.0, u8::MAX);
                if receipts.range(places())?.next().is_some()
                    || missing.range(places())?.next().is_some()
                    || deletes.range(places())?.next().is_some()
                {
                    return Ok(true);
                }
            }
            Ok(false)
        })
        .await
    }

    /// Looks away from stripes until they lose another member.
    pub async fn accept_holes(&self, ids: Vec<StripeId>) -> Result<(), MetaError> {
        self.write(move |transaction| {
            let mut holed = transaction.open_table(HOLED)?;
            for id in &ids {
                holed.remove(id.0)?;
            }
            Ok(())
        })
        .await
    }

    /// Has manifests refer to the new stripe where their ranges were moved. How many parts of objects moved; where none did,
    /// the new stripe stays in flight. A manifest that does not decode stays where it is, and its stripe with it.
    pub async fn move_packed(
        &self,
        moved: Vec<Moved>,
        to: StripeRecord,
        now_ms: u64,
    ) -> Result<usize, MetaError> {
        let unreadable = self.unreadable.clone();
        self.write(move |transaction| {
            let (new, mut count) = (to.id(), 0);
            for Moved { from, before, after } in moved {
                let members = members_at(transaction, from, before)?;
                for (id, len) in members {
                    let found = unreadable.readable(manifest(transaction, id), hex::encode(id))?;
                    let Some(mut manifest) = found.flatten() else { continue };
                    let account = occupancy::packed_for(transaction, id)?;
                    let mut old = Vec::new();
                    for part in &mut manifest.parts {
                        if part.offset == before && part.shared().is_some_and(|record| record.id() == from) {
                            if let Some(account) = &account {
                                occupancy::unclaim(transaction, account, [&*part])?;
                            }
                            part.offset = after;
                            old.append(&mut part.stripes);
                            part.stripes = vec![to.clone()];
                            stripes::hold(transaction, [&to])?;
                            if let Some(account) = &account {
                                occupancy::claim(transaction, account, [&*part])?;
                            }
                        }
                    }
                    count += old.len();
                    if !is_shared(&manifest) {
                        transaction.open_table(PACKED_FOR)?.remove(id)?;
                    }
                    // Who is alone in the new stripe shares nothing any more, and leaves no row when it goes.
                    let shares = shared(&manifest).any(|(stripe, at, _)| (stripe, at) == (new, after));
                    let row = manifest.to_row();
                    transaction.open_table(MANIFESTS)?.insert(id, row.as_slice())?;
                    let mut packed = transaction.open_table(PACKED)?;
                    packed.remove((from.0, before, id))?;
                    if shares {
                        packed.insert((new.0, after, id), len)?;
                    }
                    drop(packed);
                    if !old.is_empty() {
                        equal::moved(transaction, (from, before), (new, after))?;
                    }
                    stripes::release(transaction, &old, now_ms.saturating_add(READERS_MS))?;
                }
                transaction.open_table(HOLED)?.remove(from.0)?;
            }
            Ok(count)
        })
        .await
    }
}

fn members_at(
    transaction: &WriteTransaction,
    stripe: StripeId,
    offset: u32,
) -> Result<Vec<(ManifestId, u32)>, MetaError> {
    let packed = transaction.open_table(PACKED)?;
    let mut members = Vec::new();
    for row in packed.range((stripe.0, offset, [0; 16])..=(stripe.0, offset, [u8::MAX; 16]))? {
        let (key, len) = row?;
        members.push((key.value().2, len.value()));
    }
    Ok(members)
}

fn manifest(transaction: &WriteTransaction, id: ManifestId) -> Result<Option<Manifest>, MetaError> {
    let manifests = transaction.open_table(MANIFESTS)?;
    let row = manifests.get(id)?;
    row.map(|row| Manifest::from_row(row.value()).map_err(|_| MetaError::Row("manifests"))).transpose()
}

#[cfg(test)]
mod tests {
    use arion_crypto::{WrappedKey, Wrapping};

    use super::{
        super::{Allowance, BucketInfo, DeleteRequest, NewObject, stripes::tests::record, tests::Engine},
        *,
    };
    use crate::{manifest::PartManifest, object::ObjectInfo};

    /// Rows of members that were moved to a stripe of their own stayed when the object was deleted.
    #[tokio::test]
    async fn members_that_went_leave_no_rows() {
        for engine in Engine::each() {
            let meta = engine.open();
            meta.create_bucket("b".into(), BucketInfo::new("a".into(), 1)).await.unwrap();
            let (from, mut to) = (record(1), record(2));
            to.len = 200;
            for stripe in [&from, &to] {
                meta.begin_stripe(stripe.id(), stripe.clone()).await.unwrap();
                meta.stripe_stored(stripe.id(), Vec::new(), 0).await.unwrap();
            }
            let (key_id, nonce, sealed) = ([0; 8], [2; 12], [3; 48]);
            let key = WrappedKey::V2 { wrapping: Wrapping::Customer, key_id, nonce, sealed };
            for (name, offset, cipher_len) in [("left", 0, 200), ("deleted", 300, 340)] {
                let stripes = vec![from.clone()];
                let part = PartManifest { plain_len: 1, cipher_len, offset, key: key.clone(), stripes };
                let manifest = *blake3::hash(name.as_bytes()).as_bytes().first_chunk().unwrap();
                let object = NewObject {
                    bucket: "b".into(),
                    key: name.into(),
                    info: ObjectInfo { manifest, size: 1, ..Default::default() },
                    manifest: Manifest::whole(part),
                    condition: Default::default(),
                    allowance: Allowance::NONE,
                    origin: Default::default(),
                };
                meta.put_object(object, 1).await.unwrap();
            }
            let delete = async |name: &str| {
                let request = DeleteRequest { bucket: "b".into(), key: name.into(), ..Default::default() };
                meta.delete(request, 2).await.unwrap();
            };
            let rows = async || {
                let rows = meta.read(|transaction| {
                    let packed = transaction.open_table(PACKED)?;
                    packed.iter()?.map(|row| Ok(StripeId(row?.0.value().0))).collect::<Result<Vec<_>, _>>()
                });
                rows.await.unwrap()
            };
            delete("deleted").await;
            assert_eq!(rows().await, [from.id()]);
            let moved = vec![Moved { from: from.id(), before: 0, after: 0 }];
            assert_eq!(meta.move_packed(moved, to.clone(), 3).await.unwrap(), 1);
            assert_eq!(rows().await, []);
            delete("left").await;
            assert_eq!(meta.stripe(to.id()).await.unwrap(), None);
        }
    }
}
