//! Reads the chain block by block, as a stranger could, and keeps the sheet and the books by what stands there.
//!
//! Of weights: the validators' reports and the wardens' attestations from the transactions that brought them, registrations, maps.
//! Of money: prices, purchases and usage from events. What the chain made of all that is only compared.
//!
//! # Invariants
//! - Every block from the first on is read once, in order, while nodes still have its state.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use arion_chain::{AccountId, BlockEvent, BlockRef, ChainClient, ChildRegistration, ChildStatus, Event};
use arion_types::{AttestationRecord, AttestationResult, NodeQuality, Signature};
use codec::Decode;

use super::sheet::{Bucket, Miner, Quality, Rules, Said, Seen, Sheet};
use crate::story::books::{self, Books, Deed, Parameters, Settlement};

const ARION: &str = "Arion";
const MARKETPLACE: &str = "Marketplace";
/// Index of the pallet, and of its calls.
const PALLET: u8 = 41;
const SUBMIT_ATTESTATIONS: u8 = 4;
const REPORT_NODE_QUALITY: u8 = 14;

/// Arguments of `report_node_quality`: bucket, updates, reporter, signature.
type Report = (u32, Vec<(AccountId, NodeQuality)>, [u8; 32], Signature);
/// Arguments of `submit_attestations`: bucket, records.
type Batch = (u32, Vec<AttestationRecord>);

/// A bucket that was closed: what the chain has otherwise than the sheet.
#[derive(Debug)]
pub(super) struct Closed {
    pub(super) bucket: u32,
    pub(super) qualities: BTreeMap<AccountId, Quality>,
    pub(super) families: BTreeMap<AccountId, u128>,
    pub(super) wrong: Vec<String>,
}

/// A settlement: what the books expect, and what the chain did otherwise.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) expected: Settlement,
    pub(super) wrong: Vec<String>,
}

/// See the module.
pub(super) struct Record {
    pub(super) sheet: Sheet,
    pub(super) books: Books,
    pub(super) closed: Vec<Closed>,
    pub(super) settled: Vec<Settled>,
    parameters: Parameters,
    credit_price: u128,
    bucket_blocks: u32,
    per_block: u32,
    at: u32,
    next_settlement: u32,
    /// What came since the last bucket: reports and attestations, each with its block.
    reports: Vec<(u32, Vec<(AccountId, NodeQuality)>)>,
    verdicts: Vec<(u32, AttestationRecord)>,
    /// Node ids by number, of each map.
    maps: BTreeMap<u64, BTreeMap<u32, [u8; 32]>>,
}

impl Record {
    /// Nothing is read yet.
    pub(super) fn new(chain: &ChainClient) -> anyhow::Result<Self> {
        let parameters = Parameters::read(chain)?;
        Ok(Self {
            sheet: Sheet::new(rules(chain)?),
            books: Books::new(parameters),
            closed: Vec::new(),
            settled: Vec::new(),
            parameters,
            credit_price: chain.constant(MARKETPLACE, "InitialCreditPrice")?,
            bucket_blocks: chain.weight_bucket_blocks()?,
            per_block: chain.constant(ARION, "MaxChildrenWeighedPerBlock")?,
            at: 0,
            next_settlement: parameters.period,
            reports: Vec::new(),
            verdicts: Vec::new(),
            maps: BTreeMap::new(),
        })
    }

    /// The last block that was read.
    pub(super) fn at(&self) -> u32 {
        self.at
    }

    /// Reads on to the newest final block.
    pub(super) async fn read_on(&mut self, chain: &ChainClient) -> anyhow::Result<()> {
        let head = chain.finalized().await?.number;
        let mut before = BlockRef { number: self.at, hash: hash(chain, self.at).await? };
        while self.at < head {
            let number = self.at + 1;
            let block = BlockRef { number, hash: hash(chain, number).await? };
            let events = chain.events(block.hash).await?;
            self.enter(chain, &before, &block, &events).await.with_context(|| format!("block {number}"))?;
            self.at = number;
            before = block;
        }
        Ok(())
    }

