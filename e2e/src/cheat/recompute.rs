//! A shard that one has not, from others of its stripe: who has those is in the gateway's ledger, which is public.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use arion_chain::EpochMap;
use arion_erasure::Codec;
use arion_net::{PeerAddr, Transport};
use arion_protocol::{LedgerRecord, Request, Response, limits::LEDGER_ENTRIES_MAX};
use arion_types::{NodeId, Receipt, ShardHash};
use bytes::Bytes;
use tokio::{sync::Mutex, task::JoinSet};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Receipts of a gateway, as far as they were read.
#[derive(Default)]
struct Ledger {
    lines: u64,
    receipts: HashMap<ShardHash, Receipt>,
}

/// Other miners, and who says what they have.
pub struct Others {
    gateway: PeerAddr,
    codec: Codec,
    endpoints: HashMap<NodeId, String>,
    ledger: Mutex<Ledger>,
}

impl Others {
    /// The miners of a map, and the gateway whose ledger says what they have.
    pub fn new(map: &EpochMap, gateway: PeerAddr) -> anyhow::Result<Self> {
        let codec = Codec::new(map.params.ec_k.into(), map.params.ec_m.into())?;
        let endpoint = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let endpoints = map.miners.iter().map(|miner| (NodeId(miner.node_id), endpoint(&miner.endpoint)));
        Ok(Self { gateway, codec, endpoints: endpoints.collect(), ledger: Mutex::default() })
    }

    /// Computes a shard from the first k others that come.
    pub async fn compute(&self, transport: &Arc<dyn Transport>, shard: &ShardHash) -> anyhow::Result<Bytes> {
        let begun = Instant::now();
        let (wanted, others) = self.stripe_of(transport, shard).await?;
        let mut answers = JoinSet::new();
        for receipt in others {
            let Some(endpoint) = self.endpoints.get(&receipt.node_id) else { continue };
            let peer = PeerAddr { node_id: receipt.node_id, endpoint: endpoint.clone() };
            let transport = transport.clone();
            answers.spawn(async move {
                let request = Request::Fetch { shard: receipt.shard };
                let (_, bytes) = transport.call(&peer, request, Bytes::new(), ANSWER_TIMEOUT).await.ok()?;
                let is_it = blake3::hash(&bytes) == receipt.shard.0;
                is_it.then_some((usize::from(receipt.index), bytes))
            });
        }
        let mut shards: Vec<Option<Bytes>> = vec![None; self.codec.shards()];
        let mut found = 0;
        while found < self.codec.data_shards() {
            let Some(answer) = answers.join_next().await else {
                bail!("{found} others of the stripe came in {} ms", begun.elapsed().as_millis());
            };
            if let Some((index, bytes)) = answer?
                && let Some(place) = shards.get_mut(index)
            {
                found += usize::from(place.replace(bytes).is_none());
            }
        }
        let index = usize::from(wanted.index);
        self.codec.reconstruct(&mut shards, &[index])?;
        let bytes = shards.into_iter().nth(index).flatten().context("the shard has no such position")?;
        ensure!(blake3::hash(&bytes) == shard.0, "what was computed is not the shard");
        Ok(bytes)
    }

    /// The receipt of a shard and those of the other shards of its stripe.
    async fn stripe_of(
        &self,
        transport: &Arc<dyn Transport>,
        shard: &ShardHash,
    ) -> anyhow::Result<(Receipt, Vec<Receipt>)> {
        let mut ledger = self.ledger.lock().await;
        if !ledger.receipts.contains_key(shard) {
            self.read_on(transport, &mut ledger).await?;
        }
        let wanted = *ledger.receipts.get(shard).context("the gateway's ledger has no such shard")?;
        let others = ledger.receipts.values().filter(|receipt| receipt.stripe == wanted.stripe);
        let others = others.filter(|receipt| receipt.index != wanted.index).copied();
        Ok((wanted, others.collect()))
    }

    async fn read_on(&self, transport: &Arc<dyn Transport>, ledger: &mut Ledger) -> anyhow::Result<()> {
        loop {
            let (after, limit) = (ledger.lines, LEDGER_ENTRIES_MAX);
            let request = Request::LedgerFrom { after, limit, version: LedgerRecord::VERSION };
            let (answer, _) = transport.call(&self.gateway, request, Bytes::new(), ANSWER_TIMEOUT).await?;
            let Response::LedgerLines(entries) = answer else { bail!("the gateway answered something else") };
            let is_last = entries.len() < usize::from(LEDGER_ENTRIES_MAX);
            for entry in entries {
                ledger.lines = entry.sequence;
                if let LedgerRecord::Stored(signed) = entry.record {
                    ledger.receipts.insert(signed.receipt.shard, signed.receipt);
                }
            }
            if is_last {
                return Ok(());
            }
        }
    }
}
