//! The next map, told some blocks before it is voted for: `GET /v1/next-map`.
//!
//! Services that heard the same miners tell of the same map. Its epoch begins when two thirds have voted for it, and nobody votes before it was told for
//! [`Announcements::new`]'s number of blocks.
//!
//! # Invariants
//! - What is told is what this service would vote for now; another map begins anew.
//! - The first map of a chain waits for nothing: there is no data to move.

use std::sync::{Mutex, MutexGuard, PoisonError};

use arion_chain::{ComingMap, EpochMap};
use arion_daemon::{Answer, StatusCode};
use codec::Encode;

/// Path of the announcement.
pub const PATH: &str = "/v1/next-map";

/// What is told.
#[derive(Debug)]
pub struct Announcements {
    blocks: u32,
    /// With the root of the map.
    told: Mutex<Option<([u8; 32], ComingMap)>>,
}

impl Announcements {
    /// Maps are told for so many blocks before they are voted for.
    pub fn new(blocks: u32) -> Self {
        Self { blocks, told: Mutex::default() }
    }

    /// Tells of a map at `block`; whether it was told for long enough. `is_first` where no map is in force.
    pub fn tell(&self, map: &EpochMap, block: u32, is_first: bool) -> bool {
        let mut told = self.told();
        let known = told.take().filter(|(root, known)| (*root, known.epoch) == (map.root, map.epoch));
        let (_, known) = told.insert(known.unwrap_or_else(|| {
            let wait = if is_first { 0 } else { self.blocks };
            let EpochMap { epoch, params, miners, root } = map.clone();
            (root, ComingMap { voted_from: block.saturating_add(wait), epoch, params, miners })
        }));
        block >= known.voted_from
    }

    /// No map is to come.
    pub fn rest(&self) {
        *self.told() = None;
    }

    /// What the endpoint answers: a SCALE [`ComingMap`], or a line that says that there is none.
    pub fn answer(&self) -> Answer {
        match &*self.told() {
            Some((_, coming)) => Answer::bytes(coming.encode()),
            None => Answer::text(
                StatusCode::NOT_FOUND,
                "no map is to come: the current one is right, or the log says why",
            ),
        }
    }

    fn told(&self) -> MutexGuard<'_, Option<([u8; 32], ComingMap)>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arion_types::CrushParams;
    use codec::DecodeAll;

    fn map(epoch: u64, pg_count: u32) -> EpochMap {
        EpochMap::new(epoch, CrushParams { pg_count, ..CrushParams::STANDARD }, Vec::new())
    }

    #[test]
    fn a_map_is_told_for_so_many_blocks_and_another_begins_anew() {
        let announcements = Announcements::new(10);
        assert_eq!(announcements.answer().status, StatusCode::NOT_FOUND);
        assert!(announcements.tell(&map(1, 1), 100, true), "the first waits for nothing");
        assert!(!announcements.tell(&map(2, 1), 200, false));
        assert!(!announcements.tell(&map(2, 1), 209, false));
        assert!(announcements.tell(&map(2, 1), 210, false));
        assert!(!announcements.tell(&map(2, 2), 211, false));
        let told = ComingMap::decode_all(&mut &announcements.answer().body[..]).unwrap();
        assert_eq!((told.voted_from, told.map()), (221, map(2, 2)));
        announcements.rest();
        assert_eq!(announcements.answer().status, StatusCode::NOT_FOUND);
        assert!(!announcements.tell(&map(2, 2), 230, false));
        assert!(Announcements::new(0).tell(&map(2, 2), 7, false));
    }
}
