//! An in-memory network with the semantics of the real one: same frames, same caps, same refusals.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arion_protocol::{
    Request, RequestHeader, Response, ResponseHeader,
    frame::{Header, PREFIX_BYTES},
};
use arion_types::NodeId;
use async_trait::async_trait;
use bytes::Bytes;

use crate::transport::{CallError, DialError, PeerAddr, ProtocolError, Service, Transport, answer};

/// Who listens at which endpoint.
type Nodes = HashMap<String, (NodeId, Arc<dyn Service>)>;

/// Nodes by endpoint.
#[derive(Clone, Default)]
pub struct MemoryNetwork {
    nodes: Arc<Mutex<Nodes>>,
}

impl MemoryNetwork {
    /// An empty network.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a node at an endpoint; replaces who was there.
    pub fn listen(&self, endpoint: impl Into<String>, node_id: NodeId, service: Arc<dyn Service>) {
        self.nodes().insert(endpoint.into(), (node_id, service));
    }

    /// Takes the node at an endpoint away; calls to it fail as unreachable.
    pub fn disconnect(&self, endpoint: &str) {
        self.nodes().remove(endpoint);
    }

    /// A caller with this node id.
    pub fn transport(&self, caller: NodeId) -> MemoryTransport {
        MemoryTransport { network: self.clone(), caller }
    }

    fn nodes(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Calls the nodes of a [`MemoryNetwork`].
#[derive(Clone)]
pub struct MemoryTransport {
    network: MemoryNetwork,
    caller: NodeId,
}

/// A message as its receiver sees it after encoding and decoding.
fn carried<H: Header>(header: &H) -> Result<H, ProtocolError> {
    let frame = header.to_frame()?;
    H::from_bytes(&frame[PREFIX_BYTES..]).map_err(|rejection| rejection.error.into())
}

fn announced(body: &Bytes) -> Result<u32, ProtocolError> {
    u32::try_from(body.len()).map_err(|_| ProtocolError::BodyTooLong)
}

#[async_trait]
impl Transport for MemoryTransport {
    async fn call(
        &self,
        peer: &PeerAddr,
        request: Request,
        body: Bytes,
        deadline: Duration,
    ) -> Result<(Response, Bytes), CallError> {
        let found = self.network.nodes().get(&peer.endpoint).cloned();
        let Some((node_id, service)) = found else {
            return Err(CallError::Unreachable {
                endpoint: peer.endpoint.clone(),
                reason: DialError::NobodyThere,
            });
        };
        if node_id != peer.node_id {
            return Err(CallError::WrongIdentity { expected: peer.node_id, presented: node_id });
        }
        let header = carried(&RequestHeader { id: 1, body_len: announced(&body)?, request })?;
        let served = service.serve(self.caller, header.request, body);
        let Ok((response, body)) = tokio::time::timeout(deadline, served).await else {
            return Err(CallError::Timeout(deadline));
        };
        let header = carried(&ResponseHeader { id: 1, body_len: announced(&body)?, response })?;
        answer(header.response, body)
    }
}
