//! Frames: header length, header, body. Encoding and decoding without IO.
//!
//! A header begins with the same [`ENVELOPE_BYTES`] whatever it carries, so that a node can answer a kind it has never
//! heard of under the right id. How messages may change is said in docs/spec/wire.md, "How the protocol grows".

use codec::{Compact, Decode, Encode};

use crate::{
    error::ErrorCode,
    limits::{BODY_BYTES_MAX, ERROR_DETAIL_BYTES_MAX, HEADER_BYTES_MAX},
    message::{Request, Response},
};

/// Bytes before the header: its length, u32 little-endian.
pub const PREFIX_BYTES: usize = 4;
/// Bytes at the beginning of every header: id, body length, kind.
pub const ENVELOPE_BYTES: usize = 13;

/// What every header begins with, whatever follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Envelope {
    /// Id of the request.
    pub id: u64,
    /// Bytes of body that follow the header.
    pub body_len: u32,
    /// Which request or response it is.
    pub kind: u8,
}

/// Header of a request.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct RequestHeader {
    /// Chosen by the client, not 0; comes back in the response and in logs.
    pub id: u64,
    /// Bytes of body that follow.
    pub body_len: u32,
    /// The question.
    pub request: Request,
}

/// Header of a response.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ResponseHeader {
    /// The request's id; 0 where that could not be read.
    pub id: u64,
    /// Bytes of body that follow.
    pub body_len: u32,
    /// The answer.
    pub response: Response,
}

/// Why a frame is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// Longer than [`HEADER_BYTES_MAX`].
    #[error("header of {0} bytes is over the limit of {HEADER_BYTES_MAX}")]
    HeaderTooLong(u32),
    /// Longer than [`BODY_BYTES_MAX`].
    #[error("body of {0} bytes is over the limit of {BODY_BYTES_MAX}")]
    BodyTooLong(u32),
    /// A list with more items, or a text with more bytes, than its kind may have.
    #[error("list of {count} is over the limit of {max} of its kind")]
    ListTooLong {
        /// Items announced.
        count: u32,
        /// Items allowed.
        max: u32,
    },
    /// A kind of a later version: update this node, or do without.
    #[error("kind {0} is not known to this version")]
    UnknownKind(u8),
    /// A known kind with this many bytes behind the fields of this version: update this node, or leave them out.
    #[error("{0} bytes behind the fields that this version knows")]
    UnknownFields(u32),
    /// Not the SCALE encoding of a header.
    #[error("header does not decode")]
    Undecodable,
}

impl FrameError {
    /// What a server answers to such a frame.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownKind(_) | Self::UnknownFields(_) => ErrorCode::Unsupported,
            Self::HeaderTooLong(_) | Self::BodyTooLong(_) | Self::ListTooLong { .. } | Self::Undecodable => {
                ErrorCode::Malformed
            }
        }
    }
}

/// A header that is refused, and what its envelope says for the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{error}")]
pub struct Rejection {
    /// Id of the request; 0 where the header is shorter than an [`Envelope`].
    pub id: u64,
    /// Why.
    #[source]
    pub error: FrameError,
}

/// The list of a kind that has one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListLimit {
    /// Where its length stands, in bytes behind the envelope.
    pub offset: usize,
    /// Most items.
    pub max: u32,
}

/// A header on the wire.
pub trait Header: Encode + Decode {
    /// Kinds are numbered below this, without gaps.
    const KINDS: u8;

    /// Bytes of body that follow.
    fn body_len(&self) -> u32;

    /// The list in the fields of `kind`, where it has one.
    fn list_limit(kind: u8) -> Option<ListLimit>;

    /// Length prefix and header.
    fn to_frame(&self) -> Result<Vec<u8>, FrameError> {
        let length = u32::try_from(self.encoded_size()).unwrap_or(u32::MAX);
        let bytes = PREFIX_BYTES.saturating_add(header_len(length.to_le_bytes())?);
        let mut frame = Vec::with_capacity(bytes);
        frame.extend_from_slice(&length.to_le_bytes());
        self.encode_to(&mut frame);
        let header = frame.get(PREFIX_BYTES..).unwrap_or_default();
        check_caps::<Self>(header).map_err(|rejection| rejection.error)?;
        Ok(frame)
    }

