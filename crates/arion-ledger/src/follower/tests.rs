//! A gateway that drops lines, and whoever reads its ledger.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arion_net::{MemoryNetwork, Service};
use arion_proofs::merkle::Peaks;

use super::*;
use crate::{
    compact::{Keeping, KeptRoot},
    segment::{SEGMENT_LINES, line_hash},
    verify::tests::{GATEWAY, GENESIS, checker, ledger, stripe},
};

const SEGMENT: u64 = SEGMENT_LINES as u64;

/// The miners that have each shard; every change of it is counted.
#[derive(Default)]
struct Memory {
    state: Mutex<State>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct State {
    cursor: u64,
    known: BTreeSet<(ShardHash, NodeId)>,
    marks: BTreeSet<(ShardHash, NodeId)>,
    begun: u32,
}

impl State {
    fn change(&mut self, changes: Vec<Change>, marks: bool) {
        for change in changes {
            match change {
                Change::Stored(receipt) => drop(self.known.insert((receipt.shard, receipt.node_id))),
                Change::Deleted { shard } => self.known.retain(|(known, _)| *known != shard),
                Change::Released { shard, miner } => drop(self.known.remove(&(shard, miner))),
                Change::Named { .. } | Change::Served(_) => {}
            }
            if let Change::Stored(Receipt { shard, node_id: miner, .. }) | Change::Named { shard, miner } =
                change
                && marks
            {
                self.marks.insert((shard, miner));
            }
        }
    }
}

impl Memory {
    fn state(&self) -> State {
        self.state.lock().unwrap().clone()
    }
}

#[async_trait]
impl Book for Memory {
    async fn cursor(&self, _: &NodeId) -> Result<u64, BookError> {
        Ok(self.state.lock().unwrap().cursor)
    }

    async fn apply(&self, _: &NodeId, changes: Vec<Change>, reached: u64) -> Result<(), BookError> {
        let mut state = self.state.lock().unwrap();
        state.change(changes, false);
        state.cursor = reached;
        Ok(())
    }

    async fn begin_anew(&self, _: &NodeId) -> Result<(), BookError> {
        let mut state = self.state.lock().unwrap();
        state.marks.clear();
        state.begun += 1;
        Ok(())
    }

    async fn apply_anew(&self, _: &NodeId, changes: Vec<Change>) -> Result<(), BookError> {
        self.state.lock().unwrap().change(changes, true);
        Ok(())
    }

    async fn end_anew(&self, _: &NodeId, reached: u64) -> Result<(), BookError> {
        let state = &mut *self.state.lock().unwrap();
        let marks = std::mem::take(&mut state.marks);
        state.known.retain(|known| marks.contains(known));
        state.cursor = reached;
        Ok(())
    }
}

/// Rows by number; answers left before it is silent; what is done to pages behind the first so many calls.
#[derive(Default)]
struct Gateway {
    rows: Mutex<BTreeMap<u64, LedgerRecord>>,
    base: Mutex<LedgerBase>,
    answers: Mutex<Option<u32>>,
    asked: Mutex<u32>,
    /// From which question on this line is left out.
    hides: Mutex<Option<(u32, u64)>>,
}

#[async_trait]
impl Service for Gateway {
    async fn serve(&self, _: NodeId, request: Request, _: Bytes) -> (Response, Bytes) {
        if let Some(left) = &mut *self.answers.lock().unwrap() {
            if *left == 0 {
                return (Response::error(ErrorCode::Busy, ""), Bytes::new());
            }
            *left -= 1;
        }
        let mut asked = self.asked.lock().unwrap();
        *asked += 1;
        let response = match request {
            Request::LedgerBase => Response::LedgerBase(self.base.lock().unwrap().clone()),
            Request::LedgerFrom { after, limit, version: 4 } => {
                let (rows, hides) = (self.rows.lock().unwrap(), *self.hides.lock().unwrap());
                let is_hidden =
                    |line: u64| hides.is_some_and(|(from, hidden)| *asked >= from && line == hidden);
                let rows = rows.range(after + 1..).filter(|(line, _)| !is_hidden(**line));
                let entry =
                    |(line, record): (&u64, &LedgerRecord)| LedgerEntry { sequence: *line, record: *record };
                Response::LedgerLines(rows.map(entry).take(usize::from(limit)).collect())
            }
            other => panic!("{other:?}"),
        };
        (response, Bytes::new())
    }
}

impl Gateway {
    fn push(&self, lines: impl IntoIterator<Item = LedgerRecord>) {
        let mut rows = self.rows.lock().unwrap();
        for record in lines {
            let next = rows.keys().next_back().map_or(1, |last| last + 1);
            rows.insert(next, record);
        }
    }

