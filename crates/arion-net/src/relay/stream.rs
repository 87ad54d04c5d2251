//! One message each way on one stream of a connection to a relay.

use arion_protocol::relay::{RELAY_MESSAGE_BYTES_MAX, RelayAnswer, decode_relay_message};
use codec::{Decode, Encode};
use quinn::{Connection, ConnectionError, RecvStream, SendStream};

use super::RelayError;
use crate::transport::DialError;

/// Asks, and waits for the answer. A refusal is an error.
pub(super) async fn ask<M: Encode>(connection: &Connection, message: &M) -> Result<RelayAnswer, DialError> {
    let (mut send, mut recv) = connection.open_bi().await?;
    let lost = || connection.close_reason().unwrap_or(ConnectionError::Reset);
    send.write_all(&message.encode()).await.map_err(|_| broken(connection))?;
    send.finish().map_err(|_| lost())?;
    match read(&mut recv).await {
        Some(RelayAnswer::Refused { code }) => Err(RelayError::Refused(code).into()),
        Some(answer) => Ok(answer),
        None => Err(broken(connection)),
    }
}

/// The connection is gone, or else the other side does not keep to the protocol.
fn broken(connection: &Connection) -> DialError {
    connection.close_reason().map_or(RelayError::Protocol.into(), DialError::Lost)
}

/// The message that a stream holds; none if it does not hold exactly one.
pub(super) async fn read<M: Decode>(recv: &mut RecvStream) -> Option<M> {
    let bytes = recv.read_to_end(RELAY_MESSAGE_BYTES_MAX).await.ok()?;
    decode_relay_message(&bytes)
}

/// Sends an answer; who does not take it does not get it.
pub(super) async fn answer(send: &mut SendStream, answer: &RelayAnswer) {
    if send.write_all(&answer.encode()).await.is_ok() {
        let _ = send.finish();
    }
}