    /// The header from exactly its bytes. Memory is taken only for what is within the caps.
    fn from_bytes(bytes: &[u8]) -> Result<Self, Rejection> {
        let envelope = check_caps::<Self>(bytes)?;
        let refuse = |error| Rejection { id: envelope.id, error };
        let mut rest = bytes;
        let header = Self::decode(&mut rest).map_err(|_| refuse(FrameError::Undecodable))?;
        match rest.len() {
            0 => Ok(header),
            more => Err(refuse(FrameError::UnknownFields(u32::try_from(more).unwrap_or(u32::MAX)))),
        }
    }
}

/// What can be judged before anything of variable length is decoded.
fn check_caps<H: Header>(header: &[u8]) -> Result<Envelope, Rejection> {
    let mut fields = header;
    let envelope =
        Envelope::decode(&mut fields).map_err(|_| Rejection { id: 0, error: FrameError::Undecodable })?;
    let refuse = |error| Err(Rejection { id: envelope.id, error });
    if envelope.kind >= H::KINDS {
        return refuse(FrameError::UnknownKind(envelope.kind));
    }
    if envelope.body_len > BODY_BYTES_MAX {
        return refuse(FrameError::BodyTooLong(envelope.body_len));
    }
    if let Some(ListLimit { offset, max }) = H::list_limit(envelope.kind) {
        match Compact::<u32>::decode(&mut fields.get(offset..).unwrap_or_default()) {
            Ok(Compact(count)) if count > max => return refuse(FrameError::ListTooLong { count, max }),
            Ok(_) => {}
            Err(_) => return refuse(FrameError::Undecodable),
        }
    }
    Ok(envelope)
}

/// Length of the header announced by a prefix, if it is within the limit.
pub fn header_len(prefix: [u8; PREFIX_BYTES]) -> Result<usize, FrameError> {
    match u32::from_le_bytes(prefix) {
        length if length > HEADER_BYTES_MAX => Err(FrameError::HeaderTooLong(length)),
        length => Ok(length as usize),
    }
}

impl Header for RequestHeader {
    const KINDS: u8 = Request::KINDS;

    fn body_len(&self) -> u32 {
        self.body_len
    }

    fn list_limit(kind: u8) -> Option<ListLimit> {
        Request::list_limit(kind)
    }
}

impl Header for ResponseHeader {
    const KINDS: u8 = Response::KINDS;

    fn body_len(&self) -> u32 {
        self.body_len
    }

    fn list_limit(kind: u8) -> Option<ListLimit> {
        Response::list_limit(kind)
    }
}

