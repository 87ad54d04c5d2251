//! Requests to a relay.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arion_protocol::{
    ErrorCode,
    relay::{RelayAnswer, RelayOrder, RelayRequest},
};
use arion_types::NodeId;
use quinn::{RecvStream, SendStream, VarInt};
use tokio::time::timeout;
use tracing::{debug, info};

use super::{State, channel::Channel, channel::Peer};
use crate::relay::stream::{answer, ask, read};

/// Time for a request to arrive.
const REQUEST: Duration = Duration::from_secs(5);
/// Time for an attached node to open its NAT.
const PUNCH: Duration = Duration::from_secs(3);

/// Reads one request and answers it.
pub(super) async fn serve(state: Arc<State>, peer: Arc<Peer>, mut send: SendStream, mut recv: RecvStream) {
    let Ok(request) = timeout(REQUEST, read::<RelayRequest>(&mut recv)).await else {
        let _ = send.reset(VarInt::from_u32(0));
        return;
    };
    let done = match request {
        None => Err(ErrorCode::Malformed),
        Some(RelayRequest::Attach) => attach(&state, &peer),
        Some(RelayRequest::Reach { target }) => reach(&state, &peer, &target),
        Some(RelayRequest::Direct { channel }) => direct(&state, &peer, channel).await,
        Some(RelayRequest::Close { channel }) => close(&peer, channel),
    };
    let reply = done.unwrap_or_else(|code| {
        state.counters.refused();
        debug!(node = %peer.node, %code, "request refused");
        RelayAnswer::Refused { code }
    });
    answer(&mut send, &reply).await;
}

fn attach(state: &State, peer: &Arc<Peer>) -> Result<RelayAnswer, ErrorCode> {
    state.admission.may_attach(&peer.node)?;
    state.attach(peer);
    // The connection may have ended meanwhile: its place is then cleared by nobody else.
    if peer.connection.close_reason().is_some() {
        state.leave(peer);
        return Err(ErrorCode::Unavailable);
    }
    let remote = peer.connection.remote_address();
    info!(node = %peer.node, %remote, "attached");
    Ok(RelayAnswer::Attached { observed: remote.into() })
}

fn reach(state: &State, peer: &Arc<Peer>, target: &NodeId) -> Result<RelayAnswer, ErrorCode> {
    state.admission.may_reach(&peer.node)?;
    let attached = state.attached().get(target).cloned().ok_or(ErrorCode::NotFound)?;
    if Arc::ptr_eq(&attached, peer) {
        return Err(ErrorCode::Malformed);
    }
    let channel = state.next_channel();
    if !Channel::open(channel, peer, &attached, &state.options, state.counters.channel()) {
        return Err(ErrorCode::Busy);
    }
    Ok(RelayAnswer::Reached { channel })
}

/// The other end of a channel that this connection opened.
fn opened(peer: &Peer, number: u32) -> Result<(Channel, Arc<Peer>), ErrorCode> {
    let channel = peer.channel(number).filter(|channel| channel.opened_here).ok_or(ErrorCode::NotFound)?;
    let other = channel.other().ok_or(ErrorCode::NotFound)?;
    Ok((channel, other))
}

async fn direct(state: &State, peer: &Arc<Peer>, number: u32) -> Result<RelayAnswer, ErrorCode> {
    if !state.options.direct {
        return Err(ErrorCode::Unsupported);
    }
    let (channel, attached) = opened(peer, number)?;
    if !channel.may_ask_direct(state.options.direct_pause, Instant::now()) {
        return Err(ErrorCode::Busy);
    }
    let order = RelayOrder::Punch { address: peer.connection.remote_address().into() };
    match timeout(PUNCH, ask(&attached.connection, &order)).await {
        Ok(Ok(RelayAnswer::Done)) => {
            Ok(RelayAnswer::Direct { address: attached.connection.remote_address().into() })
        }
        _ => Err(ErrorCode::Unavailable),
    }
}

fn close(peer: &Arc<Peer>, number: u32) -> Result<RelayAnswer, ErrorCode> {
    let (channel, _) = opened(peer, number)?;
    if peer.remove(number).is_some() {
        channel.close_other_end(number);
    }
    Ok(RelayAnswer::Done)
}
