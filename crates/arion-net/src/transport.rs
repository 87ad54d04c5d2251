//! The seam between daemons and whatever carries their messages.

use std::{io, time::Duration};

use arion_protocol::{ErrorCode, FrameError, Request, Response};
use arion_types::NodeId;
use async_trait::async_trait;
use bytes::Bytes;

use crate::relay::{RelayAddrError, RelayError};

/// Who to call, and where.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PeerAddr {
    /// The key the peer must prove.
    pub node_id: NodeId,
    /// `host:port` or `[v6]:port`, or a relay: [`RelayAddr`]. Names are looked up at every new connection.
    ///
    /// [`RelayAddr`]: crate::RelayAddr
    pub endpoint: String,
}

/// Calls other nodes.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Sends `request` with `body` to `peer` and returns its answer, all within `deadline`.
    ///
    /// [`Response::Error`] comes back as [`CallError::Refused`]. Dropping the future abandons the request.
    async fn call(
        &self,
        peer: &PeerAddr,
        request: Request,
        body: Bytes,
        deadline: Duration,
    ) -> Result<(Response, Bytes), CallError>;
}

/// Answers other nodes.
#[async_trait]
pub trait Service: Send + Sync + 'static {
    /// Whether this node works for `peer`. Strangers share a small part of a server, and nothing but the header of their
    /// requests is read. Asked for every request; everybody is known where the service does not say.
    fn knows(&self, _peer: &NodeId) -> bool {
        true
    }

    /// Answers one request of `peer`, who has proven that node id. Refusals are [`Response::Error`].
    async fn serve(&self, peer: NodeId, request: Request, body: Bytes) -> (Response, Bytes);
}

/// Why a call brought no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    /// No connection, or it broke.
    #[error("{endpoint} is unreachable: {reason}")]
    Unreachable {
        /// The address.
        endpoint: String,
        /// What went wrong.
        reason: DialError,
    },
    /// The deadline passed.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// Somebody else answers at this address.
    #[error("peer proved key {presented} where {expected} was expected")]
    WrongIdentity {
        /// Who was called.
        expected: NodeId,
        /// Who was there.
        presented: NodeId,
    },
    /// The peer broke the protocol.
    #[error("protocol violation: {0}")]
    Protocol(#[from] ProtocolError),
    /// The peer refused.
    #[error("refused: {code} ({detail})")]
    Refused {
        /// Why, for programs.
        code: ErrorCode,
        /// Why, for people; written by the peer.
        detail: String,
    },
}

/// Why there is no connection.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DialError {
    /// The host name does not resolve, or the endpoint is not `host:port`.
    #[error("address lookup failed: {0}")]
    Lookup(io::ErrorKind),
    /// The lookup gave no address.
    #[error("name has no address")]
    NoAddress,
    /// QUIC does not accept the address.
    #[error("cannot dial: {0}")]
    Connect(#[from] quinn::ConnectError),
    /// Nobody answered in time.
    #[error("no answer to the handshake within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The peer runs another version of the protocol.
    #[error("the peer speaks no version of the protocol that this node speaks: update the older one")]
    NoCommonVersion,
    /// Refused, broken off, or lost later.
    #[error("connection lost: {0}")]
    Lost(quinn::ConnectionError),
    /// The endpoint begins as one behind a relay and is none.
    #[error(transparent)]
    RelayAddr(#[from] RelayAddrError),
    /// The relay does not help.
    #[error(transparent)]
    Relay(#[from] RelayError),
    /// This in-memory network has nobody at the address.
    #[error("nobody listens there")]
    NobodyThere,
}

impl From<quinn::ConnectionError> for DialError {
    fn from(error: quinn::ConnectionError) -> Self {
        use quinn::ConnectionError::{ConnectionClosed, TransportError};
        let code = match &error {
            TransportError(error) => error.code,
            ConnectionClosed(close) => close.error_code,
            _ => return Self::Lost(error),
        };
        match code == quinn::TransportErrorCode::crypto(NO_APPLICATION_PROTOCOL) {
            true => Self::NoCommonVersion,
            false => Self::Lost(error),
        }
    }
}

/// The TLS alert of who finds no version of the protocol in common.
const NO_APPLICATION_PROTOCOL: u8 = 120;

/// How a peer broke the protocol.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProtocolError {
    /// A frame beyond the caps, or one that does not decode.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The stream ended before the announced length.
    #[error("stream ended early")]
    EndedEarly,
    /// The stream went on behind the announced length.
    #[error("bytes behind the announced length")]
    TrailingBytes,
    /// The stream was reset.
    #[error("stream reset with code {0}")]
    Reset(u64),
    /// The answer carries another request's id.
    #[error("answer to another request")]
    WrongId,
    /// A request that is not a read came as early data, where it could be a replay.
    #[error("only reads may be sent before the handshake is done")]
    TooEarly,
    /// A peer that the node does not work for announced a body.
    #[error("this node takes bodies from nodes with a role on the chain only: register this key first")]
    BodyOfStranger,
    /// A body longer than `u32::MAX` was to be sent.
    #[error("body too long to be announced")]
    BodyTooLong,
}

impl ProtocolError {
    /// What a server answers to a request that breaks the protocol like this.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::Frame(error) => error.code(),
            Self::TooEarly => ErrorCode::TooEarly,
            Self::BodyOfStranger => ErrorCode::NotRegistered,
            Self::EndedEarly | Self::TrailingBytes | Self::Reset(_) | Self::WrongId | Self::BodyTooLong => {
                ErrorCode::Malformed
            }
        }
    }
}

/// Whether a request may be sent a second time without asking its author: it changes nothing, or repeating it
/// changes nothing more. Signed requests carry a nonce or a time that the peer accepts once.
pub fn is_repeatable(request: &Request) -> bool {
    match request {
        Request::Store(_) | Request::Delete(_) | Request::Restore(_) | Request::Heartbeat(_) => false,
        Request::Ping
        | Request::Fetch { .. }
        | Request::FetchRange { .. }
        | Request::Stat { .. }
        | Request::List { .. }
        | Request::Challenge { .. }
        | Request::LedgerPage { .. }
        | Request::LedgerSince { .. }
        | Request::LedgerFrom { .. }
        | Request::Miners { .. }
        | Request::Custody { .. }
        | Request::Durability
        | Request::Unnamed { .. }
        | Request::UnnamedByOthers { .. }
        | Request::Transitions { .. }
        | Request::LedgerBase
        | Request::Attest
        | Request::AttestShown
        | Request::Relocated { .. } => true,
    }
}

/// Splits refusals from answers.
pub(crate) fn answer(response: Response, body: Bytes) -> Result<(Response, Bytes), CallError> {
    match response {
        Response::Error { code, detail } => Err(CallError::Refused { code, detail }),
        response => Ok((response, body)),
    }
}
