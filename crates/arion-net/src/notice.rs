//! How a server tells that it will take no more requests on a connection: one byte on a unidirectional stream.

use std::time::Duration;

use quinn::{Connection, VarInt};
use tokio::time::timeout;

/// The byte: no more requests on this connection.
const LEAVING: u8 = 1;
/// Stream code: the server leaves; the request was not looked at.
pub(crate) const LEFT_UNSEEN: VarInt = VarInt::from_u32(4);
/// Connection code: the server has left, and has answered every request that it looked at.
pub(crate) const LEFT: VarInt = VarInt::from_u32(2);
/// Time for a peer to acknowledge the notice. Clients from before there were notices allow no such stream.
const NOTICE: Duration = Duration::from_millis(500);

/// Tells the peer; returns when it knows, or does not say so in time.
pub(crate) async fn announce(connection: Connection) {
    let told = async {
        let mut stream = connection.open_uni().await.ok()?;
        stream.write_all(&[LEAVING]).await.ok()?;
        stream.finish().ok()?;
        stream.stopped().await.ok()
    };
    let _ = timeout(NOTICE, told).await;
}

/// Returns when the server has announced that it leaves, or is gone.
pub(crate) async fn announced(connection: &Connection) {
    while let Ok(mut stream) = connection.accept_uni().await {
        let mut notice = [0];
        if stream.read_exact(&mut notice).await.is_ok() && notice == [LEAVING] {
            return;
        }
    }
}