    async fn enter(
        &mut self,
        chain: &ChainClient,
        before: &BlockRef,
        block: &BlockRef,
        events: &[BlockEvent],
    ) -> anyhow::Result<()> {
        self.books.open_block()?;
        if block.number.is_multiple_of(self.bucket_blocks) {
            self.close(chain, before, block).await?;
        }
        if block.number == self.next_settlement {
            self.next_settlement += self.parameters.period;
            self.settle(block, events)?;
        }
        for found in events {
            if found.event.is(MARKETPLACE, "CreditPriceSet") {
                self.credit_price = found.event.number("price").context("a price is missing")?;
            }
            if let Some(deed) = self.deed(&found.event)? {
                self.books.enter(&deed)?;
            }
        }
        self.transactions(chain, block, events).await?;
        // The first block of a session has no time left to look at what accounts owe.
        if !events.iter().any(|found| found.event.is("Session", "NewSession")) {
            self.books.close_block()?;
        }
        Ok(())
    }

    /// Reports and attestations of a block.
    async fn transactions(
        &mut self,
        chain: &ChainClient,
        block: &BlockRef,
        events: &[BlockEvent],
    ) -> anyhow::Result<()> {
        let is_of_interest = |event: &Event| {
            event.is(ARION, "NodeQualityReported") || event.is(ARION, "AttestationsSubmitted")
        };
        if !events.iter().any(|found| is_of_interest(&found.event)) {
            return Ok(());
        }
        let extrinsics = chain.extrinsics(block.number).await?;
        for found in events.iter().filter(|found| is_of_interest(&found.event)) {
            let place = found.extrinsic.context("a report is no transaction")?;
            let extrinsic = extrinsics.get(place as usize).context("a transaction is missing")?;
            if found.event.is(ARION, "NodeQualityReported") {
                let (bucket, updates, ..) = arguments::<Report>(extrinsic, REPORT_NODE_QUALITY)
                    .context("a report is of a kind that this story does not know")?;
                ensure!(bucket == block.number / self.bucket_blocks, "a report for another bucket");
                self.reports.push((block.number, updates));
            } else {
                let (_, records) = arguments::<Batch>(extrinsic, SUBMIT_ATTESTATIONS)
                    .context("attestations came in a way that this story does not know")?;
                let count = found.event.number("count");
                ensure!(count == Some(records.len() as u128), "not all attestations were taken");
                self.verdicts.extend(records.into_iter().map(|record| (block.number, record)));
            }
        }
        Ok(())
    }

    /// Closes the bucket that ended with the block `before`, and compares.
    async fn close(
        &mut self,
        chain: &ChainClient,
        before: &BlockRef,
        block: &BlockRef,
    ) -> anyhow::Result<()> {
        let bucket = self.bucket(chain, before).await?;
        self.sheet.close(&bucket)?;
        let state = chain.state(block.hash);
        let mut wrong = Vec::new();
        for (item, expected) in
            [("NodeWeightByChild", &self.sheet.nodes), ("FamilyWeight", &self.sheet.families)]
        {
            let found: Vec<(AccountId, u16)> = state.entries(ARION, item).await?;
            let found: BTreeMap<AccountId, u16> = found.into_iter().collect();
            // A weight of 0 is not stored.
            for account in expected.keys().chain(found.keys().filter(|key| !expected.contains_key(*key))) {
                let expected = expected.get(account).copied().unwrap_or(0);
                let found = u128::from(found.get(account).copied().unwrap_or(0));
                if found != expected {
                    wrong.push(format!("{item} of {}: {found}, not {expected}", arion_chain::ss58(account)));
                }
            }
        }
        let (qualities, families) = (self.sheet.qualities.clone(), self.sheet.families.clone());
        self.closed.push(Closed { bucket: bucket.number, qualities, families, wrong });
        Ok(())
    }

