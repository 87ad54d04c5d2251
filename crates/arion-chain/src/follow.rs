//! Where a transaction that was handed over ends up.
//!
//! # Invariants
//! - The answer is certain: the transaction stands in the chain that was asked for, or its mortality has passed in
//!   the finalised chain without it. Neither reorganisations nor restarts of the node change that.
//! - Each block is fetched once.

use std::{collections::HashSet, time::Duration};

use tokio::time::Instant;

use crate::{
    records::BlockRef,
    rpc::{Block, Rpc, RpcError},
    tx::{FOLLOW_TIMEOUT, MORTALITY_BLOCKS, TxError, Wait},
};

const POLL: Duration = Duration::from_millis(500);
/// A node that restarted has an empty pool: the same bytes are handed over again, which is harmless.
const RESUBMIT: Duration = Duration::from_secs(12);

/// A transaction that the node may have.
pub(crate) struct Submitted {
    pub(crate) bytes: Vec<u8>,
    /// BLAKE2b-256 of the bytes.
    pub(crate) hash: [u8; 32],
    /// The finalised block it was signed at.
    pub(crate) birth: BlockRef,
}

/// The chain as far as following needs it.
pub(crate) trait Blocks {
    async fn best(&self) -> Result<[u8; 32], RpcError>;
    async fn finalized(&self) -> Result<BlockRef, RpcError>;
    async fn block(&self, hash: [u8; 32]) -> Result<Option<Block>, RpcError>;
    async fn submit(&self, bytes: &[u8]) -> Result<(), RpcError>;
}

impl Blocks for Rpc {
    async fn best(&self) -> Result<[u8; 32], RpcError> {
        self.best_hash().await
    }

    async fn finalized(&self) -> Result<BlockRef, RpcError> {
        self.block_ref(self.finalized_hash().await?).await
    }

    async fn block(&self, hash: [u8; 32]) -> Result<Option<Block>, RpcError> {
        Rpc::block(self, hash).await
    }

    async fn submit(&self, bytes: &[u8]) -> Result<(), RpcError> {
        Rpc::submit(self, bytes).await
    }
}

/// Block and position of the transaction.
pub(crate) async fn follow(
    blocks: &impl Blocks,
    submitted: &Submitted,
    wait: Wait,
) -> Result<(BlockRef, u32), TxError> {
    let started = Instant::now();
    let mut handed_over = Instant::now();
    let mut looked_at = HashSet::new();
    while started.elapsed() < FOLLOW_TIMEOUT {
        match step(blocks, submitted, wait, &mut looked_at).await {
            Ok(Step::Found(block, index)) => return Ok((block, index)),
            Ok(Step::Expired) => return Err(TxError::Expired),
            Ok(Step::Waiting) => {}
            Err(RpcError::Unreachable) => {
                tracing::debug!("following a transaction: node unreachable, trying again");
            }
            Err(error) => return Err(error.into()),
        }
        if handed_over.elapsed() >= RESUBMIT {
            handed_over = Instant::now();
            if let Err(error) = blocks.submit(&submitted.bytes).await {
                tracing::trace!(%error, "handing a transaction over again");
            }
        }
        tokio::time::sleep(POLL).await;
    }
    Err(TxError::Unknown)
}

enum Step {
    Found(BlockRef, u32),
    Waiting,
    Expired,
}

async fn step(
    blocks: &impl Blocks,
    submitted: &Submitted,
    wait: Wait,
    looked_at: &mut HashSet<[u8; 32]>,
) -> Result<Step, RpcError> {
    let finalized = blocks.finalized().await?;
    let head = match wait {
        Wait::InBlock => blocks.best().await?,
        Wait::Finalized => finalized.hash,
    };
    if let Some((block, index)) = look(blocks, submitted, head, looked_at).await? {
        return Ok(Step::Found(block, index));
    }
    if finalized.number <= submitted.birth.number + MORTALITY_BLOCKS {
        return Ok(Step::Waiting);
    }
    // The best chain may have turned away from a block that was final all along for this transaction's fate.
    match look(blocks, submitted, finalized.hash, &mut HashSet::new()).await? {
        Some((block, index)) => Ok(Step::Found(block, index)),
        None => Ok(Step::Expired),
    }
}

