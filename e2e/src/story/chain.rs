//! The validators of a chain: it survives one, waits for two, takes in a fifth and punishes a cheat; and its marketplace.
//!
//! Chain nodes only, no miners. An era of the network takes six minutes, so what belongs to the next era is begun
//! first and looked at when the rest is told. The story of the marketplace is told in between.

use std::{
    collections::BTreeSet,
    ops::RangeInclusive,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use arion_chain::{Account, AccountId, Call, ChainClient, Wait, ss58};
use serde_json::json;
use tokio::time::sleep;

use crate::{
    http,
    network::{
        Network, Options,
        chain_nodes::{best, finalised},
    },
    progress::Progress,
    report::Report,
    story::{begin, conclude, marketplace, within},
};

/// The longest the story may take; then it has failed.
const DEADLINE: Duration = Duration::from_secs(30 * 60);
const VALIDATORS: u16 = 4;
/// Places of the two nodes that are added.
const JOINER: u16 = VALIDATORS;
const TWIN: u16 = VALIDATORS + 1;
/// Blocks that have to become final, or may not.
const BLOCKS: u64 = 8;
/// Votes that were on their way when the second validator was lost may still finalise so many.
const ON_THEIR_WAY: u64 = 3;
/// For `BLOCKS` blocks with half of the authors, and for validators to find each other again.
const BLOCKS_DEADLINE: Duration = Duration::from_secs(150);
/// Two eras, in case the first election was missed.
const ERA_DEADLINE: Duration = Duration::from_secs(13 * 60);
/// The two nodes have to differ in a vote, which they do only when one of them sees a block later than the other.
const SLASH_DEADLINE: Duration = Duration::from_secs(8 * 60);
/// Two blocks in one slot, two votes in one round: what the chain calls them, 16 bytes each.
const OFFENCES: [&str; 2] = ["babe:equivocatio", "grandpa:equivoca"];
const POLL: Duration = Duration::from_secs(1);
const HIPP: u128 = 1_000_000_000_000_000_000;
/// What the fifth validator bonds, as the others did at genesis.
const BOND: u128 = 100_000 * HIPP;

/// Where the nodes run.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// First of the 300 ports that the network of the story uses.
    #[arg(long, value_name = "P", default_value_t = 22_800)]
    base_port: u16,
}

struct Stage {
    network: Network,
    report: Report,
    progress: Progress,
}

/// Tells the story. The exit code says whether every check held.
pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let progress = Progress::start();
    let (network, lock) = begin("chain", arguments.base_port, Options { miners: 0, validators: VALIDATORS })?;
    let mut stage = Stage { network, report: Report::new("chain"), progress };

    let told = within(DEADLINE, tell(&mut stage)).await;
    if let Err(error) = told {
        stage.report.error("the story ended early", &error);
    }
    stop(&mut stage).await;
    let Stage { report, progress, network } = stage;
    Ok(conclude(&network, &lock, &report, &progress))
}

async fn tell(stage: &mut Stage) -> anyhow::Result<()> {
    stage.report.step(1, "four validators finalise");
    stage.network.start_chain(&stage.progress).await?;
    let reached = stage.until_finalised(BLOCKS, &[0, 1, 2, 3]).await?;
    stage.report.check(format!("all four nodes have finalised block {BLOCKS}"), reached);
    let chain = stage.network.chain().await?;
    stage.report.check("they are the validators of the session", chain.validators().await?.len() == 4);

    let joiner = stage.a_fifth_asks_to_join(&chain).await?;
    stage.one_is_lost().await?;
    stage.two_are_lost().await?;
    let rpc = stage.network.node_rpc(0);
    marketplace::tell(&chain, &rpc, &mut stage.report, 5).await?;
    stage.the_fifth_validates(&chain, &joiner).await?;
    stage.one_cheats(&chain).await
}