    /// Lines until a segment is full, which nothing needs: a shard that comes and goes.
    fn fill(&self) {
        let signed = stripe(9, 1)[0];
        while !(self.rows.lock().unwrap().keys().next_back().copied().unwrap_or(0)).is_multiple_of(SEGMENT) {
            let is_there = matches!(
                self.rows.lock().unwrap().values().next_back(),
                Some(LedgerRecord::Stored(last)) if *last == signed
            );
            self.push([match is_there {
                true => LedgerRecord::Deleted { shard: signed.receipt.shard },
                false => LedgerRecord::Stored(signed),
            }]);
        }
    }

    /// Says what is kept, and drops the rest. Every line has to be there, or to have been kept.
    fn compact(&self, peaks_of: &[LedgerRecord]) {
        let mut rows = self.rows.lock().unwrap();
        let line = rows.keys().next_back().unwrap() + 1;
        let until = (line - 1) / SEGMENT * SEGMENT;
        let (mut keeping, mut root, mut peaks) = (Keeping::default(), KeptRoot::default(), Peaks::default());
        rows.range(..=until).for_each(|(line, record)| keeping.take(*line, record));
        let kept = keeping.lines();
        kept.iter().for_each(|line| root.push(line_hash(&GENESIS, &GATEWAY, *line, &rows[line])));
        ledger(peaks_of[..until as usize].to_vec()).hashes().into_iter().for_each(|hash| peaks.push(hash));
        rows.insert(line, LedgerRecord::Compacted(root.of(until)));
        rows.retain(|line, _| *line > until || kept.contains(line));
        *self.base.lock().unwrap() = LedgerBase { peaks: peaks.hashes().to_vec(), until, line };
    }

    fn lines(&self) -> Vec<LedgerRecord> {
        self.rows.lock().unwrap().values().copied().collect()
    }
}

struct Stage {
    gateway: Arc<Gateway>,
    network: MemoryNetwork,
    book: Arc<Memory>,
    metrics: LedgerMetrics,
}

impl Stage {
    fn new() -> Self {
        let (gateway, network) = (Arc::new(Gateway::default()), MemoryNetwork::new());
        network.listen("gateway:1", GATEWAY, gateway.clone());
        Self { gateway, network, book: Arc::default(), metrics: LedgerMetrics::default() }
    }

    /// As after a start.
    fn follower(&self) -> Follower {
        let peer = PeerAddr { node_id: GATEWAY, endpoint: "gateway:1".into() };
        let transport = Arc::new(self.network.transport(NodeId([2; 32])));
        let checker = Arc::new(tokio::sync::Mutex::new(checker()));
        Follower::new(peer, transport, self.book.clone(), checker, self.metrics.clone())
    }

    fn knows(&self) -> BTreeSet<(ShardHash, NodeId)> {
        self.book.state().known
    }