impl Response {
    /// A refusal; `detail` is cut to [`ERROR_DETAIL_BYTES_MAX`] at a character boundary.
    pub fn error(code: ErrorCode, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        let end =
            (0..=ERROR_DETAIL_BYTES_MAX.min(detail.len())).rev().find(|end| detail.is_char_boundary(*end));
        detail.truncate(end.unwrap_or(0));
        Self::Error { code, detail }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::STAT_SHARDS_MAX;
    use arion_types::ShardHash;

    fn ping() -> RequestHeader {
        RequestHeader { id: 7, body_len: 0, request: Request::Ping }
    }

    #[test]
    fn a_frame_round_trips() {
        let header =
            RequestHeader { id: 1, body_len: 4, request: Request::LedgerPage { after: 2, limit: 3 } };
        let frame = header.to_frame().unwrap();
        let (prefix, bytes) = frame.split_at(PREFIX_BYTES);
        assert_eq!(header_len(prefix.try_into().unwrap()), Ok(bytes.len()));
        assert_eq!(RequestHeader::from_bytes(bytes), Ok(header));
    }

    /// The envelope is what an old node reads of a new message.
    #[test]
    fn an_unknown_kind_is_told_apart_and_keeps_its_id() {
        for kind in Request::KINDS..=u8::MAX {
            let bytes = (7u64, 5u32, kind, [0xaa; 40]).encode();
            let error = FrameError::UnknownKind(kind);
            assert_eq!(RequestHeader::from_bytes(&bytes), Err(Rejection { id: 7, error }));
            assert_eq!(error.code(), ErrorCode::Unsupported);
        }
    }

    #[test]
    fn appended_fields_are_told_apart_and_keep_their_id() {
        let mut bytes = ping().encode();
        bytes.extend_from_slice(&[1, 2, 3]);
        let error = FrameError::UnknownFields(3);
        assert_eq!(RequestHeader::from_bytes(&bytes), Err(Rejection { id: 7, error }));
        assert_eq!(error.code(), ErrorCode::Unsupported);
    }

    #[test]
    fn fields_that_do_not_decode_are_malformed_and_keep_their_id() {
        let bytes = (7u64, 0u32, 5u8, 2u8).encode();
        let rejection = RequestHeader::from_bytes(&bytes).unwrap_err();
        assert_eq!(rejection, Rejection { id: 7, error: FrameError::Undecodable });
        assert_eq!(rejection.error.code(), ErrorCode::Malformed);
    }

    #[test]
    fn less_than_an_envelope_has_no_id() {
        let bytes = ping().encode();
        assert_eq!(bytes.len(), ENVELOPE_BYTES);
        let rejection = RequestHeader::from_bytes(&bytes[..ENVELOPE_BYTES - 1]).unwrap_err();
        assert_eq!(rejection, Rejection { id: 0, error: FrameError::Undecodable });
    }

    #[test]
    fn caps_are_enforced_both_ways() {
        assert_eq!(header_len(u32::MAX.to_le_bytes()), Err(FrameError::HeaderTooLong(u32::MAX)));
        let long_body = RequestHeader { body_len: BODY_BYTES_MAX + 1, ..ping() };
        let error = FrameError::BodyTooLong(BODY_BYTES_MAX + 1);
        assert_eq!(long_body.to_frame(), Err(error));
        assert_eq!(RequestHeader::from_bytes(&long_body.encode()), Err(Rejection { id: 7, error }));

        let shards = vec![ShardHash([1; 32]); STAT_SHARDS_MAX + 1];
        let long_list = RequestHeader { request: Request::Stat { shards }, ..ping() };
        let (count, max) = (STAT_SHARDS_MAX as u32 + 1, STAT_SHARDS_MAX as u32);
        let error = FrameError::ListTooLong { count, max };
        assert_eq!(long_list.to_frame(), Err(error));
        assert_eq!(RequestHeader::from_bytes(&long_list.encode()), Err(Rejection { id: 7, error }));
        assert_eq!(error.code(), ErrorCode::Malformed);

        let shards = vec![ShardHash([1; 32]); HEADER_BYTES_MAX as usize / 32];
        let long_header = RequestHeader { request: Request::Stat { shards }, ..ping() };
        assert!(matches!(long_header.to_frame(), Err(FrameError::HeaderTooLong(_))));
    }

    #[test]
    fn a_detail_over_its_limit_is_refused() {
        let detail = "x".repeat(ERROR_DETAIL_BYTES_MAX + 1);
        let header = ResponseHeader {
            id: 1,
            body_len: 0,
            response: Response::Error { code: ErrorCode::Busy, detail },
        };
        let (count, max) = (ERROR_DETAIL_BYTES_MAX as u32 + 1, ERROR_DETAIL_BYTES_MAX as u32);
        let error = FrameError::ListTooLong { count, max };
        assert_eq!(ResponseHeader::from_bytes(&header.encode()), Err(Rejection { id: 1, error }));
    }

    #[test]
    fn long_error_details_are_cut_at_a_character() {
        let Response::Error { detail, .. } = Response::error(ErrorCode::Busy, "é".repeat(400)) else {
            panic!("an error is an error");
        };
        assert_eq!(detail, "é".repeat(ERROR_DETAIL_BYTES_MAX / 2));
    }
}
