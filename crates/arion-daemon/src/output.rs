//! Standard output: what a command was asked for.
//!
//! A reader that goes away (`... | head`) ends the command without noise: see [`OutputClosed`].

use std::{
    fmt,
    io::{self, ErrorKind, Write},
};

/// Nobody reads the output any more. Not a failure: what was wanted was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("nobody reads the output")]
pub struct OutputClosed;

/// Writes one line to standard output; better through [`line!`](crate::line).
pub fn write_line(line: fmt::Arguments<'_>) -> anyhow::Result<()> {
    match writeln!(io::stdout().lock(), "{line}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(OutputClosed.into()),
        done => Ok(done?),
    }
}

/// Formats and writes a line; leaves the function when it cannot be written.
#[macro_export]
macro_rules! line {
    ($($format:tt)*) => {
        $crate::output::write_line(format_args!($($format)*))?
    };
}
