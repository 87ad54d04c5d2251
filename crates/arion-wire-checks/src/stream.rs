//! A running server that is fed with bytes: it gives exactly the answer that docs/spec/wire.md says, and lives on.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use arion_net::{QuicServer, Service};
use arion_protocol::{
    ErrorCode, Request, RequestHeader, Response, ResponseHeader,
    frame::{Header, PREFIX_BYTES, header_len},
};
use arion_types::NodeId;
use async_trait::async_trait;
use bytes::Bytes;
use codec::Encode;
use quinn::Connection;
use tokio::{runtime::Runtime, time::timeout};

use crate::raw::{Shown, client, connect, exchange, key, loopback};

const DEADLINE: Duration = Duration::from_secs(20);

/// Answers everything that it is asked with the same clock.
struct Clock;

#[async_trait]
impl Service for Clock {
    async fn serve(&self, _: NodeId, _: Request, _: Bytes) -> (Response, Bytes) {
        (Response::Pong { now: 7 }, Bytes::new())
    }
}

/// A server and a connection to it that outlive all inputs.
struct Fed {
    runtime: Runtime,
    _server: QuicServer,
    connection: Connection,
}

static FED: LazyLock<Fed> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (server, connection) = runtime.block_on(async {
        let server = QuicServer::bind(loopback(), &key(1), Arc::new(Clock)).unwrap();
        let config = client(Some(&Shown::honest(2)), &["arion/1"]).unwrap();
        let connection = connect(server.local_addr(), config).await.unwrap();
        (server, connection)
    });
    Fed { runtime, _server: server, connection }
});

/// What the input stands for on the stream: the first byte says how much of the frame is made right.
fn on_the_stream(bytes: &[u8]) -> Vec<u8> {
    let (mode, rest) = bytes.split_first().unwrap_or((&0, &[]));
    let framed =
        |header: Vec<u8>, body: &[u8]| [&(header.len() as u32).to_le_bytes()[..], &header, body].concat();
    match mode % 4 {
        0 => rest.to_vec(),
        // The length of the header is right.
        1 => framed(rest.to_vec(), &[]),
        // The envelope too.
        2 => {
            let (kind, fields) = rest.split_first().unwrap_or((&0, &[]));
            framed([(9u64, 0u32, kind % (Request::KINDS + 2)).encode(), fields.to_vec()].concat(), &[])
        }
        // A good header; the body may have another length than it says.
        _ => {
            let (announced, body) = rest.split_first().unwrap_or((&0, &[]));
            let header = RequestHeader { id: 9, body_len: u32::from(*announced), request: Request::Ping };
            framed(header.encode(), body)
        }
    }
}

/// The id and, where it is a refusal, the code that the server must answer.
fn expected(stream: &[u8]) -> (u64, Option<ErrorCode>) {
    let malformed = (0, Some(ErrorCode::Malformed));
    let Some((prefix, rest)) = stream.split_first_chunk::<PREFIX_BYTES>() else { return malformed };
    let Ok(length) = header_len(*prefix) else { return malformed };
    let Some((header, body)) = rest.split_at_checked(length) else { return malformed };
    match RequestHeader::from_bytes(header) {
        Err(rejection) => (rejection.id, Some(rejection.error.code())),
        Ok(header) if header.body_len as usize != body.len() => (header.id, Some(ErrorCode::Malformed)),
        Ok(header) => (header.id, None),
    }
}

/// Puts the bytes on a stream of a connection that stays the same over all inputs.
pub fn feed(bytes: &[u8]) -> bool {
    let stream = on_the_stream(bytes);
    let fed = &*FED;
    let answered =
        fed.runtime.block_on(async { timeout(DEADLINE, exchange(&fed.connection, &stream)).await });
    let answer = answered.expect("an answer in time").expect("an answer on a connection that lives");
    let (prefix, rest) = answer.split_first_chunk::<PREFIX_BYTES>().unwrap();
    assert_eq!(header_len(*prefix), Ok(rest.len()));
    let header = ResponseHeader::from_bytes(rest).unwrap();
    let code = match header.response {
        Response::Pong { now: 7 } => None,
        Response::Error { code, .. } => Some(code),
        other => panic!("{other:?} was never answered"),
    };
    assert_eq!((header.id, code), expected(&stream));
    code.is_none()
}
