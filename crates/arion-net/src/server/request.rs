//! One request: read within the bounds, served, answered.

use std::sync::{Arc, atomic::Ordering};

use arion_protocol::{ErrorCode, Rejection, RequestHeader, Response, ResponseHeader, frame::Header};
use arion_types::NodeId;
use bytes::Bytes;
use quinn::{RecvStream, SendStream};
use tokio::{sync::OwnedSemaphorePermit, time::timeout};
use tracing::{debug, warn};

use super::{ServerOptions, Shared};
use crate::{
    share::Share,
    stream::{self, ANSWERED, StreamError},
    transport::ProtocolError,
};

/// Room for one request.
pub(super) struct Slot {
    share: Arc<Share>,
    /// Whether the service works for the peer.
    known: bool,
    _of_server: OwnedSemaphorePermit,
    _of_peer: OwnedSemaphorePermit,
}

impl Slot {
    pub(super) fn take(shared: &Shared, share: &Arc<Share>, known: bool) -> Option<Self> {
        if shared.stop.is_cancelled() {
            return None;
        }
        let of_peer = share.requests.clone().try_acquire_owned().ok()?;
        let slots = if known { &shared.slots } else { &shared.stranger_slots };
        let of_server = slots.clone().try_acquire_owned().ok()?;
        Some(Self { share: share.clone(), known, _of_server: of_server, _of_peer: of_peer })
    }
}

/// What keeps a request from being served.
enum ReadFailure {
    /// Worth an answer under this id (0 where the header could not be read).
    Answer(u64, ProtocolError),
    /// The peer is gone or too slow.
    Gone,
}

async fn read_request(
    recv: &mut RecvStream,
    options: &ServerOptions,
    slot: &Slot,
) -> Result<(RequestHeader, Bytes, OwnedSemaphorePermit), ReadFailure> {
    let failure = |id| {
        move |error| match error {
            StreamError::Rejected(Rejection { id, error }) => ReadFailure::Answer(id, error.into()),
            StreamError::Protocol(error) => ReadFailure::Answer(id, error),
            StreamError::Lost(_) | StreamError::Stopped(_) | StreamError::TooEarly => ReadFailure::Gone,
        }
    };
    let header = timeout(options.header_timeout, stream::read_header::<RequestHeader>(recv));
    let header = header.await.map_err(|_| ReadFailure::Gone)?.map_err(failure(0))?;
    // Early data could be somebody's recording of it.
    if recv.is_0rtt() && !header.request.is_read() {
        return Err(ReadFailure::Answer(header.id, ProtocolError::TooEarly));
    }
    if header.body_len > 0 && !slot.known {
        return Err(ReadFailure::Answer(header.id, ProtocolError::BodyOfStranger));
    }
    let body = timeout(options.body_timeout, async {
        let room = slot.share.body_bytes.clone().acquire_many_owned(header.body_len).await;
        let room = room.map_err(|_| ReadFailure::Gone)?;
        let body = stream::read_body(recv, header.body_len).await.map_err(failure(header.id))?;
        Ok((body, room))
    });
    let (body, room) = body.await.map_err(|_| ReadFailure::Gone)??;
    Ok((header, body, room))
}

pub(super) async fn serve_request(
    shared: Arc<Shared>,
    slot: Slot,
    peer: NodeId,
    mut send: SendStream,
    mut recv: RecvStream,
) {
    let (id, response, body) = match read_request(&mut recv, &shared.options, &slot).await {
        Ok((header, body, _room)) => {
            let (response, body) = tokio::select! {
                answer = shared.service.serve(peer, header.request, body) => answer,
                // The peer stopped waiting: so does the work.
                _ = send.stopped() => return,
            };
            (header.id, response, body)
        }
        Err(ReadFailure::Answer(id, error)) => {
            debug!(%peer, %error, "request refused unread");
            let _ = recv.stop(ANSWERED);
            (id, Response::error(error.code(), error.to_string()), Bytes::new())
        }
        Err(ReadFailure::Gone) => {
            let _ = send.reset(ANSWERED);
            return;
        }
    };
    if timeout(shared.options.response_timeout, respond(&mut send, id, response, body)).await.is_err() {
        debug!(%peer, "peer did not take the answer in time");
        shared.unanswered.store(true, Ordering::Relaxed);
        let _ = send.reset(ANSWERED);
    }
    drop(slot);
}

async fn respond(send: &mut SendStream, id: u64, response: Response, body: Bytes) {
    let announced = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let header = ResponseHeader { id, body_len: announced, response };
    let (frame, body) = match header.to_frame() {
        Ok(frame) => (frame, body),
        Err(error) => {
            warn!(%error, "an answer of this node is over the caps of the protocol");
            let response = Response::error(ErrorCode::Unavailable, "answer too long");
            match (ResponseHeader { id, body_len: 0, response }).to_frame() {
                Ok(frame) => (frame, Bytes::new()),
                Err(_) => return,
            }
        }
    };
    if stream::send(send, frame.into(), body).await.is_ok() {
        // Shutdown waits for this task: the answer must have arrived by then.
        let _ = send.stopped().await;
    }
}
