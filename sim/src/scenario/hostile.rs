//! A registered gateway that wants the data of others gone.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::ensure;
use arion_daemon::now_ms;
use arion_miner::chain_facts::PlacedMap;
use arion_net::Transport;
use arion_protocol::{Action, Command, Request, Response, ShardPlacement};
use arion_types::{Epoch, NodeId, ShardHash, StripeId, stripe::placement_group};
use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::{Scenario, gateways::KNOWN_WITHIN, no_verdict};
use crate::{
    chain::GENESIS,
    host::{Place, Role},
    life::Life,
    miner::Miner,
    network::short,
    trace::trace,
    world::{Plan, World},
};

/// For how long deletions are ordered: longer than shards are young.
const HOSTILE: Duration = Duration::from_secs(480);
/// Between looks at the map: what moves is brought before repair comes.
const LOOK: Duration = Duration::from_secs(1);
/// Looks between rounds of orders.
const LOOKS: u32 = 20;
const ORDERS_AT_ONCE: usize = 4;
const ORDER_WITHIN: Duration = Duration::from_secs(5);

pub fn scenarios() -> Vec<Scenario> {
    vec![Scenario {
        name: "hostile-gateway",
        about: "somebody registers a gateway, brings shards of others to where a new map places them before repair does, and orders miners to delete what \
                others stored, while one of them is lost and repaired",
        plan: Plan::USUAL,
        faults: |world| Box::pin(async move { world.order_deletions().await }),
        verdict: no_verdict,
    }]
}

/// Who does it.
struct Stranger {
    place: Place,
    transport: Arc<dyn Transport>,
    orders: u64,
    /// What it brought, and to whom; and whether it leaves it there, for a made-up position.
    brought: BTreeMap<(NodeId, ShardHash), bool>,
    /// The last map that it has looked at.
    epoch: Epoch,
}

impl Stranger {
    fn order(&mut self, action: Action, shard: ShardHash, target: NodeId) -> arion_protocol::SignedCommand {
        self.orders += 1;
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&self.orders.to_le_bytes());
        let expires_at = now_ms() + 60_000;
        Command { action, shard, target, nonce, expires_at }.sign(&GENESIS, &self.place.key())
    }

    async fn call(&self, miner: &Miner, request: Request, body: Bytes) -> Option<(Response, Bytes)> {
        self.transport.call(&miner.place.peer(), request, body, ORDER_WITHIN).await.ok()
    }

    /// Brings what a new map places elsewhere to its new place.
    async fn rush(&mut self, world: &World) -> anyhow::Result<()> {
        let snapshot = world.chain.snapshot();
        let Some(current) = snapshot.current.as_ref().filter(|map| map.epoch != self.epoch) else {
            return Ok(());
        };
        self.epoch = current.epoch;
        let map = PlacedMap::new(current)?;
        for miner in &world.miners {
            for shard in miner.shards() {
                let Some((Response::Stats(stats), _)) =
                    self.call(miner, Request::Stat { shards: vec![shard] }, Bytes::new()).await
                else {
                    continue;
                };
                let Some(stat) = stats.first().copied().flatten() else { continue };
                let ShardPlacement { pg, index, .. } = stat.placement;
                let Some(node) = map.node_at(pg, index).filter(|node| *node != miner.place.node()) else {
                    continue;
                };
                let Some(target) = world.miners.iter().find(|miner| miner.place.node() == node) else {
                    continue;
                };
                let Some((_, body)) = self.call(miner, Request::Fetch { shard }, Bytes::new()).await else {
                    continue;
                };
                let mut placement = ShardPlacement { epoch: self.epoch, ..stat.placement };
                let is_made_up = world.dice.percent(30);
                if is_made_up {
                    placement = self.made_up(world, &map, &node, placement);
                }
                let command = self.order(Action::Store(placement), shard, node);
                if self.call(target, Request::Store(command), body).await.is_some() {
                    self.brought.insert((node, shard), is_made_up);
                }
            }
        }
        Ok(())
    }

    /// A position of no stripe that there is, at that miner.
    fn made_up(&self, world: &World, map: &PlacedMap, node: &NodeId, like: ShardPlacement) -> ShardPlacement {
        loop {
            let stripe = StripeId(std::array::from_fn(|_| world.dice.below(256) as u8));
            let pg = placement_group(&stripe, map.pg_count());
            if let Some(index) = (0..30).find(|index| map.node_at(pg, *index) == Some(*node)) {
                return ShardPlacement { stripe, pg, index, ..like };
            }
        }
    }

    async fn is_obeyed(&mut self, miner: &Miner, shard: ShardHash) -> bool {
        let command = self.order(Action::Delete, shard, miner.place.node());
        let answer = self.call(miner, Request::Delete(command), Bytes::new()).await;
        matches!(answer, Some((Response::Deleted { existed: true }, _)))
    }
}

impl World {
    async fn order_deletions(self: &Arc<Self>) -> anyhow::Result<()> {
        let place = Place { role: Role::Gateway, number: 1 };
        self.chain.register(|registry| {
            registry.gateways.insert(place.node());
        });
        sleep(KNOWN_WITHIN).await;
        let lost = Place { role: Role::Miner, number: self.dice.index(self.plan.miners) };
        self.crash(lost, true);
        self.note_away();
        let life = Life::of(place);
        let transport = self.setting.network.transport(&place.name(), place.node(), &life);
        let epoch = self.chain.snapshot().epoch();
        let mut stranger = Stranger { place, transport, orders: 0, brought: BTreeMap::new(), epoch };
        let (begun, mut restarted, mut looks) = (Instant::now(), false, 0);
        while begun.elapsed() < HOSTILE {
            if looks % LOOKS == 0 {
                self.order_some(&mut stranger).await?;
            }
            looks += 1;
            stranger.rush(self).await?;
            if !restarted && begun.elapsed() > HOSTILE / 2 {
                self.restart(lost).await?;
                restarted = true;
            }
            sleep(LOOK).await;
        }
        let (orders, brought) = (stranger.orders, stranger.brought.len());
        trace!("{orders} orders were given by somebody else, {brought} shards brought");
        self.chain.register(|registry| {
            registry.gateways.remove(&place.node());
        });
        Ok(())
    }

    async fn order_some(&self, stranger: &mut Stranger) -> anyhow::Result<()> {
        for miner in &self.miners {
            let (node, shards) = (miner.place.node(), miner.shards());
            for _ in 0..shards.len().min(ORDERS_AT_ONCE) {
                let shard = shards[self.dice.index(shards.len())];
                if stranger.brought.contains_key(&(node, shard)) {
                    continue;
                }
                // It may have gone meanwhile, on the order of who had it stored.
                ensure!(
                    !stranger.is_obeyed(miner, shard).await,
                    "{} deleted {} on the order of a stranger",
                    miner.place.name(),
                    short(&shard)
                );
            }
            // What it brought is its own until repair counts on it: then wardens see that it is missing.
            let brought: Vec<_> = stranger.brought.range((node, ShardHash([0; 32]))..).collect();
            let brought = brought.into_iter().take_while(|((target, _), _)| *target == node);
            let doomed: Vec<_> =
                brought.filter(|(_, stays)| !**stays).map(|((_, shard), _)| *shard).collect();
            for shard in doomed {
                stranger.is_obeyed(miner, shard).await;
            }
        }
        Ok(())
    }
}