    /// All that reached the chain in the bucket of which `last` is the last block.
    async fn bucket(&mut self, chain: &ChainClient, last: &BlockRef) -> anyhow::Result<Bucket> {
        let state = chain.state(last.hash);
        let number = last.number / self.bucket_blocks;
        let validators: Vec<AccountId> = state.value("Session", "Validators").await?.unwrap_or_default();
        let wardens: Option<u32> = state.value(ARION, "CounterForRegisteredWardens").await?;
        let away: Vec<(AccountId, arion_chain::Maintenance)> = state.entries(ARION, "Maintenances").await?;
        ensure!(away.is_empty(), "nobody is away as announced in this story");
        let mut children: Vec<(AccountId, ChildRegistration)> =
            state.entries(ARION, "ChildRegistrations").await?;
        children.retain(|(_, child)| child.status == ChildStatus::Active);
        ensure!(children.len() <= self.per_block as usize, "weights of so many take more than a block");
        let starts = chain.epoch_starts(last).await?;
        for (epoch, _) in &starts {
            if !self.maps.contains_key(epoch) {
                let map = chain.map_at(*epoch).await?.context("a map is gone")?;
                let nodes = map.miners.iter().map(|miner| (miner.uid, miner.node_id)).collect();
                self.maps.insert(*epoch, nodes);
            }
        }

        let mut miners: BTreeMap<AccountId, Miner> = BTreeMap::new();
        for (account, child) in &children {
            let since = child.registered_at / self.bucket_blocks;
            let (said, seen) = (Vec::new(), BTreeMap::new());
            miners.insert(*account, Miner { child: *account, family: child.family, since, said, seen });
        }
        let registered: BTreeMap<AccountId, u32> =
            children.iter().map(|(account, child)| (*account, child.registered_at)).collect();
        let was_there =
            |child: &AccountId, block: u32| registered.get(child).is_some_and(|since| *since < block);
        for (block, updates) in std::mem::take(&mut self.reports) {
            for (child, quality) in updates.into_iter().filter(|(child, _)| was_there(child, block)) {
                let NodeQuality { shard_data_bytes: stored, bandwidth_bytes: served, .. } = quality;
                // Validators of local networks have the same stake.
                let said = Said { votes: 1, stored, served, uptime: quality.uptime_permille.into() };
                miners.entry(child).and_modify(|miner| miner.said.push(said));
            }
        }
        let by_node: BTreeMap<[u8; 32], AccountId> =
            children.iter().map(|(account, child)| (child.node_id, *account)).collect();
        for (block, record) in std::mem::take(&mut self.verdicts) {
            let of = u32::try_from(record.block_number)?;
            if of / self.bucket_blocks + 1 < number {
                continue;
            }
            let epoch = starts.iter().rev().find(|(_, start)| *start <= of).or(starts.first());
            let map = epoch.and_then(|(epoch, _)| self.maps.get(epoch));
            let child = map.and_then(|map| map.get(&record.miner_uid)).and_then(|node| by_node.get(node));
            let Some(child) = child.filter(|child| was_there(child, block)) else { continue };
            miners.entry(*child).and_modify(|miner| {
                let seen: &mut Seen = miner.seen.entry(record.warden_pubkey).or_default();
                match record.result {
                    AttestationResult::Passed => {}
                    AttestationResult::Timeout => seen.timeouts += 1,
                    AttestationResult::Failed | AttestationResult::InvalidProof => seen.fails += 1,
                }
            });
        }
        Ok(Bucket {
            number,
            votes: validators.len() as u128,
            wardens: wardens.unwrap_or(0) as usize,
            miners: miners.into_values().collect(),
        })
    }

    /// Settles the period, and compares with what the block says of it.
    fn settle(&mut self, block: &BlockRef, events: &[BlockEvent]) -> anyhow::Result<()> {
        let families = self.sheet.families.iter().filter(|(_, weight)| **weight > 0);
        let weights: Vec<(AccountId, u16)> = families
            .map(|(family, weight)| Ok((*family, u16::try_from(*weight)?)))
            .collect::<anyhow::Result<_>>()?;
        let expected = self.books.settle(block.number, &weights)?;
        let mut wrong = expected.wrong_amounts(events);
        let paid = books::rewards(events);
        if paid != expected.families {
            wrong.push(format!("families got {paid:?}, not {:?}", expected.families));
        }
        self.settled.push(Settled { expected, wrong });
        Ok(())
    }

