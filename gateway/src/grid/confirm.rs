//! What a snapshot says that miners hold is asked of them before the ledger of a recovered gateway says it: they may have deleted
//! since on the orders of the gateway that is lost.
//!
//! # Invariants
//! - A receipt becomes a line only after its miner said that it has the shard, with the length that the receipt has.
//! - A miner that is silent is asked again with back-off, however many receipts it has.
//!
//! # Not here
//! What becomes of the receipts ([`crate::meta::Meta::confirm`]).

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::{Duration, Instant},
};

use arion_daemon::now_ms;
use arion_protocol::limits::STAT_SHARDS_MAX;
use arion_types::{NodeId, SignedReceipt};
use futures_util::{StreamExt, stream};

use super::{Grid, upkeep::DELETE_ATTEMPTS_GONE};
use crate::meta::{MetaError, backoff_ms};

/// Receipts that are looked at at once: the more, the fewer questions to each miner.
const ROWS_MAX: usize = 16_384;
/// Receipts that one change of the metadata takes: clients wait for it.
const CHANGED_MAX: usize = 4_096;
/// Calls under way at once.
const CALLS_AT_ONCE: usize = 64;
/// Shortest pause between two looks at all that is left, and how many times as long as the look it is.
const PASS_PAUSE_MIN: Duration = Duration::from_secs(1);
const PASS_PAUSE_FACTOR: u32 = 8;

/// A miner that did not answer.
struct Silent {
    attempts: u32,
    ask_again: Instant,
}

/// The miners that did not answer when they were asked last.
#[derive(Default)]
struct Silence(HashMap<NodeId, Silent>);

impl Silence {
    fn attempts(&self, node: &NodeId) -> u32 {
        self.0.get(node).map_or(0, |silent| silent.attempts)
    }

    fn may_ask(&self, node: &NodeId) -> bool {
        self.0.get(node).is_none_or(|silent| silent.ask_again <= Instant::now())
    }

    fn answered(&mut self, node: &NodeId) {
        self.0.remove(node);
    }

    fn failed(&mut self, node: NodeId) {
        let attempts = self.attempts(&node);
        let ask_again = Instant::now() + Duration::from_millis(backoff_ms(attempts));
        self.0.insert(node, Silent { attempts: attempts + 1, ask_again });
    }
}

impl Grid {
    /// Asks until no receipt of a snapshot waits any more.
    pub(super) async fn confirm_receipts(&self) {
        let mut silence = Silence::default();
        loop {
            let looked = Instant::now();
            match self.confirm_pass(&mut silence).await {
                Ok(0) => return,
                Ok(left) => {
                    tracing::debug!(left, "receipts of the snapshot wait for miners that do not answer")
                }
                Err(error) => tracing::warn!(%error, "receipts of the snapshot are looked into later"),
            }
            tokio::time::sleep(PASS_PAUSE_MIN.max(looked.elapsed() * PASS_PAUSE_FACTOR)).await;
        }
    }

    /// One look at all that wait; how many wait after it.
    async fn confirm_pass(&self, silence: &mut Silence) -> Result<u64, MetaError> {
        let mut after = None;
        loop {
            let (receipts, next) = self.meta.unconfirmed(after, ROWS_MAX).await?;
            let mut answers = self.ask_for(receipts, silence).await;
            while !answers.is_empty() {
                let rest = answers.split_off(answers.len().min(CHANGED_MAX));
                self.meta.confirm(answers, now_ms()).await?;
                answers = rest;
            }
            if next.is_none() {
                return self.meta.unconfirmed_len().await;
            }
            after = next;
        }
    }

