//! The way to the chain: which node, which chain, and waiting for it.

use std::{fmt, str::FromStr, time::Duration};

use arion_chain::{ChainClient, ChainView, ConnectError, ViewConfig};
use arion_types::{GenesisHash, NodeId};
use serde::{Deserialize, Serialize};

use crate::{
    http::Health,
    units::{Pause, as_text},
};

/// After this long without an answer the log says what is being waited for.
const NOTICE: Duration = Duration::from_secs(2);
/// Pause between attempts to reach the chain.
const RETRY: Duration = Duration::from_secs(3);
/// The chain counts as lost when it could not be read for this long.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// The `[chain]` table of a configuration.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainConfig {
    /// RPC of a chain node that is trusted.
    pub url: NodeUrl,
    /// Hash of block 0 of the chain to be on; another chain is refused.
    pub genesis: Option<Genesis>,
    /// Pause between looks at the finalised head.
    pub poll: Pause,
}

/// Address of the RPC of a chain node, `ws://` or `wss://`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeUrl(String);

/// Hash of block 0: 64 hex digits, with or without `0x`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Genesis(pub GenesisHash);

/// Text that is not a chain.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ChainTextError {
    /// Not a URL.
    #[error("`{0}` is not the address of a chain node; write ws://HOST:PORT")]
    Url(String),
    /// Not a hash.
    #[error("`{0}` is not a genesis hash; write 64 hexadecimal digits")]
    Genesis(String),
}

impl FromStr for NodeUrl {
    type Err = ChainTextError;

    fn from_str(text: &str) -> Result<Self, ChainTextError> {
        let host = text.strip_prefix("ws://").or_else(|| text.strip_prefix("wss://"));
        match host {
            Some(host) if !host.is_empty() => Ok(Self(text.to_owned())),
            _ => Err(ChainTextError::Url(text.to_owned())),
        }
    }
}

impl NodeUrl {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Genesis {
    type Err = ChainTextError;

    fn from_str(text: &str) -> Result<Self, ChainTextError> {
        // The same digits as a node id.
        text.parse::<NodeId>().map(|id| Self(id.0)).map_err(|_| ChainTextError::Genesis(text.to_owned()))
    }
}

impl fmt::Display for Genesis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

as_text!(NodeUrl);
as_text!(Genesis);

impl ChainConfig {
    /// One attempt to connect.
    pub async fn connect(&self) -> Result<ChainClient, ConnectError> {
        ChainClient::connect(self.url.as_str(), self.genesis.map(|genesis| genesis.0)).await
    }

    /// Connects, and watches the chain with `earlier_maps` besides the newest. Tries until a node answers, with the
    /// log and /health saying so; fails only where trying again cannot help: another chain, another runtime.
    pub async fn reach(
        &self,
        earlier_maps: usize,
        health: &Health,
    ) -> Result<(ChainClient, ChainView), ConnectError> {
        let waiting = |reason: String| {
            health.failing("chain", reason.clone());
            tracing::warn!(url = %self.url, %reason, "waiting for the chain");
        };
        health.failing("chain", "not reached yet");
        loop {
            let attempt = self.attempt(earlier_maps);
            tokio::pin!(attempt);
            let outcome = tokio::select! {
                outcome = &mut attempt => outcome?,
                () = tokio::time::sleep(NOTICE) => {
                    waiting(format!("no node answers at {} yet; start it, or correct --chain-url", self.url));
                    attempt.await?
                }
            };
            match outcome {
                Ok(reached) => {
                    health.ok("chain");
                    return Ok(reached);
                }
                Err(reason) => waiting(reason),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// `Ok(Err(..))` where another attempt may do better.
    async fn attempt(
        &self,
        earlier_maps: usize,
    ) -> Result<Result<(ChainClient, ChainView), String>, ConnectError> {
        let client = match self.connect().await {
            Err(error @ (ConnectError::Unreachable { .. } | ConnectError::Rpc(_))) => {
                return Ok(Err(error.to_string()));
            }
            connected => connected?,
        };
        let config = ViewConfig { earlier_maps, ..ViewConfig::with_poll(self.poll.0) };
        let view = ChainView::start(client.clone(), config).await;
        Ok(view.map(|view| (client, view)).map_err(|error| error.to_string()))
    }
}

/// Says in /health how far the chain is, and whether it can be read.
pub fn report(view: &ChainView, health: &Health) {
    let snapshot = view.snapshot();
    health.detail("finalized_block", snapshot.block.number);
    health.detail("epoch", snapshot.epoch());
    match view.error().filter(|_| view.age() > SILENCE_MAX) {
        Some(error) => health.failing("chain", error),
        None => health.ok("chain"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_hashes_are_checked() {
        assert!("ws://127.0.0.1:9944".parse::<NodeUrl>().is_ok());
        for text in ["", "ws://", "127.0.0.1:9944", "http://127.0.0.1:9944"] {
            assert!(text.parse::<NodeUrl>().is_err(), "{text}");
        }
        let hash = format!("0x{}", "0f".repeat(32));
        assert_eq!(hash.parse::<Genesis>().unwrap().to_string(), hash);
        assert!("0x12".parse::<Genesis>().is_err());
    }
}
