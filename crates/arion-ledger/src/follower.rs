//! Follows the ledger of one gateway.
//!
//! # Invariants
//! - Lines are taken over in order and without gaps, but for those of a base that the gateway has ([`LedgerBase`]), which are read again
//!   as a whole once what is known ends before it (`anew`).
//! - What is read again is looked at before anything of it is taken over: it is what the line says that the base refers to.
//!   Meanwhile what was known stays known; what is not there any more goes in the step that makes it whole.

mod anew;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arion_net::{CallError, PeerAddr, Transport};
use arion_protocol::{
    ErrorCode, LedgerBase, LedgerEntry, LedgerRecord, Request, Response, Served, limits::LEDGER_ENTRIES_MAX,
};
use arion_types::{NodeId, Receipt, ShardHash};
use async_trait::async_trait;
use bytes::Bytes;
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use tokio::time::Instant;

use crate::{
    compact::BaseFault,
    receipt::{ReceiptChecker, ReceiptFault},
};
use anew::Anew;

const PAGE_DEADLINE: Duration = Duration::from_secs(20);

/// What a line of a ledger changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// A miner has signed for a shard; the receipt counts.
    Stored(Receipt),
    /// A line speaks of a shard, with a receipt that does not count: nobody is to be accused of it or praised for it, and it is
    /// not nobody's.
    Named {
        /// The shard.
        shard: ShardHash,
        /// The miner that the receipt names.
        miner: NodeId,
    },
    /// A shard is no longer wanted, whoever has it.
    Deleted {
        /// The shard.
        shard: ShardHash,
    },
    /// A miner need not keep a shard any more, which others have.
    Released {
        /// The shard.
        shard: ShardHash,
        /// The miner.
        miner: NodeId,
    },
    /// What a miner served, by the gateway's word; whether and how much of it counts is for who takes it over
    /// ([`Statements`](crate::Statements)).
    Served(Served),
}

/// Why a book cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct BookError(Box<dyn std::error::Error + Send + Sync>);

impl BookError {
    /// For this reason.
    pub fn new(reason: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(Box::new(reason))
    }
}

/// Where what is in ledgers is kept.
#[async_trait]
pub trait Book: Send + Sync {
    /// Last sequence number taken over from a gateway; 0 for none.
    async fn cursor(&self, gateway: &NodeId) -> Result<u64, BookError>;

    /// Takes over what lines of a gateway change, in their order, and `reached` as its cursor: both or none. A line
    /// may come again after a crash.
    async fn apply(&self, gateway: &NodeId, changes: Vec<Change>, reached: u64) -> Result<(), BookError>;

    /// What was kept of a ledger is about to be read anew. Forgets which lines came by [`Book::apply_anew`] before, and nothing of
    /// what they brought.
    async fn begin_anew(&self, gateway: &NodeId) -> Result<(), BookError>;

    /// Takes over what some of the lines bring that were kept, all or nothing, and remembers of which shards and miners they speak
    /// ([`Change::Stored`], [`Change::Named`]). The cursor stays.
    async fn apply_anew(&self, gateway: &NodeId, changes: Vec<Change>) -> Result<(), BookError>;

    /// All lines up to `reached` came that were kept: what is known from the gateway and none of them speaks of was deleted or released
    /// meanwhile and goes, and the cursor is set: both or none.
    async fn end_anew(&self, gateway: &NodeId, reached: u64) -> Result<(), BookError>;
}

