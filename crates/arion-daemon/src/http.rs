//! /health (JSON) and /metrics (Prometheus text) over HTTP, and what a daemon answers besides.

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

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

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

/// What a daemon answers to a GET.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// Status code.
    pub status: StatusCode,
    /// Media type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// Bytes that were asked for.
    pub fn bytes(body: impl Into<Bytes>) -> Self {
        Self { status: StatusCode::OK, content_type: "application/octet-stream", body: body.into() }
    }

    /// A line of text, with this status.
    pub fn text(status: StatusCode, line: impl Into<String>) -> Self {
        let mut line = line.into();
        line.push('\n');
        Self { status, content_type: TEXT, body: line.into() }
    }
}

/// Paths that a daemon answers itself, each with what it makes of the query: the text behind `?`, or nothing.
/// It has to answer at once: a connection waits for nothing but memory.
#[derive(Default)]
pub struct Routes(BTreeMap<&'static str, Handler>);

type Handler = Box<dyn Fn(&str) -> Answer + Send + Sync>;

impl Routes {
    /// Adds a path, such as `/v1/quality`.
    pub fn add(
        mut self,
        path: &'static str,
        answer: impl Fn(&str) -> Answer + Send + Sync + 'static,
    ) -> Self {
        self.0.insert(path, Box::new(answer));
        self
    }
}

impl std::fmt::Debug for Routes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What a server answers from.
#[derive(Debug)]
struct Site {
    health: Health,
    metrics: Registry,
    routes: Routes,
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
        Self::bind_with(config, health, metrics, Routes::default()).await
    }

    /// As [`HttpServer::bind`], with paths of the daemon's own.
    pub async fn bind_with(
        config: &HttpConfig,
        health: Health,
        metrics: Registry,
        routes: Routes,
    ) -> Result<Self, HttpError> {
        let wanted = config.addr;
        if !wanted.ip().is_loopback() && !config.allow_public {
            return Err(HttpError::Public(wanted));
        }
        let failed = |reason| HttpError::Bind { addr: wanted, reason };
        let listener = TcpListener::bind(wanted).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        tracing::info!(http = %addr, "health and metrics are served");
        let stop = Shutdown::new();
        let site = Arc::new(Site { health, metrics, routes });
        let task = tokio::spawn(accept(listener, stop.clone(), site));
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

async fn accept(listener: TcpListener, stop: Shutdown, site: Arc<Site>) {
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
        let site = site.clone();
        connections.spawn(async move {
            let _slot = slot;
            let service = service_fn(move |request| {
                let response = site.response(&request);
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

impl Site {
    fn response(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let Answer { status, content_type, body } = match *request.method() {
            Method::GET => self.answer(request.uri().path(), request.uri().query().unwrap_or_default()),
            _ => Answer::text(StatusCode::METHOD_NOT_ALLOWED, "only GET"),
        };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        response
    }

    fn answer(&self, path: &str, query: &str) -> Answer {
        match path {
            "/health" => {
                let is_ok = self.health.is_ok();
                let status = if is_ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                let body = format!("{}\n", self.health.to_json()).into();
                Answer { status, content_type: JSON, body }
            }
            "/metrics" => {
                let mut body = String::new();
                match prometheus_client::encoding::text::encode(&mut body, &self.metrics) {
                    Ok(()) => Answer { status: StatusCode::OK, content_type: METRICS, body: body.into() },
                    Err(_) => Answer::text(StatusCode::INTERNAL_SERVER_ERROR, "metrics do not encode"),
                }
            }
            _ => match self.routes.0.get(path) {
                Some(handler) => handler(query),
                None => Answer::text(StatusCode::NOT_FOUND, self.paths()),
            },
        }
    }

    fn paths(&self) -> String {
        let mut paths = vec!["/health", "/metrics"];
        paths.extend(self.routes.0.keys());
        format!("see {}", paths.join(", "))
    }
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
    async fn a_daemon_answers_paths_of_its_own() {
        let routes = Routes::default().add("/v1/echo", |query| match query {
            "" => Answer::text(StatusCode::BAD_REQUEST, "say something"),
            said => Answer::bytes(said.to_owned().into_bytes()),
        });
        let (config, health) = (HttpConfig::default(), Health::new("arion-test", "1.2.3"));
        let server = HttpServer::bind_with(&config, health, Registry::default(), routes).await.unwrap();
        let answer = get(server.local_addr(), "/v1/echo?bucket=7").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\nbucket=7"), "{answer}");
        let answer = get(server.local_addr(), "/v1/echo").await;
        assert!(answer.starts_with("HTTP/1.1 400") && answer.ends_with("say something\n"), "{answer}");
        let answer = get(server.local_addr(), "/v1/other").await;
        assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("/v1/echo"), "{answer}");
        let answer = get(server.local_addr(), "/health").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
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
