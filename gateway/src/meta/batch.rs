//! The writing thread: everything that waits is carried out in one transaction and committed once.
//!
//! # Invariants
//! - A caller hears of success only after the commit.
//! - An operation that meets a row which does not decode fails alone: the transaction is given up, and the others are carried
//!   out again in a new one.

use tokio::sync::{mpsc, oneshot, watch};

use super::{
    DiskFailed, MetaError, WriteTransaction, note,
    store::{Session, Store},
};

/// Most operations in one commit.
const BATCH_MAX: usize = 256;

/// An operation that waits for the writing thread.
pub(super) trait Job: Send {
    /// Carries it out, perhaps not for the first time. An error means that the transaction must not be committed.
    fn run(&mut self, transaction: &WriteTransaction) -> Result<(), MetaError>;

    /// Tells the caller how it went, once it is known whether it is on disk.
    fn finish(self: Box<Self>, committed: Result<(), MetaError>);
}

/// A [`Job`] with the way to its caller.
pub(super) struct Operation<T, F> {
    operation: F,
    outcome: Option<Result<T, MetaError>>,
    reply: oneshot::Sender<Result<T, MetaError>>,
}

impl<T, F> Operation<T, F> {
    pub(super) fn new(operation: F, reply: oneshot::Sender<Result<T, MetaError>>) -> Self {
        Self { operation, outcome: None, reply }
    }
}

impl<T, F> Job for Operation<T, F>
where
    T: Send,
    F: FnOnce(&WriteTransaction) -> Result<T, MetaError> + Clone + Send,
{
    fn run(&mut self, transaction: &WriteTransaction) -> Result<(), MetaError> {
        match self.operation.clone()(transaction) {
            Err(error) if error.is_fatal() => Err(error),
            outcome => {
                self.outcome = Some(outcome);
                Ok(())
            }
        }
    }

    fn finish(self: Box<Self>, committed: Result<(), MetaError>) {
        let told = match (self.outcome, committed) {
            (Some(Err(refused)), _) => Err(refused),
            (_, Err(lost)) => Err(lost),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(MetaError::Closed),
        };
        // Who went away does not want to know.
        let _ = self.reply.send(told);
    }
}

/// Carries out what waits.
pub(super) struct Writer {
    store: Store,
    waiting: mpsc::Receiver<Box<dyn Job>>,
    failure: watch::Sender<Option<DiskFailed>>,
    session: Option<Session>,
    batch: Vec<Box<dyn Job>>,
}

impl Writer {
    pub(super) fn new(
        store: Store,
        waiting: mpsc::Receiver<Box<dyn Job>>,
        failure: watch::Sender<Option<DiskFailed>>,
    ) -> Self {
        Self { store, waiting, failure, session: None, batch: Vec::with_capacity(BATCH_MAX) }
    }

    /// Works until the last handle is gone.
    pub(super) fn run(&mut self) {
        while let Some(first) = self.waiting.blocking_recv() {
            self.write(first);
        }
    }

    /// Works until nothing waits.
    pub(super) fn write_waiting(&mut self) {
        while let Ok(first) = self.waiting.try_recv() {
            self.write(first);
        }
    }

    /// Writes what waits behind this, too.
    fn write(&mut self, first: Box<dyn Job>) {
        self.batch.push(first);
        while self.batch.len() < BATCH_MAX {
            match self.waiting.try_recv() {
                Ok(job) => self.batch.push(job),
                Err(_) => break,
            }
        }
        if let Err(error) = commit(&self.store, &mut self.session, &mut self.batch) {
            tracing::error!(%error, "metadata could not be written");
            note(&self.store, &error, &self.failure);
        }
    }
}

/// Carries out what is in the batch and answers all of it.
fn commit(
    store: &Store,
    session: &mut Option<Session>,
    batch: &mut Vec<Box<dyn Job>>,
) -> Result<(), MetaError> {
    while !batch.is_empty() {
        match attempt(store, session, batch) {
            Ok(()) => batch.drain(..).for_each(|job| job.finish(Ok(()))),
            Err((Some(at), MetaError::Row(table))) => {
                // Whoever asked tells it.
                tracing::debug!(table, "a metadata row does not decode: what needs it is refused");
                batch.remove(at).finish(Err(MetaError::Row(table)));
            }
            Err((_, error)) => {
                batch.drain(..).for_each(|job| job.finish(Err(error.copy())));
                return Err(error);
            }
        }
    }
    Ok(())
}

/// One transaction; which of the batch it failed by, if by one.
fn attempt(
    store: &Store,
    session: &mut Option<Session>,
    batch: &mut [Box<dyn Job>],
) -> Result<(), (Option<usize>, MetaError)> {
    let lost = |error: MetaError| (None, error);
    let transaction = store.begin_write(session).map_err(lost)?;
    for (at, job) in batch.iter_mut().enumerate() {
        if let Err(error) = job.run(&transaction) {
            let at = matches!(error, MetaError::Row(_)).then_some(at);
            match transaction.abort() {
                Ok(kept) => *session = kept,
                // What the operation met says more.
                Err(lost) if at.is_some() => return Err((None, lost)),
                Err(_) => {}
            }
            return Err((at, error));
        }
    }
    *session = transaction.commit().map_err(lost)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            BucketInfo, SETTINGS,
            tests::{Engine, bucket_of},
        },
        *,
    };

    /// One client's broken row failed whatever others wrote in the same moment, with it and behind it.
    #[tokio::test]
    async fn a_broken_row_fails_only_who_needs_it() {
        for engine in Engine::each() {
            let meta = engine.open();
            bucket_of(&meta, "broken", "a").await;
            // Held until everything below waits, so that all of it is one batch.
            let (open, gate) = std::sync::mpsc::channel::<()>();
            let gate = std::sync::Arc::new(std::sync::Mutex::new(gate));
            let held = meta.write(move |transaction| {
                let _ = gate.lock().unwrap().recv();
                transaction.open_table(super::super::BUCKETS)?.insert("broken", b"\xff".as_slice())?;
                Ok(())
            });
            let enter = |name: &'static str| {
                meta.write(move |transaction| {
                    transaction.open_table(SETTINGS)?.insert(name, b"x".as_slice())?;
                    Ok(name)
                })
            };
            let fails = meta.write(|transaction| {
                transaction.open_table(SETTINGS)?.insert("half", b"x".as_slice())?;
                super::super::buckets::require(transaction, "broken").map(|_| ())
            });
            let refused = meta.create_bucket("other".into(), BucketInfo::new("a".into(), 1));
            let again = meta.create_bucket("other".into(), BucketInfo::new("b".into(), 1));
            // Opened for good: it may be carried out twice.
            let go = async move {
                tokio::task::yield_now().await;
                drop(open);
            };
            let (held, before, fails, behind, made, again, ()) =
                tokio::join!(held, enter("before"), fails, enter("behind"), refused, again, go);
            held.unwrap();
            assert_eq!((before.unwrap(), behind.unwrap()), ("before", "behind"));
            assert!(matches!(fails, Err(MetaError::Row("buckets"))));
            made.unwrap();
            assert!(matches!(again, Err(MetaError::BucketTaken)));
            let found = meta
                .read(|transaction| {
                    let settings = transaction.open_table(SETTINGS)?;
                    let has = |name| Ok::<_, MetaError>(settings.get(name)?.is_some());
                    Ok([has("before")?, has("half")?, has("behind")?])
                })
                .await;
            assert_eq!(found.unwrap(), [true, false, true]);
        }
    }
}
