//! One signal for the whole process to stop.

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// Tells every part of a daemon to stop; clones share one state.
#[derive(Clone, Debug)]
pub struct Shutdown {
    state: watch::Sender<bool>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { state: watch::Sender::new(false) }
    }
}

impl Shutdown {
    /// Triggered by [`Shutdown::trigger`] only.
    pub fn new() -> Self {
        Self::default()
    }

    /// Triggered by SIGTERM and SIGINT too. A second signal ends the process at once with code 130. Needs a
    /// tokio runtime.
    pub fn on_signals() -> std::io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = Self::new();
        let triggered = shutdown.clone();
        tokio::spawn(async move {
            let mut signals_seen = 0;
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                signals_seen += 1;
                if signals_seen > 1 {
                    std::process::exit(130);
                }
                tracing::info!("stopping on a signal");
                triggered.trigger();
            }
        });
        Ok(shutdown)
    }

    /// Tells everybody to stop.
    pub fn trigger(&self) {
        self.state.send_replace(true);
    }

    /// Whether it was triggered.
    pub fn is_triggered(&self) -> bool {
        *self.state.borrow()
    }

    /// Returns once it is triggered.
    pub async fn wait(&self) {
        let mut state = self.state.subscribe();
        let _ = state.wait_for(|triggered| *triggered).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_until_triggered_and_stays_so() {
        let shutdown = Shutdown::new();
        let other = shutdown.clone();
        let waiter = tokio::spawn(async move { other.wait().await });
        assert!(!shutdown.is_triggered());
        shutdown.trigger();
        waiter.await.unwrap();
        shutdown.wait().await;
        assert!(shutdown.is_triggered());
    }
}