impl Stage {
    async fn a_fifth_asks_to_join(&mut self, chain: &ChainClient) -> anyhow::Result<AccountId> {
        self.report.step(2, "a fifth node makes keys and its owner bonds, sets them and stands for election");
        self.network.add_node(JOINER, &["--validator"]).await?;
        let owner = Account::from_secret("//Eve")?;
        let answer = http::rpc(
            &self.network.node_rpc(JOINER),
            "author_rotateKeysWithOwner",
            json!([format!("0x{}", hex::encode(owner.id()))]),
        )
        .await?;
        let bytes = |field: &str| -> anyhow::Result<Vec<u8>> {
            let text = answer[field].as_str().with_context(|| format!("the node made no {field}"))?;
            Ok(hex::decode(text.trim_start_matches("0x"))?)
        };
        let (keys, proof) = (bytes("keys")?, bytes("proof")?);
        let calls = [Call::bond(BOND), Call::set_session_keys(&keys, &proof), Call::validate()];
        let outcome = chain.submit(&owner, &Call::batch(calls.into()), Wait::Finalized).await?;
        self.report.observed(format!(
            "{} bonded {} ALPHA in block {}",
            ss58(&owner.id()),
            BOND / HIPP,
            outcome.block.number
        ));
        self.report.check("its stake is bonded", chain.stake(&owner.id()).await? == BOND);
        let early = chain.validators().await?.contains(&owner.id());
        self.report
            .check("it does not validate before the next era", !early || chain.active_era().await? > 0);
        Ok(owner.id())
    }

    async fn one_is_lost(&mut self) -> anyhow::Result<()> {
        self.report.step(3, "one validator is killed: blocks still become final");
        self.network.kill("node-4")?;
        let from = finalised(&self.network.node_rpc(0)).await?;
        let reached = self.until_finalised(from + BLOCKS, &[0, 1, 2]).await?;
        self.report.check(format!("three of four finalised {BLOCKS} more blocks, from {from}"), reached);
        Ok(())
    }

    async fn two_are_lost(&mut self) -> anyhow::Result<()> {
        self.report.step(4, "a second is killed: blocks go on, finality waits; both return: it goes on");
        self.network.kill("node-3")?;
        let first = self.network.node_rpc(0);
        let (best_before, final_before) = (best(&first).await?, finalised(&first).await?);
        let begun = Instant::now();
        while best(&first).await? < best_before + BLOCKS {
            if begun.elapsed() > BLOCKS_DEADLINE {
                bail!("two of four validators made no {BLOCKS} blocks in {} s", BLOCKS_DEADLINE.as_secs());
            }
            sleep(POLL).await;
        }
        let (best_after, final_after) = (best(&first).await?, finalised(&first).await?);
        self.report.observed(format!(
            "best block {best_before} -> {best_after}, final {final_before} -> {final_after}, {:.0} s",
            begun.elapsed().as_secs_f64()
        ));
        self.report.check("blocks are still produced", best_after >= best_before + BLOCKS);
        self.report.check("none of them became final", final_after <= final_before + ON_THEIR_WAY);

        for name in ["node-3", "node-4"] {
            self.network.start(name)?;
        }
        let begun = Instant::now();
        let reached = self.until_finalised(best_after + BLOCKS, &[0, 1, 2, 3]).await?;
        self.report.check("with both back, what waited and new blocks became final on all four", reached);
        self.report.observed(format!("recovered in {:.0} s", begun.elapsed().as_secs_f64()));
        Ok(())
    }

    async fn the_fifth_validates(&mut self, chain: &ChainClient, joiner: &AccountId) -> anyhow::Result<()> {
        self.report.step(
            5 + marketplace::STEPS,
            "the next era begins: the fifth is elected, produces blocks and votes",
        );
        let begun = Instant::now();
        while !chain.validators().await?.contains(joiner) {
            if begun.elapsed() > ERA_DEADLINE {
                bail!("the fifth validator was not elected within {} s", ERA_DEADLINE.as_secs());
            }
            sleep(POLL).await;
        }
        let (count, era) = (chain.validators().await?.len(), chain.active_era().await?);
        self.report.observed(format!("era {era}, {:.0} s later", begun.elapsed().as_secs_f64()));
        self.report.check("the session has five validators", count == 5 && era > 0);
        let address = self.network.node_rpc(JOINER);
        let epoch = http::rpc(&address, "babe_epochAuthorship", json!([])).await?;
        let slots = epoch.as_object().map_or(0, |keys| keys.len());
        self.report.check("its node may author blocks of this session", slots == 1);
        // Without the fifth vote, four of five are needed: with one killed, the fifth decides.
        self.network.kill("node-4")?;
        let from = finalised(&address).await?;
        let reached = self.until_finalised(from + BLOCKS, &[0, 1, 2, JOINER]).await?;
        self.report.check("with one of the first four lost, its vote makes blocks final", reached);
        self.network.start("node-4")?;
        let best = best(&address).await?;
        let reached = self.until_finalised(best, &[0, 1, 2, 3, JOINER]).await?;
        self.report.check("all five are at the same height again", reached);
        Ok(())
    }

