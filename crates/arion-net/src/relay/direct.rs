//! From the relay to a direct path.

use std::{sync::Arc, time::Duration};

use arion_types::NodeId;
use quinn::Connection;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::Relayed;
use crate::{client::Shared, transport::PeerAddr};

/// Pauses before the attempts to find a direct path; the last one is repeated while the relayed connection lives.
const PAUSES: [Duration; 4] =
    [Duration::ZERO, Duration::from_secs(10), Duration::from_secs(60), Duration::from_secs(600)];
/// Time for the relay to tell the address, and the node to open its NAT.
const ASK: Duration = Duration::from_secs(5);

/// Looks for a direct path to a node that was reached through a relay. Calls that begin after it is found take it; those
/// under way stay where they are.
pub(crate) async fn prefer_direct(client: Arc<Shared>, peer: PeerAddr, relayed: Relayed) {
    let relayed_connection = relayed.connection.clone();
    tokio::select! {
        _ = relayed_connection.closed() => {}
        connection = find(&client, peer.node_id, &relayed) => {
            debug!(peer = %peer.node_id, remote = %connection.remote_address(), "direct path found");
            client.pool.peer(&peer).await.record(&Ok(connection));
        }
    }
}

/// Ends with a direct connection to the node.
async fn find(client: &Shared, node_id: NodeId, relayed: &Relayed) -> Connection {
    let pauses = PAUSES.into_iter().chain(std::iter::repeat(PAUSES[PAUSES.len() - 1]));
    for pause in pauses {
        sleep(pause).await;
        let address = match timeout(ASK, relayed.direct_address()).await {
            Ok(Ok(address)) => address,
            Ok(Err(error)) => {
                debug!(peer = %node_id, %error, "no direct address");
                continue;
            }
            Err(_) => continue,
        };
        let check = client.tls().peer_check(node_id);
        match timeout(client.options.dial_timeout, client.connect_at(address, &check)).await {
            Ok(Ok(connection)) => return connection,
            Ok(Err(error)) => debug!(peer = %node_id, %address, %error, "no direct path"),
            Err(_) => debug!(peer = %node_id, %address, "no direct path: no answer"),
        }
    }
    std::future::pending().await
}