    /// Two pages of shards that stay, one stripe that goes, and lines that nobody needs.
    fn fill(&self) {
        for n in 1..4 {
            self.gateway.push(stored(n));
        }
        self.gateway.fill();
        self.gateway
            .push(stripe(1, 1).iter().map(|signed| LedgerRecord::Deleted { shard: signed.receipt.shard }));
        for n in 10..30 {
            self.gateway.push(stored(n));
        }
        self.gateway.fill();
    }
}

fn stored(n: u8) -> Vec<LedgerRecord> {
    stripe(n, 1).into_iter().map(LedgerRecord::Stored).collect()
}

/// What whoever follows a ledger of the same lines knows that was never compacted.
async fn expected(lines: Vec<LedgerRecord>) -> BTreeSet<(ShardHash, NodeId)> {
    let stage = Stage::new();
    stage.gateway.push(lines);
    stage.follower().sync().await.unwrap();
    stage.knows()
}

#[tokio::test]
async fn whoever_is_behind_or_new_reads_anew_what_was_kept() {
    for first in [0, 50, 4_000, 4_096, 5_000, 8_192] {
        let stage = Stage::new();
        stage.fill();
        let all = stage.gateway.lines();
        let follower = stage.follower();
        if first > 0 {
            let held: Vec<_> = all[..first].to_vec();
            *stage.gateway.rows.lock().unwrap() = (1..).zip(held).collect();
            follower.sync().await.unwrap();
            *stage.gateway.rows.lock().unwrap() = (1..).zip(all.clone()).collect();
        }
        stage.gateway.push(stored(40));
        let all = stage.gateway.lines();
        stage.gateway.compact(&all);
        stage
            .gateway
            .push(stripe(2, 1).iter().map(|signed| LedgerRecord::Deleted { shard: signed.receipt.shard }));
        follower.sync().await.unwrap();
        let behind =
            stripe(2, 1).into_iter().map(|signed| LedgerRecord::Deleted { shard: signed.receipt.shard });
        assert_eq!(stage.knows(), expected(all.into_iter().chain(behind).collect()).await, "{first}");
        assert_eq!(stage.book.state().cursor, 2 * SEGMENT + 30 + 1 + 30);
        assert_eq!((follower.reach(), follower.age().is_some()), (Reach::Complete, true));
        // Whoever knew all up to the base reads nothing anew.
        let anew = u64::from(first < 8_192);
        assert_eq!((stage.metrics.read_anew.get(), stage.metrics.bases_refused.get()), (anew, 0), "{first}");
        follower.sync().await.unwrap();
        assert_eq!(stage.metrics.read_anew.get(), anew);
    }
}

/// Wherever it stops, with the process or without, what was known stays known until all of it is read.
#[tokio::test]
async fn reading_anew_goes_on_where_it_stopped_and_forgets_nothing_before_its_end() {
    let stage = Stage::new();
    stage.gateway.push(stored(1));
    let follower = stage.follower();
    follower.sync().await.unwrap();
    let before = stage.knows();
    *stage.gateway.rows.lock().unwrap() = BTreeMap::new();
    stage.fill();
    let all = stage.gateway.lines();
    stage.gateway.compact(&all);
    let wanted = expected(all).await;
    for (restarts, follower) in [(false, follower), (true, stage.follower())] {
        *stage.book.state.lock().unwrap() = State { cursor: 30, known: before.clone(), ..State::default() };
        let (mut follower, mut tries) = (follower, 0);
        loop {
            *stage.gateway.answers.lock().unwrap() = Some(if restarts { tries } else { 3 });
            tries += 1;
            assert!(tries < 40);
            match follower.sync().await {
                Ok(()) => break,
                Err(error) => assert!(matches!(error, FollowError::Call(_)), "{error}"),
            }
            if stage.book.state().cursor < 2 * SEGMENT {
                assert!(stage.knows().is_superset(&before) && follower.age().is_none());
                assert!(tries < 3 || follower.reach() != Reach::Complete);
            }
            if restarts {
                follower = stage.follower();
            }
        }
        assert_eq!(stage.knows(), wanted);
        assert_eq!(follower.reach(), Reach::Complete);
        let begun = stage.book.state().begun;
        assert!(if restarts { begun > 1 } else { begun == 1 }, "{begun}");
        *stage.gateway.answers.lock().unwrap() = None;
    }
}

#[tokio::test]
async fn what_is_not_what_was_said_is_not_taken_over() {
    let stage = Stage::new();
    stage.fill();
    let all = stage.gateway.lines();
    stage.gateway.compact(&all);
    let right = stage.gateway.base.lock().unwrap().clone();
    let refused = async || {
        let before = stage.book.state();
        let error = stage.follower().sync().await.unwrap_err();
        assert!(matches!(error, FollowError::Base(_)), "{error}");
        assert_eq!((stage.book.state().known, stage.book.state().cursor), (before.known, before.cursor));
        error.to_string()
    };
    // A live line is left out, from the first or from the second look on.
    *stage.gateway.hides.lock().unwrap() = Some((0, 31));
    assert!(refused().await.contains("is not what line 8193 says is kept"));
    *stage.gateway.hides.lock().unwrap() = Some((6, 31));
    refused().await;
    *stage.gateway.hides.lock().unwrap() = None;
    // A dead one is back.
    stage.gateway.rows.lock().unwrap().insert(1, all[0]);
    refused().await;
    stage.gateway.rows.lock().unwrap().remove(&1);
    for wrong in [
        LedgerBase { line: right.line + 1, ..right.clone() },
        LedgerBase { until: SEGMENT, peaks: vec![[0; 32]], ..right.clone() },
        LedgerBase { peaks: Vec::new(), ..right.clone() },
    ] {
        *stage.gateway.base.lock().unwrap() = wrong;
        refused().await;
    }
    assert_eq!(stage.metrics.bases_refused.get(), 6);
    *stage.gateway.base.lock().unwrap() = right;
    stage.follower().sync().await.unwrap();
    assert_eq!(stage.knows(), expected(all).await);
    // Lines that are missing behind the base are lost.
    stage.gateway.push(stored(41));
    stage.gateway.rows.lock().unwrap().remove(&(2 * SEGMENT + 5));
    assert!(matches!(stage.follower().sync().await, Err(FollowError::Gap { after: 8_196, found: 8_198 })));
}