    async fn one_cheats(&mut self, chain: &ChainClient) -> anyhow::Result<()> {
        self.report.step(
            6 + marketplace::STEPS,
            "a second node with Bob's keys: two blocks in a slot and two votes in a round, which is slashed",
        );
        let bob = Account::from_secret("//Bob")?.id();
        let stake = chain.stake(&bob).await?;
        let mut looked_at = chain.finalized().await?.number;
        let mut reported = BTreeSet::new();
        self.network.add_node(TWIN, &["--bob"]).await?;
        let begun = Instant::now();
        while reported.len() < OFFENCES.len() {
            if begun.elapsed() > SLASH_DEADLINE {
                bail!(
                    "within {} s, of {OFFENCES:?} only {reported:?} were reported",
                    SLASH_DEADLINE.as_secs()
                );
            }
            sleep(POLL).await;
            let last = chain.finalized().await?.number;
            for offence in offences(chain, looked_at + 1..=last).await? {
                let seconds = begun.elapsed().as_secs_f64();
                if reported.insert(offence.clone()) {
                    self.report
                        .observed(format!("{offence} reported, {seconds:.0} s after the second node began"));
                }
            }
            looked_at = last;
        }
        let left = chain.stake(&bob).await?;
        self.report.observed(format!("Bob lost {} of {} ALPHA", (stake - left) / HIPP, stake / HIPP));
        for offence in OFFENCES {
            self.report.check(format!("the chain took a proof of {offence}"), reported.contains(offence));
        }
        self.network.kill(&Network::node_name(TWIN))?;
        self.report.check("its stake is slashed", chain.stake(&bob).await? < stake);
        self.report.check("it may produce no blocks", chain.disabled_validators().await? == [bob]);
        for honest in ["//Alice", "//Charlie", "//Dave", "//Eve"] {
            let kept = chain.stake(&Account::from_secret(honest)?.id()).await? >= BOND;
            self.report.check(format!("{honest} keeps its stake"), kept);
        }
        let from = best(&self.network.node_rpc(0)).await?;
        let reached = self.until_finalised(from + BLOCKS, &[0, 2, 3, JOINER]).await?;
        self.report.check("the others go on finalising", reached);
        Ok(())
    }

    /// Waits until these nodes have finalised a block; false if they have not in time.
    async fn until_finalised(&mut self, block: u64, nodes: &[u16]) -> anyhow::Result<bool> {
        let begun = Instant::now();
        for node in nodes {
            let address = self.network.node_rpc(*node);
            // A node that was just started does not answer yet.
            while finalised(&address).await.unwrap_or(0) < block {
                if begun.elapsed() > BLOCKS_DEADLINE {
                    return Ok(false);
                }
                if let Some((name, ending)) = self.network.ended()?.first() {
                    bail!("{name} {ending}");
                }
                sleep(POLL).await;
            }
        }
        Ok(true)
    }
}

/// Which of `OFFENCES` and others these blocks tell of.
async fn offences(chain: &ChainClient, blocks: RangeInclusive<u32>) -> anyhow::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for number in blocks {
        let block = chain.block_hash(number).await?.with_context(|| format!("no block {number}"))?;
        let events = chain.events(block).await?.into_iter().map(|event| event.event);
        for offence in events.filter(|event| event.is("Offences", "Offence")) {
            let kind = offence.bytes("kind").context("an offence without a kind")?;
            found.insert(String::from_utf8_lossy(&kind).into_owned());
        }
    }
    Ok(found)
}

async fn stop(stage: &mut Stage) {
    stage.report.step(7 + marketplace::STEPS, "stop: no process is left, no port is open");
    match stage.network.stop().await {
        Ok(late) => stage.report.check("all ended by themselves", late.is_empty()),
        Err(error) => stage.report.error("stopping", &error),
    }
    stage.report.check("no port is open", stage.network.ports().taken().is_empty());
}
