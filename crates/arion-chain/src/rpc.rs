//! JSON-RPC over a WebSocket that reconnects by itself.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, de::DeserializeOwned};
use subxt::{
    ext::jsonrpsee::core::client::Error as WsError,
    rpcs::client::{
        RpcClient, RpcParams,
        reconnecting_rpc_client::{ExponentialBackoff, RpcClient as ReconnectingClient},
    },
};

use crate::records::BlockRef;

/// Longest wait for one answer, reconnecting included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// Pause before a request that a lost connection left unanswered is sent again.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// Pauses between attempts to reconnect grow to this.
const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(2);

/// A request without a usable answer.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// No answer in time: the node is down, or overloaded.
    #[error("the node does not answer; is it running?")]
    Unreachable,
    /// The node refused.
    #[error("the node refused {method}: {message} (code {code})")]
    Refused {
        /// The method.
        method: &'static str,
        /// JSON-RPC error code.
        code: i32,
        /// Its message with its data.
        message: String,
    },
    /// An answer of another shape than expected.
    #[error("the node's answer to {0} does not decode; is this an Arion node?")]
    Undecodable(&'static str),
}

/// Why there is no connection at first.
pub(crate) enum DialError {
    Url,
    Timeout,
}

#[derive(Clone)]
pub(crate) struct Rpc {
    client: Arc<RpcClient>,
}

/// Bytes as the node writes them: hex with `0x`, or, for extrinsics of a node whose block type is not opaque, an
/// array of numbers.
#[derive(Deserialize)]
#[serde(try_from = "BytesText")]
pub(crate) struct HexBytes(pub(crate) Vec<u8>);

#[derive(Deserialize)]
#[serde(untagged)]
enum BytesText {
    Hex(String),
    Array(Vec<u8>),
}

impl TryFrom<BytesText> for HexBytes {
    type Error = hex::FromHexError;

    fn try_from(text: BytesText) -> Result<Self, hex::FromHexError> {
        match text {
            BytesText::Hex(text) => hex::decode(text.strip_prefix("0x").unwrap_or(&text)).map(Self),
            BytesText::Array(bytes) => Ok(Self(bytes)),
        }
    }
}

/// A block hash as the node writes it.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct HexHash(pub(crate) [u8; 32]);

impl TryFrom<String> for HexHash {
    type Error = hex::FromHexError;

    fn try_from(text: String) -> Result<Self, hex::FromHexError> {
        let mut hash = [0; 32];
        hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(&text), &mut hash)?;
        Ok(Self(hash))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    number: String,
    parent_hash: HexHash,
}

/// A block with its transactions.
pub(crate) struct Block {
    pub(crate) number: u32,
    pub(crate) parent: [u8; 32],
    pub(crate) extrinsics: Vec<Vec<u8>>,
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

macro_rules! params {
    ($($value:expr),* $(,)?) => {{
        #[allow(unused_mut)]
        let mut params = RpcParams::new();
        $(params.push($value).expect("strings, numbers and lists of them encode as JSON");)*
        params
    }};
}

impl Rpc {
    /// Connects, trying again until `timeout`.
    pub(crate) async fn connect(url: &str, timeout: Duration) -> Result<Self, DialError> {
        if !url.starts_with("ws://") && !url.starts_with("wss://") {
            return Err(DialError::Url);
        }
        let backoff = ExponentialBackoff::from_millis(50).max_delay(RECONNECT_PAUSE_MAX);
        let build = ReconnectingClient::builder().retry_policy(backoff).build(url);
        match tokio::time::timeout(timeout, build).await {
            Ok(Ok(client)) => Ok(Self { client: Arc::new(RpcClient::new(client)) }),
            Ok(Err(WsError::Transport(_))) => Err(DialError::Url),
            Ok(Err(_)) | Err(_) => Err(DialError::Timeout),
        }
    }

