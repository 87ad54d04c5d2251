//! Frames: header length, header, body. Encoding and decoding without IO.

use codec::{Decode, DecodeAll, Encode};

use crate::{
    error::ErrorCode,
    limits::{BODY_BYTES_MAX, ERROR_DETAIL_BYTES_MAX, HEADER_BYTES_MAX},
    message::{Request, Response},
};

/// Bytes before the header: its length, u32 little-endian.
pub const PREFIX_BYTES: usize = 4;

/// Header of a request.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct RequestHeader {
    /// Chosen by the client; comes back in the response and in logs.
    pub id: u64,
    /// The question.
    pub request: Request,
    /// Bytes of body that follow.
    pub body_len: u32,
}

/// Header of a response.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ResponseHeader {
    /// The request's id.
    pub id: u64,
    /// The answer.
    pub response: Response,
    /// Bytes of body that follow.
    pub body_len: u32,
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
    /// Not the SCALE encoding of a header.
    #[error("header does not decode")]
    Undecodable,
}

/// A header on the wire.
pub trait Header: Encode + Decode {
    /// Bytes of body that follow.
    fn body_len(&self) -> u32;

    /// Length prefix and header.
    fn to_frame(&self) -> Result<Vec<u8>, FrameError> {
        if self.body_len() > BODY_BYTES_MAX {
            return Err(FrameError::BodyTooLong(self.body_len()));
        }
        let length = u32::try_from(self.encoded_size()).unwrap_or(u32::MAX);
        header_len(length.to_le_bytes())?;
        let mut frame = Vec::with_capacity(PREFIX_BYTES + length as usize);
        frame.extend_from_slice(&length.to_le_bytes());
        self.encode_to(&mut frame);
        Ok(frame)
    }

    /// The header from exactly its bytes.
    fn from_bytes(bytes: &[u8]) -> Result<Self, FrameError> {
        let header = Self::decode_all(&mut &bytes[..]).map_err(|_| FrameError::Undecodable)?;
        if header.body_len() > BODY_BYTES_MAX {
            return Err(FrameError::BodyTooLong(header.body_len()));
        }
        Ok(header)
    }
}

/// Length of the header announced by a prefix, if it is within the limit.
pub fn header_len(prefix: [u8; PREFIX_BYTES]) -> Result<usize, FrameError> {
    match u32::from_le_bytes(prefix) {
        length if length > HEADER_BYTES_MAX => Err(FrameError::HeaderTooLong(length)),
        length => Ok(length as usize),
    }
}

impl Header for RequestHeader {
    fn body_len(&self) -> u32 {
        self.body_len
    }
}

impl Header for ResponseHeader {
    fn body_len(&self) -> u32 {
        self.body_len
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
    use crate::{Action, Command, SignedCommand};
    use arion_types::{NodeId, ShardHash};
    use proptest::prelude::*;

    #[test]
    fn a_frame_round_trips() {
        let header =
            RequestHeader { id: 1, request: Request::LedgerPage { after: 2, limit: 3 }, body_len: 4 };
        let frame = header.to_frame().unwrap();
        let (prefix, bytes) = frame.split_at(PREFIX_BYTES);
        assert_eq!(header_len(prefix.try_into().unwrap()), Ok(bytes.len()));
        assert_eq!(RequestHeader::from_bytes(bytes), Ok(header));
        assert_eq!(hex::encode(&frame), "170000000100000000000000090200000000000000030004000000");
    }

    /// Nodes of different versions talk to each other: these bytes never change.
    #[test]
    fn deletion_and_restoration_are_frozen() {
        let signed = |action| {
            let (shard, target, signer) = (ShardHash([2; 32]), NodeId([3; 32]), NodeId([4; 32]));
            let command = Command { action, shard, target, nonce: [5; 16], expires_at: 6 };
            SignedCommand { command, signer, signature: [7; 64] }
        };
        let text = |request| hex::encode(RequestHeader { id: 1, request, body_len: 0 }.to_frame().unwrap());
        let rest = [
            "02".repeat(32),
            "03".repeat(32),
            "05".repeat(16),
            "0600000000000000".to_owned(),
            "04".repeat(32),
            "07".repeat(64),
            "00000000".to_owned(),
        ]
        .concat();
        assert_eq!(
            text(Request::Delete(signed(Action::Delete))),
            format!("c600000001000000000000000601{rest}")
        );
        assert_eq!(
            text(Request::Restore(signed(Action::Restore))),
            format!("c600000001000000000000000c02{rest}")
        );
        let answer = ResponseHeader { id: 1, response: Response::Restored { exists: true }, body_len: 0 };
        assert_eq!(hex::encode(answer.to_frame().unwrap()), "0e00000001000000000000000c0100000000");
    }

    /// A node that does not know a request refuses the header, which its sender is told as `Malformed`.
    #[test]
    fn an_unknown_request_does_not_decode() {
        let mut header = RequestHeader { id: 1, request: Request::Ping, body_len: 0 }.encode();
        header[8] = 200;
        assert_eq!(RequestHeader::from_bytes(&header), Err(FrameError::Undecodable));
    }

    #[test]
    fn caps_and_trailing_bytes_are_enforced() {
        assert_eq!(header_len(u32::MAX.to_le_bytes()), Err(FrameError::HeaderTooLong(u32::MAX)));
        let header =
            ResponseHeader { id: 1, response: Response::Pong { now: 2 }, body_len: BODY_BYTES_MAX + 1 };
        assert_eq!(header.to_frame(), Err(FrameError::BodyTooLong(BODY_BYTES_MAX + 1)));
        assert_eq!(
            ResponseHeader::from_bytes(&header.encode()),
            Err(FrameError::BodyTooLong(BODY_BYTES_MAX + 1))
        );
        let mut trailing = RequestHeader { id: 1, request: Request::Ping, body_len: 0 }.encode();
        trailing.push(0);
        assert_eq!(RequestHeader::from_bytes(&trailing), Err(FrameError::Undecodable));
    }

    #[test]
    fn long_error_details_are_cut_at_a_character() {
        let Response::Error { detail, .. } = Response::error(ErrorCode::Busy, "é".repeat(400)) else {
            panic!("an error is an error");
        };
        assert_eq!(detail, "é".repeat(ERROR_DETAIL_BYTES_MAX / 2));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = RequestHeader::from_bytes(&bytes);
            let _ = ResponseHeader::from_bytes(&bytes);
        }
    }
}
