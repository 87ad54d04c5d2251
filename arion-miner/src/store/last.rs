//! The file in which the log goes on after a start.
//!
//! # Not here
//! Where in it (`recover`).

use std::{io, sync::Arc};

use super::{
    checkpoint::{KnownSpan, Position},
    disk::{DiskFile, NoFile},
    layout::{Layout, LayoutError, Span},
    record::{SEGMENT_HEADER_BYTES, StoreKey},
    recover::Recovered,
    writer::is_full,
};

/// The file that is appended to.
pub(super) struct LastFile {
    pub file: Arc<dyn DiskFile>,
    pub span: Span,
    /// Why nothing may be appended, if that is so.
    pub failed: Option<io::Error>,
}

/// Opens the file that is appended to; a new one where there is none, where it was torn while it was made, or where its
/// end cannot be read.
pub(super) fn open_last(
    layout: &Layout,
    key: &StoreKey,
    recovered: &mut Recovered,
) -> Result<LastFile, LayoutError> {
    let position = &mut recovered.position;
    position.offset = position.offset.max(SEGMENT_HEADER_BYTES);
    let last = recovered.spans.last().map(|known| known.span);
    if let Some(span) = last.filter(|_| !recovered.blind) {
        let name = span.name();
        let file = layout.disk.open(&name).map_err(|error| layout.error(&name, error))?;
        if file.length().map_err(|error| layout.error(&name, error))? >= SEGMENT_HEADER_BYTES {
            return Ok(LastFile { file, span, failed: None });
        }
    }
    let span = match last {
        Some(last) if recovered.blind => Span::single(last.last + 1),
        Some(last) => last,
        None => Span::single(position.segment),
    };
    let create = || layout.create_segment(span.first, key);
    let created = match create() {
        Err(error) if is_full(&error) && layout.release_reserve() => create(),
        created => created,
    };
    match (created, last) {
        (Ok(file), _) => {
            if last != Some(span) {
                recovered.spans.push(KnownSpan { span, compacted: 0 });
                *position = Position { segment: span.first, offset: SEGMENT_HEADER_BYTES, ..*position };
            }
            Ok(LastFile { file, span, failed: None })
        }
        // What is stored is read all the same. Nothing will be appended.
        (Err(error), Some(span)) => Ok(LastFile { file: Arc::new(NoFile), span, failed: Some(error) }),
        (Err(error), None) => Err(layout.error(&span.name(), error)),
    }
}