/// Looks through the blocks from the head back to the transaction's birth, leaving out those looked at before.
async fn look(
    blocks: &impl Blocks,
    submitted: &Submitted,
    head: [u8; 32],
    looked_at: &mut HashSet<[u8; 32]>,
) -> Result<Option<(BlockRef, u32)>, RpcError> {
    let mut hash = head;
    let mut visited = Vec::new();
    while !looked_at.contains(&hash) && hash != submitted.birth.hash {
        // A block the node does not have (yet) is looked for again the next time.
        let Some(block) = blocks.block(hash).await? else { return Ok(None) };
        if let Some(position) = block.extrinsics.iter().position(|bytes| *bytes == submitted.bytes) {
            let index = u32::try_from(position).unwrap_or(u32::MAX);
            return Ok(Some((BlockRef { number: block.number, hash }, index)));
        }
        visited.push(hash);
        if block.number <= submitted.birth.number {
            break;
        }
        hash = block.parent;
    }
    looked_at.extend(visited);
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::HashMap, sync::Mutex};

    /// What changes at which tick.
    type Events = Vec<(u32, fn(&mut State))>;

    /// A chain that follows a script: every look at the finalised head is one tick.
    #[derive(Default)]
    struct Script {
        state: Mutex<State>,
        events: Events,
    }

    #[derive(Default)]
    struct State {
        tick: u32,
        blocks: HashMap<[u8; 32], (u32, [u8; 32], bool)>,
        best: [u8; 32],
        finalized: u32,
        is_down: bool,
        submissions: u32,
        fetched: Vec<[u8; 32]>,
    }

    /// Block `number` of branch `branch`.
    fn hash(number: u32, branch: u8) -> [u8; 32] {
        let mut hash = [branch; 32];
        hash[..4].copy_from_slice(&number.to_le_bytes());
        hash
    }

    const TX: &[u8] = b"transaction";

    impl State {
        /// Extends branch `branch` by a block on top of block `number - 1` of branch `parent`.
        fn grow(&mut self, number: u32, branch: u8, parent: u8, has_tx: bool) {
            self.blocks.insert(hash(number, branch), (number, hash(number - 1, parent), has_tx));
            self.best = hash(number, branch);
        }

        fn grow_empty(&mut self, numbers: std::ops::RangeInclusive<u32>) {
            numbers.for_each(|number| self.grow(number, 0, 0, false));
        }
    }

    impl Script {
        fn new(events: Events) -> Self {
            let script = Self { events, ..Self::default() };
            {
                let mut state = script.state.lock().unwrap();
                state.grow_empty(1..=10);
                state.finalized = 10;
            }
            script
        }
    }

    impl Blocks for Script {
        async fn best(&self) -> Result<[u8; 32], RpcError> {
            Ok(self.state.lock().unwrap().best)
        }

        async fn finalized(&self) -> Result<BlockRef, RpcError> {
            let mut state = self.state.lock().unwrap();
            state.tick += 1;
            let tick = state.tick;
            self.events.iter().filter(|(at, _)| *at == tick).for_each(|(_, event)| event(&mut state));
            if state.is_down {
                return Err(RpcError::Unreachable);
            }
            Ok(BlockRef { number: state.finalized, hash: hash(state.finalized, 0) })
        }

        async fn block(&self, wanted: [u8; 32]) -> Result<Option<Block>, RpcError> {
            let mut state = self.state.lock().unwrap();
            state.fetched.push(wanted);
            Ok(state.blocks.get(&wanted).map(|(number, parent, has_tx)| Block {
                number: *number,
                parent: *parent,
                extrinsics: if *has_tx { vec![b"inherent".to_vec(), TX.to_vec()] } else { Vec::new() },
            }))
        }

        async fn submit(&self, bytes: &[u8]) -> Result<(), RpcError> {
            assert_eq!(bytes, TX);
            self.state.lock().unwrap().submissions += 1;
            Ok(())
        }
    }

    fn submitted() -> Submitted {
        Submitted { bytes: TX.to_vec(), hash: [0; 32], birth: BlockRef { number: 10, hash: hash(10, 0) } }
    }

    async fn run(script: &Script, wait: Wait) -> Result<(BlockRef, u32), TxError> {
        follow(script, &submitted(), wait).await
    }

    #[tokio::test(start_paused = true)]
    async fn in_block_and_finalised_are_told_apart_and_blocks_fetched_once() {
        let events: Events = vec![
            (2, |state| state.grow(11, 0, 0, false)),
            (4, |state| state.grow(12, 0, 0, true)),
            (8, |state| state.finalized = 12),
        ];
        let script = Script::new(events.clone());
        let expected = (BlockRef { number: 12, hash: hash(12, 0) }, 1);
        assert_eq!(run(&script, Wait::InBlock).await.unwrap(), expected);
        assert_eq!(script.state.lock().unwrap().tick, 4);
        assert_eq!(script.state.lock().unwrap().fetched, [hash(11, 0), hash(12, 0)]);
        let script = Script::new(events);
        assert_eq!(run(&script, Wait::Finalized).await.unwrap(), expected);
        assert_eq!(script.state.lock().unwrap().tick, 8);
    }

    #[tokio::test(start_paused = true)]
    async fn a_block_that_lost_does_not_count_as_final() {
        let script = Script::new(vec![
            (2, |state| state.grow(11, 9, 0, true)),
            (3, |state| state.grow_empty(11..=12)),
            (4, |state| state.finalized = 12),
            (5, |state| state.grow(13, 0, 0, true)),
            (6, |state| state.finalized = 13),
        ]);
        let (block, _) = run(&script, Wait::Finalized).await.unwrap();
        assert_eq!(block, BlockRef { number: 13, hash: hash(13, 0) });
    }

    #[tokio::test(start_paused = true)]
    async fn it_expires_only_when_the_finalised_chain_has_passed_it() {
        let script = Script::new(vec![
            (2, |state| state.grow_empty(11..=90)),
            (3, |state| state.finalized = 10 + MORTALITY_BLOCKS),
            (6, |state| state.finalized = 11 + MORTALITY_BLOCKS),
        ]);
        assert!(matches!(run(&script, Wait::InBlock).await, Err(TxError::Expired)));
        assert_eq!(script.state.lock().unwrap().tick, 6);
    }

    #[tokio::test(start_paused = true)]
    async fn a_restart_of_the_node_loses_nothing() {
        let script = Script::new(vec![
            (2, |state| state.is_down = true),
            (40, |state| state.is_down = false),
            (42, |state| {
                assert!(state.submissions > 0, "the pool is empty after a restart");
                state.grow(11, 0, 0, true);
            }),
        ]);
        let (block, _) = run(&script, Wait::InBlock).await.unwrap();
        assert_eq!(block.number, 11);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_stands_still_leaves_the_fate_unknown() {
        let script = Script::new(Vec::new());
        assert!(matches!(run(&script, Wait::Finalized).await, Err(TxError::Unknown)));
    }
}
