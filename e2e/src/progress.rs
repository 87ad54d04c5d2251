//! Progress lines: what happened, and when, counted from the start.

use std::time::Instant;

/// Prints lines with the seconds since it was made.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    start: Instant,
}

impl Progress {
    /// Starts counting.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// One line.
    pub fn say(&self, text: impl AsRef<str>) {
        println!("[{:7.1} s] {}", self.start.elapsed().as_secs_f64(), text.as_ref());
    }

    /// Seconds since the start.
    pub fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }
}