    /// What miners say of these receipts, as far as they say anything.
    async fn ask_for(
        &self,
        receipts: Vec<SignedReceipt>,
        silence: &mut Silence,
    ) -> Vec<(SignedReceipt, bool)> {
        let mut answers = Vec::with_capacity(receipts.len());
        let mut questions: BTreeMap<NodeId, Vec<SignedReceipt>> = BTreeMap::new();
        let current = self.maps.current();
        // Without a map nobody knows who has left.
        let has_left = |node: &NodeId| current.as_ref().is_some_and(|current| current.miner(node).is_none());
        for signed in receipts {
            let node = signed.receipt.node_id;
            if silence.attempts(&node) >= DELETE_ATTEMPTS_GONE && has_left(&node) {
                answers.push((signed, false));
            } else if silence.may_ask(&node) {
                questions.entry(node).or_default().push(signed);
            }
        }
        let pages = questions.into_iter().flat_map(|(node, receipts)| {
            let pages: Vec<_> = receipts.chunks(STAT_SHARDS_MAX).map(<[_]>::to_vec).collect();
            pages.into_iter().map(move |page| (node, page))
        });
        let pages: Vec<(NodeId, Vec<SignedReceipt>)> = pages.collect();
        let mut said = stream::iter(pages)
            .map(|(node, page)| async move { (node, self.has_each(&node, page).await) })
            .buffer_unordered(CALLS_AT_ONCE);
        let mut silent = HashSet::new();
        while let Some((node, said)) = said.next().await {
            match said {
                Some(said) => {
                    silence.answered(&node);
                    answers.extend(said);
                }
                None => drop(silent.insert(node)),
            }
        }
        for miner in silent {
            silence.failed(miner);
            if silence.attempts(&miner) == DELETE_ATTEMPTS_GONE && has_left(&miner) {
                tracing::warn!(%miner, "a miner that is in no map any more does not answer: its receipts are given up");
            }
        }
        answers
    }

    /// Whether a miner has the shards that it has signed for; `None` if it does not say.
    async fn has_each(&self, node: &NodeId, page: Vec<SignedReceipt>) -> Option<Vec<(SignedReceipt, bool)>> {
        let peer = self.maps.find(node)?;
        let stats = self.stats(&peer, page.iter().map(|signed| signed.receipt.shard).collect()).await?;
        let answers = page.into_iter().zip(stats).map(|(signed, stat)| {
            let is_there = stat.is_some_and(|stat| stat.placement.size == signed.receipt.size);
            (signed, is_there)
        });
        Some(answers.collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arion_net::MemoryNetwork;
    use arion_types::{CrushParams, MinerRecord, Receipt, ShardHash, StripeId, map::WEIGHT_ONE, signing};
    use ed25519_dalek::SigningKey;

    use super::{super::GridOptions, *};
    use crate::{
        meta::Meta,
        metrics::Metrics,
        placement::{Maps, Placement},
    };

    fn receipt(miner: u8) -> SignedReceipt {
        let (shard, stripe, node_id) = (ShardHash([miner; 32]), StripeId([miner; 32]), NodeId([miner; 32]));
        let receipt = Receipt { shard, size: 1, stripe, pg: 0, index: 0, epoch: 1, node_id, stored_at: 1 };
        SignedReceipt { receipt, signature: [0; 64] }
    }

    /// Nobody answers: neither a miner of the map, nor one that has left.
    #[tokio::test]
    async fn who_has_left_the_map_and_stays_silent_is_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let meta = Meta::open(&directory.path().join("m.redb")).unwrap();
        let records = (0..30u8).map(|number| MinerRecord {
            uid: number.into(),
            node_id: [number; 32],
            family: [number / 2; 32],
            weight: WEIGHT_ONE,
            endpoint: format!("127.0.0.1:{number}").into_bytes().try_into().unwrap(),
        });
        let maps = Maps::default();
        maps.set_current(Placement::new(1, &CrushParams::STANDARD, records.collect()).unwrap());
        let key = SigningKey::from_bytes(&[200; 32]);
        let transport = Arc::new(MemoryNetwork::new().transport(signing::node_id(&key)));
        let (options, metrics) = (GridOptions::default(), Metrics::default());
        let grid = Grid::new(key, [7; 32], transport, maps, meta, options, metrics);
        let (there, left) = (receipt(3), receipt(99));
        let node = left.receipt.node_id;
        let mut silence = Silence::default();
        for attempts in 1..=DELETE_ATTEMPTS_GONE {
            assert_eq!(grid.ask_for(vec![there, left], &mut silence).await, []);
            // A second look in the same moment asks nobody.
            let again = grid.ask_for(vec![there, left], &mut silence).await;
            assert_eq!(again.is_empty(), attempts < DELETE_ATTEMPTS_GONE);
            assert_eq!((silence.attempts(&node), silence.may_ask(&node)), (attempts, false));
            silence.0.values_mut().for_each(|silent| silent.ask_again = Instant::now());
        }
        assert_eq!(grid.ask_for(vec![there, left], &mut silence).await, [(left, false)]);
        assert_eq!(silence.attempts(&there.receipt.node_id), DELETE_ATTEMPTS_GONE + 1);
    }
}
