//! Work that blocks: off the async threads.
//!
//! A simulation runs a whole network in one thread, so that a seed does the same again. There such work is done where it is
//! asked for, and stores keep no threads of their own ([`is_inline`]).

use std::{future::Future, sync::OnceLock, time::Duration};

use tokio::task::JoinError;

/// How long inline work takes: before what it does is done, and behind.
pub type Pauses = fn() -> [Duration; 2];

static INLINE: OnceLock<Pauses> = OnceLock::new();

tokio::task_local! {
    /// Of a simulation: for which of its hosts the task works.
    static HOST: u32;
}

/// From now on blocking work of this process is done inline, between pauses of the runtime's clock. For simulations only;
/// a second call changes nothing.
pub fn do_inline(pauses: Pauses) {
    let _ = INLINE.set(pauses);
}

/// Whether there must be no threads.
pub fn is_inline() -> bool {
    INLINE.get().is_some()
}

/// For which of its hosts a simulation does what is being done; 0 for none, and in a daemon.
pub fn host() -> u32 {
    HOST.try_with(|host| *host).unwrap_or(0)
}

/// Work for a host of a simulation.
pub fn of_host<F: Future>(host: u32, work: F) -> impl Future<Output = F::Output> {
    HOST.scope(host, work)
}

/// What is to be spawned for the host that spawns it: clocks of simulated hosts differ. In a daemon it is the work and nothing else.
pub fn same_host<F: Future>(work: F) -> impl Future<Output = F::Output> {
    of_host(host(), work)
}

/// Does something that blocks off the async threads; an error where it panicked or the runtime is stopping. It is done even if
/// the caller goes away.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    let Some(pauses) = INLINE.get() else { return tokio::task::spawn_blocking(work).await };
    let [before, behind] = pauses();
    let inline = async move {
        tokio::time::sleep(before).await;
        let done = work();
        tokio::time::sleep(behind).await;
        done
    };
    tokio::spawn(same_host(inline)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_done_elsewhere_and_its_result_comes_back() {
        let here = std::thread::current().id();
        let there = blocking(|| std::thread::current().id()).await.unwrap();
        assert_ne!(here, there);
        assert!(!is_inline());
        assert!(blocking(|| panic!("on purpose")).await.unwrap_err().is_panic());
    }

    #[tokio::test]
    async fn what_is_spawned_works_for_the_host_that_spawns_it() {
        let spawned = async { tokio::spawn(same_host(async { host() })).await.unwrap() };
        assert_eq!(of_host(7, spawned).await, 7);
        assert_eq!(tokio::spawn(same_host(async { host() })).await.unwrap(), 0, "nobody's");
    }
}
