//! What the threads of a store do, where there must be none (`arion_daemon::work`): whoever asks for something does it.

use std::iter::once;

use crossbeam_channel::Receiver;

use super::{
    keeper::Keeper,
    writer::{Queued, Writer},
};

pub(super) struct Inline {
    writer: Writer,
    changes: Receiver<Queued>,
    keeper: Keeper,
}

impl Inline {
    pub(super) fn new(mut writer: Writer, changes: Receiver<Queued>, keeper: Keeper) -> Self {
        writer.options.background = false;
        Self { writer, changes, keeper }
    }

    /// Carries out what is queued.
    pub(super) fn write_waiting(&mut self) {
        loop {
            let batch: Vec<Queued> = self.changes.try_iter().take(self.writer.options.batch_max).collect();
            if batch.is_empty() {
                return;
            }
            self.writer.process(batch.into_iter());
        }
    }

    /// One piece of background work, as fast as the disk goes; whether there may be more at once.
    pub(super) fn keep(&mut self) -> bool {
        let Self { writer, keeper, .. } = self;
        let mut submit = |change| {
            writer.process(once(Queued::alone(change)));
            Ok(())
        };
        keeper.step(&mut submit, &mut |_| true)
    }
}
