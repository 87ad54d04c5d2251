//! The limit of open files: what a process begins with is less than a miner with several disks needs.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Left for connections, logs and the rest of the process.
const OTHERS: u64 = 512;
/// Segment files that a store keeps open where it may.
const STORE_MAX: u64 = 512;
/// Below this reads of a large disk spend their time opening files.
const STORE_MIN: u64 = 64;

/// Raises the limit as far as this user may; how many segment files each of so many stores may keep open.
pub(crate) fn raise(stores: usize) -> usize {
    let limits = getrlimit(Resource::Nofile);
    if limits.current != limits.maximum {
        let raised = Rlimit { current: limits.maximum, maximum: limits.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "the limit of open files cannot be raised");
        }
    }
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let stores = (stores as u64).max(1);
    let each = share(limit, stores);
    if each < STORE_MIN {
        tracing::warn!(
            limit,
            needed = OTHERS.saturating_add(STORE_MIN.saturating_mul(stores)),
            "the limit of open files is low for so many disks: raise it (ulimit -n, LimitNOFILE in the service)"
        );
    }
    usize::try_from(each).unwrap_or(usize::MAX)
}

/// What each of so many stores gets of a limit.
fn share(limit: u64, stores: u64) -> u64 {
    // Half of a very small limit is left for the rest.
    let all = limit.saturating_sub(OTHERS).max(limit / 2);
    (all / stores.max(1)).clamp(4, STORE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_store_gets_its_share_and_the_rest_of_the_process_too() {
        assert_eq!([share(u64::MAX, 1), share(1 << 20, 8)], [STORE_MAX; 2]);
        assert_eq!(share(1_024, 8), 64);
        assert_eq!(share(1_024, 16), 32);
        assert_eq!([share(64, 1), share(0, 3)], [32, 4]);
    }

    #[test]
    fn the_limit_is_raised_to_what_is_allowed() {
        let each = raise(2);
        let limits = getrlimit(Resource::Nofile);
        assert_eq!(limits.current, limits.maximum);
        assert!((4..=512).contains(&each));
    }
}
