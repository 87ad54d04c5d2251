//! Files to objects and back, with progress.
//!
//! What was sent is compared by MD5 with the ETag that came back, what was received with the ETag that was announced, where
//! the ETag tells. A download appears under its name only when it is whole. What broke off goes on when the same command is
//! given again: an upload with the parts that the gateway has, a download with the bytes in the file beside.

pub mod batch;
pub mod etag;
mod get;
mod put;

pub use get::{get, get_to_output};
pub use put::{PutOptions, put, put_from_input};

use std::{
    io::{self, Read},
    thread,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use md5::{Digest, Md5};

use crate::failure::GatewayError;

/// Pauses before a part is tried again; after the last the transfer has failed.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(300), Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(6)];

/// What a transfer did.
#[derive(Clone, PartialEq, Debug, serde::Serialize)]
pub struct Transferred {
    /// Bytes of the object.
    pub bytes: u64,
    /// Bytes of it that an earlier, broken transfer had moved already.
    pub resumed_bytes: u64,
    /// Time it took.
    pub seconds: f64,
    /// Mean rate of what was moved now.
    pub mib_per_second: f64,
    /// ETag of the object.
    pub etag: String,
    /// Whether the ETag could be compared with the bytes, and was equal. A difference is an error.
    pub verified: bool,
}

impl Transferred {
    fn new(bytes: u64, resumed_bytes: u64, began: Instant, etag: String, verified: bool) -> Self {
        let seconds = began.elapsed().as_secs_f64();
        let moved = bytes.saturating_sub(resumed_bytes);
        let mib_per_second = moved as f64 / (1 << 20) as f64 / seconds.max(f64::EPSILON);
        Self { bytes, resumed_bytes, seconds, mib_per_second, etag, verified }
    }
}

/// A bar with bytes, rate and remaining time; none when `quiet` or when standard error is no terminal.
pub fn bar(length: Option<u64>, name: &str, quiet: bool) -> ProgressBar {
    let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(length, target);
    let template = match length {
        Some(_) => "{prefix} [{bar:30}] {bytes}/{total_bytes} {binary_bytes_per_sec} eta {eta} {msg}",
        None => "{prefix} {bytes} {binary_bytes_per_sec} {msg}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(name.to_owned());
    bar
}

/// Counts and hashes what is read from it. What it counted is taken back unless it is kept.
struct Watched<'a, R> {
    inner: R,
    bar: &'a ProgressBar,
    md5: Md5,
    counted: u64,
}

impl<'a, R> Watched<'a, R> {
    fn new(inner: R, bar: &'a ProgressBar) -> Self {
        Self { inner, bar, md5: Md5::new(), counted: 0 }
    }

    /// The MD5 of what was read; it stays counted.
    fn keep(mut self) -> Md5 {
        self.counted = 0;
        self.md5.clone()
    }
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.md5.update(&buffer[..read]);
        self.bar.inc(read as u64);
        self.counted += read as u64;
        Ok(read)
    }
}

impl<R> Drop for Watched<'_, R> {
    fn drop(&mut self) {
        self.bar.set_position(self.bar.position().saturating_sub(self.counted));
    }
}

fn compare(what: &str, found: Md5, etag: &str) -> Result<[u8; 16], GatewayError> {
    let md5: [u8; 16] = found.finalize().into();
    if hex::encode(md5) == etag {
        Ok(md5)
    } else {
        Err(GatewayError::Damaged(format!(
            "the MD5 of {what} is {}, the gateway says {etag}",
            hex::encode(md5)
        )))
    }
}

/// Tries again what failed on the way or for now, not what was refused.
fn patiently<T>(attempt: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    patiently_with(&PAUSES, attempt)
}

fn patiently_with<T>(
    pauses: &[Duration],
    mut attempt: impl FnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    for pause in pauses {
        match attempt() {
            Err(error) if passes(&error) => thread::sleep(*pause),
            done => return done,
        }
    }
    attempt()
}

fn passes(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<GatewayError>() {
        Some(GatewayError::Unreachable { .. } | GatewayError::Damaged(_)) => true,
        Some(GatewayError::Refused { status, .. }) => *status >= 500,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_counted_and_hashed() {
        let bar = ProgressBar::hidden();
        let mut watched = Watched::new(&b"123456789"[..], &bar);
        io::copy(&mut watched, &mut io::sink()).unwrap();
        let md5 = watched.keep();
        assert_eq!(bar.position(), 9);
        assert!(compare("it", md5.clone(), "25f9e794323b453885f5181f1b624d0b").is_ok());
        assert!(compare("it", md5, "25f9e794323b453885f5181f1b624d0c").is_err());
        io::copy(&mut Watched::new(&b"12"[..], &bar), &mut io::sink()).unwrap();
        assert_eq!(bar.position(), 9);
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let attempts = |error: fn() -> anyhow::Error| {
            let mut attempts = 0;
            let failed = patiently_with(&[Duration::ZERO; 2], || -> anyhow::Result<()> {
                attempts += 1;
                Err(error())
            });
            assert!(failed.is_err());
            attempts
        };
        let refused = |status| GatewayError::Refused { status, code: String::new(), message: String::new() };
        assert_eq!(attempts(|| GatewayError::Damaged(String::new()).into()), 3);
        assert_eq!(attempts(|| anyhow::anyhow!("no file")), 1);
        assert!(passes(&refused(503).into()) && !passes(&refused(403).into()));
        let mut left = 1;
        let done = patiently_with(&[Duration::ZERO], || {
            left -= 1;
            if left == 0 { Err(GatewayError::Damaged(String::new()).into()) } else { Ok(7) }
        });
        assert_eq!(done.unwrap(), 7);
    }
}
