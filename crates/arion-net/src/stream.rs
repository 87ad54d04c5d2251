//! One request or response on one QUIC stream.

use arion_protocol::{
    Rejection,
    frame::{self, Header, PREFIX_BYTES},
};
use bytes::Bytes;
use quinn::{ReadError, ReadExactError, RecvStream, SendStream, VarInt, WriteError};

use crate::transport::ProtocolError;

/// Stream code: the server has no slot free; the request was not looked at.
pub(crate) const BUSY: VarInt = VarInt::from_u32(1);
/// Stream code: the client no longer wants the answer.
pub(crate) const CANCELLED: VarInt = VarInt::from_u32(2);
/// Stream code: the server has answered and does not need the rest of the request.
pub(crate) const ANSWERED: VarInt = VarInt::from_u32(3);

/// Pieces of packets that are taken from a stream at once.
const CHUNKS: usize = 32;

/// Why a message could not be moved.
#[derive(Debug)]
pub(crate) enum StreamError {
    Lost(quinn::ConnectionError),
    /// The peer stopped reading, with this code.
    Stopped(VarInt),
    /// The header came whole and is refused.
    Rejected(Rejection),
    /// The server did not take early data; it has seen nothing.
    TooEarly,
    Protocol(ProtocolError),
}

impl From<ProtocolError> for StreamError {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}

impl From<WriteError> for StreamError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Stopped(code) => Self::Stopped(code),
            WriteError::ConnectionLost(error) => Self::Lost(error),
            WriteError::ZeroRttRejected => Self::TooEarly,
            WriteError::ClosedStream => Self::Protocol(ProtocolError::EndedEarly),
        }
    }
}

impl From<ReadError> for StreamError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Reset(code) => Self::Protocol(ProtocolError::Reset(code.into_inner())),
            ReadError::ConnectionLost(error) => Self::Lost(error),
            ReadError::ZeroRttRejected => Self::TooEarly,
            ReadError::ClosedStream | ReadError::IllegalOrderedRead => {
                Self::Protocol(ProtocolError::EndedEarly)
            }
        }
    }
}

impl From<ReadExactError> for StreamError {
    fn from(error: ReadExactError) -> Self {
        match error {
            ReadExactError::FinishedEarly(_) => Self::Protocol(ProtocolError::EndedEarly),
            ReadExactError::ReadError(error) => error.into(),
        }
    }
}

/// Sends an encoded frame and its body, and ends the stream.
pub(crate) async fn send(send: &mut SendStream, frame: Bytes, body: Bytes) -> Result<(), StreamError> {
    send.write_all_chunks(&mut [frame, body]).await?;
    // Fails only where the peer stopped the stream: it will tell why in its answer.
    let _ = send.finish();
    Ok(())
}

/// Reads a header. Its length is checked before memory is taken for it.
pub(crate) async fn read_header<H: Header>(recv: &mut RecvStream) -> Result<H, StreamError> {
    let mut prefix = [0; PREFIX_BYTES];
    recv.read_exact(&mut prefix).await?;
    let mut bytes = vec![0; frame::header_len(prefix).map_err(ProtocolError::Frame)?];
    recv.read_exact(&mut bytes).await?;
    H::from_bytes(&bytes).map_err(StreamError::Rejected)
}

/// Reads the body that a header announced (its length is within the caps) and the end of the stream.
pub(crate) async fn read_body(recv: &mut RecvStream, length: u32) -> Result<Bytes, StreamError> {
    let length = length as usize;
    // Copied once, from the packets to where it stays; many packets at a time.
    let mut body = Vec::with_capacity(length);
    let mut chunks: [Bytes; CHUNKS] = std::array::from_fn(|_| Bytes::new());
    while let Some(count) = recv.read_chunks(&mut chunks).await? {
        for chunk in chunks.iter_mut().take(count).map(std::mem::take) {
            if chunk.len() > length - body.len() {
                return Err(ProtocolError::TrailingBytes.into());
            }
            body.extend_from_slice(&chunk);
        }
    }
    match body.len() == length {
        true => Ok(Bytes::from(body)),
        false => Err(ProtocolError::EndedEarly.into()),
    }
}