    /// What an event means for the books.
    fn deed(&self, event: &Event) -> anyhow::Result<Option<Deed>> {
        let number = |name: &str| event.number(name).with_context(|| format!("an event has no {name}"));
        let account = |name: &str| -> anyhow::Result<AccountId> {
            let bytes = event.bytes(name).with_context(|| format!("an event has no {name}"))?;
            bytes.try_into().ok().context("an account has another length")
        };
        Ok(Some(match event {
            event if event.is(MARKETPLACE, "StoragePriceSet") => Deed::StoragePrice(number("price")?),
            event if event.is(MARKETPLACE, "CreditsBought") => {
                let (account, units) = (account("beneficiary")?, number("credits")?);
                let alpha = books::cost(units, self.credit_price)?;
                Deed::Credits { account, units, alpha, granted: false }
            }
            event if event.is(MARKETPLACE, "UsageChanged") => {
                Deed::Stores { account: account("account")?, bytes: u64::try_from(number("bytes")?)? }
            }
            event if event.is(MARKETPLACE, "RewardClaimed") => Deed::Claimed { account: account("account")? },
            _ => return Ok(None),
        }))
    }
}

/// The constants in the metadata.
fn rules(chain: &ChainClient) -> anyhow::Result<Rules> {
    let word = |name| -> anyhow::Result<u32> { Ok(chain.constant(ARION, name)?) };
    let half = |name| -> anyhow::Result<u128> { Ok(chain.constant::<u16>(ARION, name)?.into()) };
    Ok(Rules {
        bandwidth_permille: word("NodeBandwidthWeightPermille")?.into(),
        storage_permille: word("NodeStorageWeightPermille")?.into(),
        scale: word("NodeScoreScale")?.into(),
        unit_bytes: chain.constant::<u64>(ARION, "NodeScoreUnitBytes")?.into(),
        strike_penalty: word("StrikePenalty")?.into(),
        fail_penalty: word("IntegrityFailPenalty")?.into(),
        node_max: half("MaxNodeWeight")?,
        top: word("FamilyTopN")? as usize,
        decay_permille: word("FamilyRankDecayPermille")?.into(),
        family_max: half("MaxFamilyWeight")?,
        alpha_permille: word("FamilyWeightEmaAlphaPermille")?.into(),
        delta_max: half("MaxFamilyWeightDeltaPerBucket")?,
        grace_buckets: word("NewcomerGraceBuckets")?,
        floor: half("NewcomerFloorWeight")?,
    })
}

async fn hash(chain: &ChainClient, number: u32) -> anyhow::Result<[u8; 32]> {
    chain.block_hash(number).await?.with_context(|| format!("block {number} has no hash"))
}

/// The arguments of a call of the pallet, which ends a transaction.
fn arguments<T: Decode>(extrinsic: &[u8], call: u8) -> Option<T> {
    let mut places = extrinsic.windows(2).enumerate().filter(|(_, pair)| *pair == [PALLET, call]);
    places.find_map(|(at, _)| {
        let mut rest = extrinsic.get(at + 2..)?;
        T::decode(&mut rest).ok().filter(|_| rest.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use codec::Encode;

    #[test]
    fn arguments_are_found_at_the_end_of_a_transaction() {
        let report: Report = (7, vec![([41; 32], NodeQuality::default())], [14; 32], [9; 64]);
        // What stands before the call may look like it.
        let bytes =
            [&[0x45, PALLET, REPORT_NODE_QUALITY, 1][..], &[PALLET, REPORT_NODE_QUALITY], &report.encode()]
                .concat();
        assert_eq!(arguments::<Report>(&bytes, REPORT_NODE_QUALITY), Some(report));
        assert_eq!(arguments::<Report>(&bytes, SUBMIT_ATTESTATIONS), None);
        assert_eq!(arguments::<Report>(&bytes[..bytes.len() - 1], REPORT_NODE_QUALITY), None);
    }
}
