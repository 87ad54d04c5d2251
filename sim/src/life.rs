//! One life of a host: from its start to its crash.
//!
//! # Invariants
//! - With its end all its tasks are gone, and requests that it was working on. What the product spawned besides lives on
//!   without hands: its calls never return and its disks do nothing.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use arion_daemon::work::of_host;
use tokio::{sync::watch, task::JoinSet};

use crate::host::Place;

/// A handle; clones are the same life.
#[derive(Clone)]
pub struct Life {
    /// Whose clock its work goes by; 0 for nobody's.
    host: u32,
    is_over: watch::Sender<bool>,
    tasks: Arc<Mutex<JoinSet<()>>>,
}

impl Default for Life {
    fn default() -> Self {
        Self { host: 0, is_over: watch::Sender::new(false), tasks: Arc::default() }
    }
}

impl Life {
    pub fn of(place: Place) -> Self {
        Self { host: place.clock(), ..Self::default() }
    }

    pub fn is_over(&self) -> bool {
        *self.is_over.borrow()
    }

    /// Does something until the end.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        if self.is_over() {
            return;
        }
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(of_host(self.host, work));
    }

    /// What `work` comes to, unless the end comes first.
    pub async fn unless_over<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut is_over = self.is_over.subscribe();
        tokio::select! {
            biased;
            _ = is_over.wait_for(|is_over| *is_over) => None,
            done = of_host(self.host, work) => Some(done),
        }
    }

    pub fn end(&self) {
        self.is_over.send_replace(true);
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}
