//! A gateway's ledger, which takes what repair brings as the real one does.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use arion_chain::ChainView;
use arion_ledger::ReceiptChecker;
use arion_net::Service;
use arion_protocol::{ErrorCode, LedgerEntry, LedgerRecord, Request, Response};
use arion_types::{NodeId, ShardHash, SignedReceipt, StripeId, signing::node_id};
use async_trait::async_trait;
use bytes::Bytes;

use super::validator_key;

/// A gateway's ledger, and what it takes of repair.
pub(in crate::repair::loopback_tests) struct Gateway {
    pub(super) lines: Mutex<Vec<LedgerRecord>>,
    moved: Mutex<usize>,
    unwanted: Mutex<BTreeSet<StripeId>>,
    is_forging: AtomicBool,
    refuses: Mutex<Option<ErrorCode>>,
    checker: tokio::sync::Mutex<ReceiptChecker>,
}

impl Gateway {
    /// With an empty ledger.
    pub(super) fn new(view: ChainView) -> Self {
        Self {
            lines: Mutex::default(),
            moved: Mutex::default(),
            unwanted: Mutex::default(),
            is_forging: AtomicBool::new(false),
            refuses: Mutex::default(),
            checker: tokio::sync::Mutex::new(ReceiptChecker::new(view)),
        }
    }

    pub(in crate::repair::loopback_tests) fn len(&self) -> usize {
        self.lines.lock().unwrap().len()
    }

    /// Gives away its first lines.
    pub(in crate::repair::loopback_tests) fn take_lines(&self, count: usize) -> Vec<LedgerRecord> {
        self.lines.lock().unwrap().drain(..count).collect()
    }

    /// Has these lines; those that it had.
    pub(in crate::repair::loopback_tests) fn set_lines(&self, lines: Vec<LedgerRecord>) -> Vec<LedgerRecord> {
        std::mem::replace(&mut *self.lines.lock().unwrap(), lines)
    }

    /// Receipts that repair brought.
    pub(in crate::repair::loopback_tests) fn moved(&self) -> usize {
        *self.moved.lock().unwrap()
    }

    /// Whether every third receipt that it gives is of another shard.
    pub(in crate::repair::loopback_tests) fn forge(&self, is_forging: bool) {
        self.is_forging.store(is_forging, SeqCst);
    }

    /// Takes no receipts.
    pub(in crate::repair::loopback_tests) fn refuse(&self, code: Option<ErrorCode>) {
        *self.refuses.lock().unwrap() = code;
    }

    fn given(&self, sequence: u64, record: &LedgerRecord) -> LedgerEntry {
        let mut entry = LedgerEntry { sequence, record: *record };
        if let (true, LedgerRecord::Stored(signed)) =
            (self.is_forging.load(SeqCst) && sequence.is_multiple_of(3), &mut entry.record)
        {
            signed.receipt.shard.0[0] ^= 1;
        }
        entry
    }

    /// Loses the lines behind this one.
    pub(in crate::repair::loopback_tests) fn forget_behind(&self, line: usize) {
        self.lines.lock().unwrap().truncate(line);
    }

    /// Deletes shards.
    pub(in crate::repair::loopback_tests) fn delete(&self, shards: &[ShardHash]) {
        let lines = shards.iter().map(|shard| LedgerRecord::Deleted { shard: *shard });
        self.lines.lock().unwrap().extend(lines);
    }

    pub(in crate::repair::loopback_tests) fn unwant(&self, stripe: StripeId) {
        self.unwanted.lock().unwrap().insert(stripe);
    }

    /// Releases a miner from every shard that another one has signed for, as the real one does when all is in place. How many.
    pub(in crate::repair::loopback_tests) fn release(&self, node: &NodeId) -> usize {
        let receipts = self.receipts();
        let has_other = |signed: &&SignedReceipt| {
            let shard = signed.receipt.shard;
            receipts.iter().any(|other| other.receipt.shard == shard && other.receipt.node_id != *node)
        };
        let own = receipts.iter().filter(|signed| signed.receipt.node_id == *node).filter(has_other);
        let lines: Vec<_> =
            own.map(|signed| LedgerRecord::Released { shard: signed.receipt.shard, miner: *node }).collect();
        let count = lines.len();
        self.lines.lock().unwrap().extend(lines);
        count
    }

    fn receipts(&self) -> Vec<SignedReceipt> {
        let lines = self.lines.lock().unwrap();
        let stored = |line: &LedgerRecord| match line {
            LedgerRecord::Stored(signed) => Some(*signed),
            _ => None,
        };
        lines.iter().filter_map(stored).collect()
    }

    /// Lines of a miner that has signed for the shard already.
    pub(in crate::repair::loopback_tests) fn doubled(&self) -> usize {
        let receipts = self.receipts();
        let distinct: BTreeSet<_> =
            receipts.iter().map(|signed| (signed.receipt.shard, signed.receipt.node_id)).collect();
        receipts.len() - distinct.len()
    }

    pub(super) fn has_signed(&self, shard: &ShardHash, node: &NodeId) -> bool {
        let is_it =
            |signed: &SignedReceipt| (&signed.receipt.shard, &signed.receipt.node_id) == (shard, node);
        self.receipts().iter().any(is_it)
    }
}

#[async_trait]
impl Service for Gateway {
    async fn serve(&self, peer: NodeId, request: Request, _: Bytes) -> (Response, Bytes) {
        let response = match request {
            Request::LedgerFrom { after, limit, .. } => {
                let lines = self.lines.lock().unwrap();
                let page = lines.iter().zip(1..).skip(after as usize).take(usize::from(limit));
                Response::LedgerLines(page.map(|(record, sequence)| self.given(sequence, record)).collect())
            }
            Request::Relocated { receipts } => {
                let refuses = *self.refuses.lock().unwrap();
                if let Some(code) = refuses {
                    return (Response::error(code, ""), Bytes::new());
                }
                assert!((0..2).any(|number| peer == node_id(&validator_key(number))));
                for signed in &receipts {
                    self.checker.lock().await.check(signed).unwrap();
                }
                let wanted = !self.unwanted.lock().unwrap().contains(&receipts[0].receipt.stripe);
                if wanted {
                    *self.moved.lock().unwrap() += receipts.len();
                    // As the real one does, it enters a receipt once.
                    for signed in receipts {
                        if !self.has_signed(&signed.receipt.shard, &signed.receipt.node_id) {
                            self.lines.lock().unwrap().push(LedgerRecord::Stored(signed));
                        }
                    }
                }
                Response::Relocated { wanted }
            }
            _ => Response::error(ErrorCode::Unsupported, ""),
        };
        (response, Bytes::new())
    }
}
