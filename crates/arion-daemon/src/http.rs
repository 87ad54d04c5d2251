//! /health (JSON) and /metrics (Prometheus text) over HTTP.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
};

use crate::shutdown::Shutdown;

/// Most connections served at once.
const CONNECTIONS_MAX: usize = 32;
/// Longest wait for the header of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// The `[http]` table of a configuration.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Where /health and /metrics are served; port 0 takes a free one.
    pub addr: SocketAddr,
    /// Whether an address that is not loopback is meant. There is no access control.
    pub allow_public: bool,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self { addr: (Ipv4Addr::LOCALHOST, 0).into(), allow_public: false }
    }
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Not a loopback address.
    #[error(
        "{0} is not a loopback address: /health and /metrics have no access control; use 127.0.0.1, or allow it with --http-allow-public"
    )]
    Public(SocketAddr),
    /// The address is taken or not ours.
    #[error(
        "cannot listen on {addr} for /health and /metrics: {reason}; choose another address with --http-addr"
    )]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// Why.
        reason: std::io::Error,
    },
}

/// What /health says; clones share one state. A daemon is healthy when no check fails.
#[derive(Clone, Debug)]
pub struct Health {
    inner: Arc<HealthInner>,
}

#[derive(Debug)]
struct HealthInner {
    daemon: &'static str,
    version: &'static str,
    started: Instant,
    state: Mutex<HealthState>,
}

#[derive(Debug, Default)]
struct HealthState {
    failing: BTreeMap<&'static str, Option<String>>,
    details: Map<String, Value>,
}

impl Health {
    /// For `daemon` in `version`; healthy at first.
    pub fn new(daemon: &'static str, version: &'static str) -> Self {
        let state = Mutex::default();
        Self { inner: Arc::new(HealthInner { daemon, version, started: Instant::now(), state }) }
    }

    /// The check passes.
    pub fn ok(&self, check: &'static str) {
        self.state().failing.insert(check, None);
    }

    /// The check fails, for this reason.
    pub fn failing(&self, check: &'static str, reason: impl Into<String>) {
        self.state().failing.insert(check, Some(reason.into()));
    }

    /// Adds or replaces a fact in the answer (epoch, block, address, ...).
    pub fn detail(&self, name: &str, value: impl Into<Value>) {
        self.state().details.insert(name.to_owned(), value.into());
    }

    /// Whether no check fails.
    pub fn is_ok(&self) -> bool {
        self.state().failing.values().all(Option::is_none)
    }

    /// The answer of /health.
    pub fn to_json(&self) -> Value {
        let state = self.state();
        let healthy = state.failing.values().all(Option::is_none);
        let checks: Map<String, Value> = state
            .failing
            .iter()
            .map(|(check, reason)| ((*check).to_owned(), reason.as_deref().unwrap_or("ok").into()))
            .collect();
        json!({
            "status": if healthy { "ok" } else { "degraded" },
            "daemon": self.inner.daemon,
            "version": self.inner.version,
            "pid": std::process::id(),
            "uptime_seconds": self.inner.started.elapsed().as_secs(),
            "checks": checks,
            "details": state.details,
        })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, HealthState> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The running server. It ends with [`HttpServer::shutdown`] or when dropped.
#[derive(Debug)]
pub struct HttpServer {
    addr: SocketAddr,
    stop: Shutdown,
    task: JoinHandle<()>,
}

impl HttpServer {
    /// Listens and answers from here on.
    pub async fn bind(config: &HttpConfig, health: Health, metrics: Registry) -> Result<Self, HttpError> {
        let wanted = config.addr;
        if !wanted.ip().is_loopback() && !config.allow_public {
            return Err(HttpError::Public(wanted));
        }
        let failed = |reason| HttpError::Bind { addr: wanted, reason };
        let listener = TcpListener::bind(wanted).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        tracing::info!(http = %addr, "health and metrics are served");
        let stop = Shutdown::new();
        let task = tokio::spawn(accept(listener, stop.clone(), health, Arc::new(metrics)));
        Ok(Self { addr, stop, task })
    }

    /// The address in use.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops listening and drops open connections.
    pub async fn shutdown(mut self) {
        self.stop.trigger();
        let _ = (&mut self.task).await;
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stop.trigger();
    }
}

async fn accept(listener: TcpListener, stop: Shutdown, health: Health, metrics: Arc<Registry>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let slot = tokio::select! {
            _ = stop.wait() => return,
            slot = slots.clone().acquire_owned() => slot,
        };
        let stream = tokio::select! {
            _ = stop.wait() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "http accept failed");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        while connections.try_join_next().is_some() {}
        let (health, metrics) = (health.clone(), metrics.clone());
        connections.spawn(async move {
            let _slot = slot;
            let service = service_fn(move |request| {
                let response = answer(&request, &health, &metrics);
                async move { Ok::<_, Infallible>(response) }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "http connection ended");
            }
        });
    }
}

fn answer(request: &Request<Incoming>, health: &Health, metrics: &Registry) -> Response<Full<Bytes>> {
    const JSON: &str = "application/json";
    const TEXT: &str = "text/plain; charset=utf-8";
    const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let (status, kind, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/health") => {
            let status = if health.is_ok() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            (status, JSON, format!("{}\n", health.to_json()))
        }
        (&Method::GET, "/metrics") => {
            let mut body = String::new();
            match prometheus_client::encoding::text::encode(&mut body, metrics) {
                Ok(()) => (StatusCode::OK, METRICS, body),
                Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, TEXT, "metrics do not encode\n".into()),
            }
        }
        (&Method::GET, _) => (StatusCode::NOT_FOUND, TEXT, "see /health and /metrics\n".into()),
        _ => (StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET\n".into()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::metrics::counter::Counter;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn get(addr: SocketAddr, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn health_and_metrics_are_served() {
        let health = Health::new("arion-test", "1.2.3");
        let mut registry = Registry::default();
        let counter: Counter = Counter::default();
        registry.register("challenges", "Challenges sent", counter.clone());
        counter.inc_by(7);
        let server = HttpServer::bind(&HttpConfig::default(), health.clone(), registry).await.unwrap();
        health.detail("epoch", 4u64);
        let answer = get(server.local_addr(), "/health").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"epoch\":4"), "{answer}");
        health.failing("chain", "node unreachable");
        let answer = get(server.local_addr(), "/health").await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("node unreachable"), "{answer}");
        let answer = get(server.local_addr(), "/metrics").await;
        assert!(answer.contains("challenges_total 7"), "{answer}");
        assert!(get(server.local_addr(), "/").await.starts_with("HTTP/1.1 404"));
        server.shutdown().await;
    }

    #[tokio::test]
    async fn a_public_or_taken_address_is_refused() {
        let bind = async |addr: SocketAddr, allow_public| {
            let config = HttpConfig { addr, allow_public };
            HttpServer::bind(&config, Health::new("t", "0"), Registry::default()).await
        };
        let public = SocketAddr::from(([0, 0, 0, 0], 0));
        assert!(matches!(bind(public, false).await, Err(HttpError::Public(_))));
        assert!(bind(public, true).await.is_ok());
        let first = bind(HttpConfig::default().addr, false).await.unwrap();
        let error = bind(first.local_addr(), false).await.unwrap_err().to_string();
        assert!(error.contains("--http-addr"), "{error}");
    }
}
