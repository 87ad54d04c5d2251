//! What happened, line by line with simulated time; and the events at which something can be made to happen.
//!
//! Two runs of a seed must write the same bytes.

use std::{
    cell::RefCell,
    io::{self, Write},
    time::Duration,
};

use tracing_subscriber::fmt::MakeWriter;

use crate::outside;

/// Who listens to lines.
type Sink = Box<dyn Write + Send>;
type Trap = Box<dyn FnOnce()>;

thread_local! {
    static SINK: RefCell<Option<Sink>> = const { RefCell::new(None) };
    static TRAPS: RefCell<Vec<(u64, Trap)>> = const { RefCell::new(Vec::new()) };
    static EVENTS: RefCell<u64> = const { RefCell::new(0) };
}

/// Writes lines of this thread from now on.
pub fn to(sink: Sink) {
    SINK.with_borrow_mut(|kept| *kept = Some(sink));
}

/// Has what was written be read.
pub fn flush() {
    let _ = SINK.try_with(|sink| {
        if let Ok(mut sink) = sink.try_borrow_mut()
            && let Some(sink) = sink.as_mut()
        {
            let _ = sink.flush();
        }
    });
}

/// Simulated time.
pub fn now() -> Duration {
    Duration::from_nanos(u64::try_from(outside::elapsed_nanos()).unwrap_or(u64::MAX))
}

/// Writes a line.
pub fn line(text: std::fmt::Arguments<'_>) {
    SINK.with_borrow_mut(|sink| {
        if let Some(sink) = sink {
            let now = now();
            // Who does not want to read on does not.
            let _ = writeln!(sink, "{:>9}.{:03} {text}", now.as_secs(), now.subsec_millis());
        }
    });
}

macro_rules! trace {
    ($($text:tt)*) => { $crate::trace::line(format_args!($($text)*)) };
}
pub(crate) use trace;

/// A message is sent or arrives, a disk begins or ends some work: a moment at which a crash makes a difference.
pub fn event() {
    let number = EVENTS.with_borrow_mut(|events| {
        *events += 1;
        *events
    });
    // In its own statement: what is sprung may set another.
    let due = TRAPS.with_borrow_mut(|traps| {
        let at = traps.iter().position(|(due, _)| *due <= number)?;
        Some(traps.swap_remove(at))
    });
    if let Some((_, trap)) = due {
        trap();
    }
}

/// Events so far.
pub fn events() -> u64 {
    EVENTS.with_borrow(|events| *events)
}

/// Does something in the middle of the event that comes so many behind the present one.
pub fn at_event(ahead: u64, trap: impl FnOnce() + 'static) {
    let due = events() + ahead.max(1);
    TRAPS.with_borrow_mut(|traps| traps.push((due, Box::new(trap))));
}

/// The log of the product as lines.
#[derive(Clone, Copy)]
pub struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        line(format_args!("log {}", text.trim_end()));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}
