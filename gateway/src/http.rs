//! The HTTP server under the S3 service.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
    time::timeout,
};

use arion_daemon::Shutdown;

use crate::s3::Front;

/// Most connections served at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 1_024;
/// Longest wait for the header of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// What a client goes on sending after the last answer of its connection is taken off the wire for this long: closing earlier would
/// reset the connection, and take the answer with it.
const LINGER: Duration = Duration::from_secs(2);
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
        if timeout(self.drain + Duration::from_millis(500), &mut task).await.is_err() {
            task.abort();
        }
    }
}

/// A connection with its place among those that are served at once.
struct Socket {
    stream: Option<TcpStream>,
    slot: Option<OwnedSemaphorePermit>,
}

impl Socket {
    fn new(stream: TcpStream, slot: OwnedSemaphorePermit) -> Self {
        Self { stream: Some(stream), slot: Some(slot) }
    }

    fn stream(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream()?.poll_read(cx, out)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let (Some(mut stream), slot) = (self.stream.take(), self.slot.take()) else { return };
        let mut discarded = [0; 16 << 10];
        match stream.try_read(&mut discarded) {
            // Mostly the client has closed.
            Ok(0) => return,
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
            _ => {}
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let drained = async { while stream.read(&mut discarded).await.is_ok_and(|count| count > 0) {} };
            let _ = timeout(LINGER, drained).await;
            drop(slot);
        });
    }
}

async fn accept(listener: TcpListener, service: Front, stop: Shutdown, drain: Duration) {
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let slot = tokio::select! {
            slot = slots.clone().acquire_owned() => match slot {
                Ok(slot) => slot,
                Err(_) => break,
            },
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
            .serve_connection(TokioIo::new(Socket::new(stream, slot)), service.connection(peer));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
    drop(listener);
    if timeout(drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were cut off at the deadline");
    }
}