    /// One request; sent again when the connection broke, so it must be harmless to repeat.
    async fn request<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: RpcParams,
    ) -> Result<T, RpcError> {
        let attempts = async {
            loop {
                match self.client.request::<T>(method, params.clone()).await {
                    Err(subxt::rpcs::Error::DisconnectedWillReconnect(_)) => {
                        tokio::time::sleep(RETRY_PAUSE).await;
                    }
                    answer => break answer,
                }
            }
        };
        match tokio::time::timeout(REQUEST_TIMEOUT, attempts).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(subxt::rpcs::Error::User(error))) => {
                let data = error.data.map(|data| format!(": {}", data.get().trim_matches('"')));
                let message = format!("{}{}", error.message, data.unwrap_or_default());
                Err(RpcError::Refused { method, code: error.code, message })
            }
            Ok(Err(subxt::rpcs::Error::Deserialization(_))) => Err(RpcError::Undecodable(method)),
            Ok(Err(error)) => {
                tracing::debug!(method, %error, "rpc failed");
                Err(RpcError::Unreachable)
            }
            Err(_) => Err(RpcError::Unreachable),
        }
    }

    pub(crate) async fn block_hash(&self, number: u32) -> Result<Option<[u8; 32]>, RpcError> {
        let hash: Option<HexHash> = self.request("chain_getBlockHash", params![number]).await?;
        Ok(hash.map(|hash| hash.0))
    }

    pub(crate) async fn best_hash(&self) -> Result<[u8; 32], RpcError> {
        let hash: HexHash = self.request("chain_getBlockHash", params![]).await?;
        Ok(hash.0)
    }

    pub(crate) async fn finalized_hash(&self) -> Result<[u8; 32], RpcError> {
        let hash: HexHash = self.request("chain_getFinalizedHead", params![]).await?;
        Ok(hash.0)
    }

    pub(crate) async fn block_ref(&self, hash: [u8; 32]) -> Result<BlockRef, RpcError> {
        const METHOD: &str = "chain_getHeader";
        let header: Option<Header> = self.request(METHOD, params![to_hex(&hash)]).await?;
        let number = header.and_then(|header| block_number(&header.number));
        Ok(BlockRef { number: number.ok_or(RpcError::Undecodable(METHOD))?, hash })
    }

    pub(crate) async fn block(&self, hash: [u8; 32]) -> Result<Option<Block>, RpcError> {
        #[derive(Deserialize)]
        struct Signed {
            block: Body,
        }
        #[derive(Deserialize)]
        struct Body {
            header: Header,
            extrinsics: Vec<HexBytes>,
        }
        const METHOD: &str = "chain_getBlock";
        let signed: Option<Signed> = self.request(METHOD, params![to_hex(&hash)]).await?;
        let Some(Signed { block }) = signed else { return Ok(None) };
        Ok(Some(Block {
            number: block_number(&block.header.number).ok_or(RpcError::Undecodable(METHOD))?,
            parent: block.header.parent_hash.0,
            extrinsics: block.extrinsics.into_iter().map(|bytes| bytes.0).collect(),
        }))
    }

    pub(crate) async fn metadata(&self, at: [u8; 32]) -> Result<Vec<u8>, RpcError> {
        let bytes: HexBytes = self.request("state_getMetadata", params![to_hex(&at)]).await?;
        Ok(bytes.0)
    }

    /// (spec version, transaction version).
    pub(crate) async fn runtime_version(&self, at: [u8; 32]) -> Result<(u32, u32), RpcError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Version {
            spec_version: u32,
            transaction_version: u32,
        }
        let version: Version = self.request("state_getRuntimeVersion", params![to_hex(&at)]).await?;
        Ok((version.spec_version, version.transaction_version))
    }

    /// Values of the keys, in their order.
    pub(crate) async fn storage(
        &self,
        keys: &[Vec<u8>],
        at: [u8; 32],
    ) -> Result<Vec<Option<Vec<u8>>>, RpcError> {
        #[derive(Deserialize)]
        struct Changes {
            changes: Vec<(HexBytes, Option<HexBytes>)>,
        }
        const METHOD: &str = "state_queryStorageAt";
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let wanted: Vec<String> = keys.iter().map(|key| to_hex(key)).collect();
        let sets: Vec<Changes> = self.request(METHOD, params![wanted, to_hex(&at)]).await?;
        let found = sets.into_iter().flat_map(|set| set.changes);
        let mut values: std::collections::HashMap<_, _> =
            found.map(|(key, value)| (key.0, value.map(|value| value.0))).collect();
        keys.iter().map(|key| values.remove(key).ok_or(RpcError::Undecodable(METHOD))).collect()
    }

    /// What a function of the runtime answers to arguments in SCALE.
    pub(crate) async fn runtime_call(
        &self,
        function: &'static str,
        arguments: &[u8],
        at: [u8; 32],
    ) -> Result<Vec<u8>, RpcError> {
        let params = params![function, to_hex(arguments), to_hex(&at)];
        let answer: HexBytes = self.request("state_call", params).await?;
        Ok(answer.0)
    }

    /// Keys that start with `prefix`, behind `after`, in order; fewer than `limit` means the end.
    pub(crate) async fn keys(
        &self,
        prefix: &[u8],
        limit: u32,
        after: Option<&[u8]>,
        at: [u8; 32],
    ) -> Result<Vec<Vec<u8>>, RpcError> {
        let params = params![to_hex(prefix), limit, after.map(to_hex), to_hex(&at)];
        let keys: Vec<HexBytes> = self.request("state_getKeysPaged", params).await?;
        Ok(keys.into_iter().map(|key| key.0).collect())
    }

    /// The account's next nonce, transactions in the pool included. `account` is an SS58 address.
    pub(crate) async fn next_nonce(&self, account: &str) -> Result<u64, RpcError> {
        self.request("system_accountNextIndex", params![account]).await
    }

    /// Hands a signed transaction to the node's pool.
    pub(crate) async fn submit(&self, extrinsic: &[u8]) -> Result<(), RpcError> {
        let _: HexHash = self.request("author_submitExtrinsic", params![to_hex(extrinsic)]).await?;
        Ok(())
    }
}

fn block_number(text: &str) -> Option<u32> {
    u32::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}
