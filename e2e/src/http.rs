//! Just enough HTTP for loopback: health and metrics pages of the daemons, JSON-RPC of chain nodes.

use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const DEADLINE: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Body, as text.
    pub body: String,
}

/// Asks `http://address{path}`.
pub async fn get(address: &str, path: &str) -> anyhow::Result<Answer> {
    within_deadline(address, format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"))
        .await
}

/// Calls a JSON-RPC method of a chain node at `address`.
pub async fn rpc(address: &str, method: &str, params: Value) -> anyhow::Result<Value> {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
    let request = format!(
        "POST / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = within_deadline(address, request).await?;
    let mut value: Value = serde_json::from_str(&answer.body)
        .with_context(|| format!("{method} at {address} answered {}: {}", answer.status, answer.body))?;
    if let Some(error) = value.get("error") {
        bail!("{method} at {address}: {error}");
    }
    Ok(value["result"].take())
}

async fn within_deadline(address: &str, request: String) -> anyhow::Result<Answer> {
    timeout(DEADLINE, exchange(address, request))
        .await
        .with_context(|| format!("{address} did not answer within {} s", DEADLINE.as_secs()))?
}

async fn exchange(address: &str, request: String) -> anyhow::Result<Answer> {
    let mut stream =
        TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes).await?;
    parse(&String::from_utf8_lossy(&bytes))
}

fn parse(text: &str) -> anyhow::Result<Answer> {
    let Some((head, body)) = text.split_once("\r\n\r\n") else { bail!("the answer has no end of headers") };
    let status = head.split_whitespace().nth(1).context("the answer has no status")?;
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { unchunk(body)? } else { body.to_owned() };
    Ok(Answer { status: status.parse().context("the status is no number")?, body })
}

/// A number on the page of metrics of a daemon: of a line without labels.
pub async fn metric(address: &str, name: &str) -> anyhow::Result<u64> {
    let page = get(address, "/metrics").await?.body;
    let mut values = page.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = values.next().with_context(|| format!("/metrics at {address} has no {name}"))?;
    Ok(value.trim().parse()?)
}

fn unchunk(mut rest: &str) -> anyhow::Result<String> {
    let mut body = String::new();
    loop {
        let (length, tail) = rest.split_once("\r\n").context("a chunk has no length")?;
        let length = usize::from_str_radix(length.trim(), 16).context("a chunk's length is no number")?;
        if length == 0 {
            return Ok(body);
        }
        body.push_str(tail.get(..length).context("a chunk is cut off")?);
        rest = tail.get(length + 2..).context("a chunk is cut off")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_and_chunked_answers_are_read() {
        let answer = parse("HTTP/1.1 503 Unavailable\r\ncontent-length: 2\r\n\r\nno").unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (503, "no"));
        let answer =
            parse("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
                .unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "abcde"));
        assert!(parse("HTTP/1.1 200 OK").is_err());
    }
}
