//! Progress lines: what happened, and when, counted from the start.

use std::{io::Write, time::Instant};

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
        show(&format!("[{:7.1} s] {}\n", self.start.elapsed().as_secs_f64(), text.as_ref()));
    }

    /// Seconds since the start.
    pub fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }
}

/// Prints text. A reader that went away (`devnet status | head`) is no reason to stop.
pub fn show(text: &str) {
    let mut output = std::io::stdout().lock();
    let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}