/// Why a ledger is not up to date.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The gateway gave no page.
    #[error("the gateway gives no page of its ledger: {0}")]
    Call(#[from] CallError),
    /// It answered something else.
    #[error("the gateway answered a question for its ledger with something else")]
    Answer,
    /// A line is missing or doubled.
    #[error("the ledger has a gap: {found} follows {after}; the gateway has lost or rewritten it")]
    Gap {
        /// Sequence number before.
        after: u64,
        /// Sequence number found.
        found: u64,
    },
    /// The last line that was taken over is not there any more.
    #[error("the ledger ends before line {0}, which was read before; the gateway has lost or rewritten it")]
    Shortened(u64),
    /// What the gateway says that it kept is not what it gives.
    #[error("the ledger was compacted, and nothing of it is taken over: {0}")]
    Base(#[from] BaseFault),
    /// A receipt of an epoch that is not final here yet; a later look succeeds.
    #[error("the ledger is ahead of the finalised chain")]
    EpochAhead,
    /// The book failed.
    #[error(transparent)]
    Book(#[from] BookError),
}

/// How much of a ledger has been taken over since the follower was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Reach {
    /// It was not looked at yet.
    #[default]
    Unknown,
    /// There is more than was taken over.
    Partial,
    /// It was read to its end once.
    Complete,
    /// The gateway has given no page yet.
    Silent,
}

/// Counters; clones share them.
#[derive(Clone, Debug, Default)]
pub struct LedgerMetrics {
    /// Receipts that do not count.
    pub receipts_refused: Counter,
    /// Looks at a ledger that failed.
    pub failures: Counter,
    /// Ledgers that were read anew, because lines had been dropped that were not read.
    pub read_anew: Counter,
    /// Ledgers that were not what they said that they kept.
    pub bases_refused: Counter,
}

impl LedgerMetrics {
    /// Adds them to those of a daemon.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "receipts_refused",
            "Receipts in ledgers that do not count",
            self.receipts_refused.clone(),
        );
        registry.register("ledger_failures", "Looks at a ledger that failed", self.failures.clone());
        registry.register("ledgers_read_anew", "Compacted ledgers read anew", self.read_anew.clone());
        registry.register(
            "ledger_bases_refused",
            "Compacted ledgers that are not what they say that they kept",
            self.bases_refused.clone(),
        );
    }
}

