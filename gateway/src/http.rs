//! The HTTP server under the S3 service.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinHandle};

use arion_daemon::Shutdown;

use crate::s3::Front;

/// Most connections served at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 1_024;
/// Longest wait for the header of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause after a connection could not be accepted (no file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The S3 address is taken or not ours.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {addr} for S3: {source}; stop the other process or choose another address with --s3"
)]
pub struct ListenError {
    addr: SocketAddr,
    source: std::io::Error,
}

/// The running server.
#[derive(Debug)]
pub struct S3Server {
    addr: SocketAddr,
    stop: Shutdown,
    task: JoinHandle<()>,
    drain: Duration,
}

impl S3Server {
    /// Listens and answers from here on. Requests under way get `drain` when it stops.
    pub async fn bind(addr: SocketAddr, service: Front, drain: Duration) -> Result<Self, ListenError> {
        let listener = Self::listen(addr).await?;
        let addr = listener.local_addr().map_err(|source| ListenError { addr, source })?;
        let stop = Shutdown::new();
        let task = tokio::spawn(accept(listener, service, stop.clone(), drain));
        Ok(Self { addr, stop, task, drain })
    }

    /// The socket alone; the system queues who connects to it.
    pub async fn listen(addr: SocketAddr) -> Result<TcpListener, ListenError> {
        TcpListener::bind(addr).await.map_err(|source| ListenError { addr, source })
    }

    /// The address in use.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Takes no more connections; requests under way are finished within the drain time.
    pub async fn shutdown(self) {
        self.stop.trigger();
        let mut task = self.task;
        if tokio::time::timeout(self.drain + Duration::from_millis(500), &mut task).await.is_err() {
            task.abort();
        }
    }
}

async fn accept(listener: TcpListener, service: Front, stop: Shutdown, drain: Duration) {
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let slot = tokio::select! {
            slot = slots.clone().acquire_owned() => slot,
            () = stop.wait() => break,
        };
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            () = stop.wait() => break,
        };
        let _ = stream.set_nodelay(true);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service.connection(peer));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            let _slot = slot;
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were cut off at the deadline");
    }
}
