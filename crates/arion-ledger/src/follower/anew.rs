//! Reads what was kept of a ledger that was compacted: first all of it, to see that it is what was said to be kept, then once more to take
//! it over, page by page the same.

use arion_proofs::merkle::{self, Hash};
use arion_protocol::{Compacted, LedgerBase, LedgerEntry, limits::LEDGER_ENTRIES_MAX};

use super::{FollowError, Follower};
use crate::{
    compact::{BaseFault, KeptRoot, check_base, statement},
    segment::line_hash,
};

/// How far reading came; it goes on there if a page does not come.
pub(super) struct Anew {
    base: LedgerBase,
    says: Compacted,
    /// Pages that were looked at: behind which line each begins, and the root over its lines.
    pages: Vec<(u64, Hash)>,
    seen: KeptRoot,
    /// The last line that was looked at.
    reached: u64,
    is_whole: bool,
    /// Pages that were taken over.
    taken: usize,
}

impl Follower {
    /// Makes up for all lines up to the base.
    pub(super) async fn read_anew(
        &self,
        base: LedgerBase,
        anew: &mut Option<Anew>,
    ) -> Result<(), FollowError> {
        self.is_behind();
        let known = anew.take().filter(|known| known.base == base);
        let outcome = match known {
            Some(known) => Ok(known),
            None => self.begin(base).await,
        };
        let outcome = match outcome {
            Ok(known) => self.go_on(anew.insert(known)).await,
            Err(error) => Err(error),
        };
        if matches!(outcome, Err(FollowError::Base(_))) {
            *anew = None;
            self.metrics.bases_refused.inc();
        }
        outcome
    }

    async fn begin(&self, base: LedgerBase) -> Result<Anew, FollowError> {
        let gateway = self.gateway.node_id;
        check_base(&base)?;
        let page = self.page_of(base.line - 1, 1).await?;
        let says = statement(&base, page.first())?;
        tracing::info!(
            %gateway, until = base.until, kept = says.lines,
            "lines of the ledger were dropped that were not read: what was kept is read anew"
        );
        self.book.begin_anew(&gateway).await?;
        let (pages, seen) = (Vec::new(), KeptRoot::default());
        Ok(Anew { base, says, pages, seen, reached: 0, is_whole: false, taken: 0 })
    }

    async fn go_on(&self, anew: &mut Anew) -> Result<(), FollowError> {
        let gateway = self.gateway.node_id;
        let LedgerBase { until, line, .. } = anew.base;
        let fault = BaseFault::Kept { until, line };
        while !anew.is_whole {
            let kept = self.kept(anew.reached, until).await?;
            let hashes = self.hashes(&kept).await;
            hashes.iter().for_each(|hash| anew.seen.push(*hash));
            let so_far = anew.seen.of(until);
            match kept.last() {
                Some(last) if so_far.lines <= anew.says.lines => {
                    anew.pages.push((anew.reached, merkle::root(&hashes)));
                    anew.reached = last.sequence;
                }
                None if so_far == anew.says => anew.is_whole = true,
                _ => return Err(fault.into()),
            }
        }
        while let Some((after, root)) = anew.pages.get(anew.taken).copied() {
            let kept = self.kept(after, until).await?;
            if merkle::root(&self.hashes(&kept).await) != root {
                return Err(fault.into());
            }
            let end = kept.last().map_or(after, |entry| entry.sequence);
            let (changes, reached) = self.read(after, kept).await?;
            if reached < end {
                return Err(FollowError::EpochAhead);
            }
            self.book.apply_anew(&gateway, changes).await?;
            anew.taken += 1;
        }
        self.book.end_anew(&gateway, until).await?;
        self.metrics.read_anew.inc();
        Ok(())
    }

    /// The next lines that were kept, in order.
    async fn kept(&self, after: u64, until: u64) -> Result<Vec<LedgerEntry>, FollowError> {
        let mut page = self.page_of(after, LEDGER_ENTRIES_MAX).await?;
        page.retain(|entry| entry.sequence <= until);
        let mut before = after;
        for entry in &page {
            if entry.sequence <= before {
                return Err(FollowError::Gap { after: before, found: entry.sequence });
            }
            before = entry.sequence;
        }
        Ok(page)
    }

    async fn hashes(&self, entries: &[LedgerEntry]) -> Vec<Hash> {
        let genesis = self.checker.lock().await.genesis();
        let hash =
            |entry: &LedgerEntry| line_hash(&genesis, &self.gateway.node_id, entry.sequence, &entry.record);
        entries.iter().map(hash).collect()
    }
}