/// Asks a gateway for the lines behind `after`, of every kind; `None` if it answers something else. One that does not know the
/// question is of an earlier version, has no lines of later ones, and is asked as that version was.
pub async fn page(
    transport: &dyn Transport,
    gateway: &PeerAddr,
    after: u64,
    limit: u16,
) -> Result<Option<Vec<LedgerEntry>>, CallError> {
    let questions = [
        Request::LedgerFrom { after, limit, version: LedgerRecord::VERSION },
        Request::LedgerSince { after, limit },
        Request::LedgerPage { after, limit },
    ];
    let mut refused = None;
    for request in questions {
        match transport.call(gateway, request, Bytes::new(), PAGE_DEADLINE).await {
            Err(error @ CallError::Refused { code: ErrorCode::Unsupported, .. }) => refused = Some(error),
            Ok((Response::LedgerLines(entries) | Response::Ledger(entries), _)) => return Ok(Some(entries)),
            Ok(_) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    refused.map_or(Ok(None), Err)
}

/// Asks a gateway from where on its ledger has all lines; `Ok(None)` where it has them from the first, as those of earlier versions do.
pub async fn base(transport: &dyn Transport, gateway: &PeerAddr) -> Result<Option<LedgerBase>, CallError> {
    match transport.call(gateway, Request::LedgerBase, Bytes::new(), PAGE_DEADLINE).await {
        Ok((Response::LedgerBase(base), _)) => Ok((base.until > 0).then_some(base)),
        Ok(_) | Err(CallError::Refused { code: ErrorCode::Unsupported, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Follows one gateway.
pub struct Follower {
    gateway: PeerAddr,
    transport: Arc<dyn Transport>,
    book: Arc<dyn Book>,
    checker: Arc<tokio::sync::Mutex<ReceiptChecker>>,
    metrics: LedgerMetrics,
    /// Held while the ledger is read, so that two reads do not cross; how far reading anew came.
    reading: tokio::sync::Mutex<Option<Anew>>,
    reach: Mutex<Reach>,
    /// When the newest look at the ledger began that read it to its end.
    read_at: Mutex<Option<Instant>>,
}

impl Follower {
    /// Of `gateway`; the checker and the book are shared with the followers of others.
    pub fn new(
        gateway: PeerAddr,
        transport: Arc<dyn Transport>,
        book: Arc<dyn Book>,
        checker: Arc<tokio::sync::Mutex<ReceiptChecker>>,
        metrics: LedgerMetrics,
    ) -> Self {
        Self {
            gateway,
            transport,
            book,
            checker,
            metrics,
            reading: tokio::sync::Mutex::default(),
            reach: Mutex::default(),
            read_at: Mutex::default(),
        }
    }

    /// The gateway.
    pub fn gateway(&self) -> NodeId {
        self.gateway.node_id
    }

    /// Where it is called.
    pub fn address(&self) -> &PeerAddr {
        &self.gateway
    }

    /// How much of it is known.
    pub fn reach(&self) -> Reach {
        *self.reach.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long ago the newest look at the ledger began that read it to its end; `None` before the first. What its gateway wrote
    /// before that is known.
    pub fn age(&self) -> Option<Duration> {
        self.read_at.lock().unwrap_or_else(PoisonError::into_inner).map(|at| at.elapsed())
    }

    /// Lines are missing of which nobody knows what they said: nothing is known to its end before they are made up for.
    fn is_behind(&self) {
        *self.reach.lock().unwrap_or_else(PoisonError::into_inner) = Reach::Partial;
        *self.read_at.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What was complete stays so: what comes later is a matter of moments.
    fn reached(&self, reach: Reach) {
        let mut known = self.reach.lock().unwrap_or_else(PoisonError::into_inner);
        match (*known, reach) {
            (Reach::Complete, _) | (Reach::Partial, Reach::Silent) => {}
            _ => *known = reach,
        }
    }

    /// Takes over everything the gateway has; an error where that was not all.
    pub async fn sync(&self) -> Result<(), FollowError> {
        let mut anew = self.reading.lock().await;
        let began = Instant::now();
        let outcome = self.read_on(&mut anew).await;
        if outcome.is_ok() {
            *self.read_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(began);
        }
        self.reached(if outcome.is_ok() { Reach::Complete } else { Reach::Silent });
        outcome
    }

    async fn read_on(&self, anew: &mut Option<Anew>) -> Result<(), FollowError> {
        let mut cursor = self.book.cursor(&self.gateway.node_id).await?;
        let mut gap = None;
        if anew.is_none() {
            match self.read_behind(cursor, true).await {
                Err(found @ FollowError::Gap { .. }) => gap = Some(found),
                outcome => return outcome,
            }
            cursor = self.book.cursor(&self.gateway.node_id).await?;
        }
        // Lines are missing: they were dropped, or the ledger is not what it was.
        match (base(&*self.transport, &self.gateway).await?, gap) {
            (Some(base), _) if base.until >= cursor => self.read_base(base, cursor, anew).await,
            (_, Some(gap)) => Err(gap),
            _ => {
                *anew = None;
                self.read_behind(cursor, true).await
            }
        }
    }

    /// Reads what was kept if that is not known, and what is behind it.
    async fn read_base(
        &self,
        base: LedgerBase,
        cursor: u64,
        anew: &mut Option<Anew>,
    ) -> Result<(), FollowError> {
        let until = base.until;
        if cursor < until {
            self.read_anew(base, anew).await?;
        }
        *anew = None;
        // The line at the cursor may be gone, and what is behind it cannot be missing.
        self.read_behind(cursor.max(until), cursor > until).await
    }

    /// Reads on behind `cursor`, and whether the line there is there still, if it has to be.
    async fn read_behind(&self, mut cursor: u64, is_there: bool) -> Result<(), FollowError> {
        // The last line that is known comes again: a ledger that was cut back would else look as if nothing were new.
        let mut known = (cursor > 0 && is_there).then_some(cursor);
        loop {
            let mut page = self.page_of(known.map_or(cursor, |line| line - 1), LEDGER_ENTRIES_MAX).await?;
            let is_last = page.len() < usize::from(LEDGER_ENTRIES_MAX);
            if let Some(line) = known.take() {
                match page.first().map(|entry| entry.sequence) {
                    Some(first) if first == line => page.remove(0),
                    Some(found) => return Err(FollowError::Gap { after: line - 1, found }),
                    None => return Err(FollowError::Shortened(line)),
                };
            }
            if !is_last {
                self.reached(Reach::Partial);
            }
            let end = page.last().map_or(cursor, |entry| entry.sequence);
            if let Some((entry, line)) =
                page.iter().zip(cursor + 1..).find(|(entry, line)| entry.sequence != *line)
            {
                return Err(FollowError::Gap { after: line - 1, found: entry.sequence });
            }
            let (changes, reached) = self.read(cursor, page).await?;
            if reached < end {
                self.reached(Reach::Partial);
            }
            if reached > cursor {
                self.book.apply(&self.gateway.node_id, changes, reached).await?;
            }
            if reached < end {
                // What is behind may take back what came before: it was not read to its end.
                return Err(FollowError::EpochAhead);
            }
            cursor = reached;
            if is_last {
                return Ok(());
            }
        }
    }

    async fn page_of(&self, after: u64, limit: u16) -> Result<Vec<LedgerEntry>, FollowError> {
        let page = page(&*self.transport, &self.gateway, after, limit).await;
        page?.ok_or(FollowError::Answer)
    }

    /// What lines change, up to the first that has to wait; `after` is the one before them.
    async fn read(&self, after: u64, page: Vec<LedgerEntry>) -> Result<(Vec<Change>, u64), FollowError> {
        let mut checker = self.checker.lock().await;
        let mut changes = Vec::with_capacity(page.len());
        let mut reached = after;
        for entry in page {
            match entry.record {
                LedgerRecord::Deleted { shard } => changes.push(Change::Deleted { shard }),
                LedgerRecord::Released { shard, miner } => changes.push(Change::Released { shard, miner }),
                LedgerRecord::Served(served) => changes.push(Change::Served(served)),
                // Says nothing that is not known where all lines are.
                LedgerRecord::Compacted(_) => {}
                LedgerRecord::Stored(signed) => match checker.check(&signed) {
                    Ok(()) => changes.push(Change::Stored(signed.receipt)),
                    Err(ReceiptFault::EpochAhead) => break,
                    Err(fault) => {
                        let Receipt { shard, node_id: miner, .. } = signed.receipt;
                        changes.push(Change::Named { shard, miner });
                        self.metrics.receipts_refused.inc();
                        tracing::warn!(
                            gateway = %self.gateway.node_id, sequence = entry.sequence, %fault,
                            "a receipt in the ledger does not count"
                        );
                    }
                },
            }
            reached = entry.sequence;
        }
        Ok((changes, reached))
    }

    /// Follows for ever, looking every `poll`.
    pub async fn run(self: Arc<Self>, poll: Duration) {
        let mut last_error = String::new();
        loop {
            match self.sync().await {
                Ok(()) => last_error.clear(),
                // The chain is seen a moment later here than there.
                Err(FollowError::EpochAhead) => {
                    tracing::debug!(gateway = %self.gateway.node_id, "the ledger is ahead")
                }
                Err(error) => {
                    self.metrics.failures.inc();
                    let text = error.to_string();
                    if text != last_error {
                        tracing::warn!(gateway = %self.gateway.node_id, %error, "the ledger is not followed; trying again");
                        last_error = text;
                    }
                }
            }
            tokio::time::sleep(poll).await;
        }
    }
}

#[cfg(test)]
mod tests;
