//! What an upload that came to nothing gives back.
//!
//! # Invariants
//! - While this gateway runs it is given back in the end, also when the metadata cannot be reached in that moment, or another replica
//!   leads by now: nobody else does it before this gateway is gone. To do it twice does no harm: who lost the connection
//!   does not know whether it was done.

use std::{sync::Arc, time::Duration};

use arion_daemon::{now_ms, work::same_host};
use arion_types::StripeId;
use tokio::runtime::Handle;

use super::Grid;
use crate::{manifest::StripeRecord, meta::MetaError};

/// Pause before it is tried again, the first and the longest.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(16);

/// What to give back.
pub(super) enum Owed {
    /// Stripes, where nobody refers to them.
    Stripes(Vec<StripeId>),
    /// A stripe that was not stored, or of which nobody knows whether it was.
    Failed(StripeRecord),
    /// A shared stripe that nobody enters any more.
    Pinned(StripeId),
}

/// A stripe that nobody refers to yet: where whoever is at it goes away, it is given back.
pub(super) struct Underway {
    grid: Arc<Grid>,
    owed: Option<Owed>,
}

impl Underway {
    pub(super) fn new(grid: &Arc<Grid>, owed: Owed) -> Self {
        Self { grid: grid.clone(), owed: Some(owed) }
    }

    /// Others look after it from now on.
    pub(super) fn kept(mut self) {
        self.owed = None;
    }

    pub(super) async fn give_back(mut self) {
        if let Some(owed) = self.owed.take() {
            self.grid.give_back(owed).await;
        }
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        let (Some(owed), Ok(runtime)) = (self.owed.take(), Handle::try_current()) else { return };
        let grid = self.grid.clone();
        runtime.spawn(same_host(async move { grid.give_back(owed).await }));
    }
}

impl Grid {
    /// Returns when it was tried once; what may go another time is tried again behind that.
    pub(super) async fn give_back(self: &Arc<Self>, owed: Owed) {
        let tried = self.try_to_give_back(&owed).await;
        if is_passing(&tried) {
            tracing::warn!("stripes of a failed upload cannot be given back now; it is tried again");
            tokio::spawn(same_host(self.clone().give_back_later(owed)));
        } else {
            tell(tried);
        }
    }

    async fn give_back_later(self: Arc<Self>, owed: Owed) {
        let mut pause = PAUSE;
        loop {
            tokio::time::sleep(pause).await;
            pause = PAUSE_MAX.min(pause * 2);
            let tried = self.try_to_give_back(&owed).await;
            if !is_passing(&tried) {
                return tell(tried);
            }
        }
    }

    async fn try_to_give_back(&self, owed: &Owed) -> Result<(), MetaError> {
        match owed {
            Owed::Stripes(ids) => self.meta.discard_stripes(ids.clone(), now_ms()).await,
            Owed::Failed(record) => {
                self.meta.unpin_stripes(vec![record.id()], now_ms()).await?;
                self.meta.give_up_stripe(record.clone(), now_ms(), self.behind_tail_ms()).await
            }
            Owed::Pinned(id) => self.meta.unpin_stripes(vec![*id], now_ms()).await.map(drop),
        }
    }
}

/// A term that is over is that of whoever began; what is tried later has none.
fn is_passing(tried: &Result<(), MetaError>) -> bool {
    matches!(tried, Err(MetaError::Unavailable(_) | MetaError::Deposed))
}

fn tell(tried: Result<(), MetaError>) {
    if let Err(error) = tried {
        tracing::warn!(%error, "stripes of a failed upload stay until the next start");
    }
}
