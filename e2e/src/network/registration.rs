//! Everybody's place on the chain: funds, families, miners, service nodes, wardens, submitter.
//!
//! Miners join as any miner would, through `arion-miner register`; the well-known sudo account does the rest. Whatever
//! stands on the chain already is left alone, so that a network can be started again from its directory.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use arion_chain::{Account, Call, ChainClient, Wait};
use arion_types::{Lane, NodeType, registration, signing, units::HIPP};
use serde_json::Value;
use tokio::{sync::Semaphore, task::JoinSet, time::sleep};

use super::{Network, WARDENS};
use crate::{layout, ports::NODES_MAX, progress::Progress};

/// What every account of the network gets: the deposits of its registrations and fees for years.
const ENDOWMENT: u128 = 5_000 * HIPP;
/// An account that has less gets [`ENDOWMENT`].
const BALANCE_MIN: u128 = 1_000 * HIPP;
/// Second children that join while lockup is on, so that the doubling deposit can be seen.
const PAID: usize = 2;
/// Programs run at once.
const TOGETHER: usize = 8;
const FINALISED_DEADLINE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(500);
/// Accounts of the validators of `--chain local:N`, in order.
const VALIDATORS: [&str; NODES_MAX as usize] = ["//Alice", "//Bob", "//Charlie", "//Dave"];

/// A miner that was registered, and what its family paid.
#[derive(Clone, Debug)]
pub struct Registered {
    /// Name of the miner.
    pub miner: String,
    /// Name of its family.
    pub family: String,
    /// Held on the family's account, from the event `Arion.ChildRegistered`.
    pub deposit: u128,
    /// Whether lockup was on.
    pub lockup: bool,
}

impl Network {
    /// The account of a validator, counted from 0; a well-known key of local networks.
    pub fn validator_account(index: u16) -> &'static str {
        VALIDATORS[usize::from(index)]
    }

    /// Registers everybody. Returns the miners registered now, in the order in which they joined.
    pub(super) async fn register_all(
        &mut self,
        chain: &ChainClient,
        progress: &Progress,
    ) -> anyhow::Result<Vec<Registered>> {
        let alice = Account::from_secret(VALIDATORS[0])?;
        self.fund(chain, &alice, progress).await?;
        let (first, others) = self.unregistered(chain).await?;
        let count = usize::from(self.options.miners);
        let before = count - first.len() - others.len();

        let services = self.register_services(chain, &alice);
        let (services, joined) = tokio::join!(services, self.register_miners(&first, true));
        services?;
        let mut registered = joined?;
        if !first.is_empty() {
            let done = before + registered.len();
            progress.say(format!("registered miners {done}/{count}: the first of each family, free"));
        }

        // While lockup is on, another miner costs.
        let lockup = chain.lockup_enabled().await?;
        let (paid, free) = others.split_at(if lockup { PAID.min(others.len()) } else { 0 });
        for index in paid {
            let joined = self.register_miners(&[*index], true).await?;
            for joined in &joined {
                let amount = joined.deposit / HIPP;
                progress.say(format!(
                    "{} joined {} for a deposit of {amount} ALPHA",
                    joined.miner, joined.family
                ));
            }
            registered.extend(joined);
        }
        if lockup {
            chain.submit(&alice, &Call::sudo(Call::set_lockup_enabled(false)), Wait::InBlock).await?;
            progress.say("lockup is off: the others join without a deposit");
        }
        // One of a family at a time: they are paid for by the same account.
        for place in 1..self.family {
            let miners: Vec<u16> =
                free.iter().copied().filter(|index| index % self.family == place).collect();
            registered.extend(self.register_miners(&miners, false).await?);
        }
        self.until_registered(chain).await?;
        progress.say(format!("registered miners {}/{count}, finalised", before + registered.len()));
        Ok(registered)
    }

    /// Registers the miners of which the chain does not know yet, one after the other.
    pub(super) async fn register_further(
        &mut self,
        chain: &ChainClient,
        progress: &Progress,
    ) -> anyhow::Result<()> {
        let alice = Account::from_secret(VALIDATORS[0])?;
        self.fund(chain, &alice, progress).await?;
        let (first, others) = self.unregistered(chain).await?;
        let lockup = chain.lockup_enabled().await?;
        for index in first.into_iter().chain(others) {
            self.register_miners(&[index], lockup).await?;
        }
        self.until_registered(chain).await
    }

    async fn fund(&self, chain: &ChainClient, alice: &Account, progress: &Progress) -> anyhow::Result<()> {
        let names =
            (0..self.families()).map(Self::family_name).chain(["gateway".to_owned(), "submitter".to_owned()]);
        let mut transfers = Vec::new();
        for name in names {
            let account = self.account(&name)?.id();
            if chain.free_balance(&account).await? < BALANCE_MIN {
                transfers.push(Call::transfer(&account, ENDOWMENT));
            }
        }
        if !transfers.is_empty() {
            let count = transfers.len();
            chain.submit(alice, &Call::batch(transfers), Wait::InBlock).await?;
            progress.say(format!("accounts funded: {count} with {} ALPHA each", ENDOWMENT / HIPP));
        }
        Ok(())
    }

    /// Validator services, gateway, wardens and submitter.
    async fn register_services(&self, chain: &ChainClient, alice: &Account) -> anyhow::Result<()> {
        self.register_gateway().await?;
        for index in 0..self.options.validators {
            let owner = Account::from_secret(Self::validator_account(index))?;
            let node_type = NodeType::Validator;
            let key = self.node_key(&Self::validator_name(index))?;
            let node = signing::node_id(&key);
            let mut calls = Vec::new();
            if chain.owner(&owner.id()).await?.is_none() {
                calls.push(Call::register_owner_node(Lane::Storage));
            }
            if chain.node(&node).await?.is_none() {
                let nonce = chain.node_nonce(&node).await?;
                let message =
                    registration::node_message(&chain.genesis(), &owner.id(), node_type, &node.0, nonce);
                calls.push(Call::register_node(node_type, &node, &signing::sign(&key, &message)));
            }
            if !calls.is_empty() {
                chain.submit(&owner, &Call::batch(calls), Wait::InBlock).await?;
            }
        }
        let wardens = chain.registry().await?.wardens;
        let mut admitted = Vec::new();
        for index in 0..WARDENS {
            let warden = self.node_id(&Self::warden_name(index))?;
            if !wardens.contains(&warden) {
                admitted.push(Call::register_warden(&warden));
            }
        }
        if !admitted.is_empty() {
            chain.submit(alice, &Call::sudo(Call::batch(admitted)), Wait::InBlock).await?;
        }
        let admit = Call::sudo(Call::add_attestation_submitter(&self.account("submitter")?.id()));
        match chain.submit(alice, &admit, Wait::InBlock).await {
            Err(error) if error.dispatch_name() != Some("Arion.SubmitterAlreadyAdded") => Err(error.into()),
            _ => Ok(()),
        }
    }

    async fn register_gateway(&self) -> anyhow::Result<()> {
        let directory = self.directory("gateway");
        let (data, ws) = (directory.to_string_lossy().into_owned(), self.ws());
        if !directory.join("gateway.toml").exists() {
            run(&["arion-gateway", "init", "--data-dir", &data]).await?;
        }
        let owner = self.account_file("gateway").to_string_lossy().into_owned();
        let command = ["arion-gateway", "register", "--data-dir", &data, "--chain-url", &ws];
        run(&[&command[..], &["--owner-key", &owner, "--in-block"]].concat()).await?;
        Ok(())
    }

    /// Numbers of the miners that are not registered yet: the first of each family, and the others.
    async fn unregistered(&self, chain: &ChainClient) -> anyhow::Result<(Vec<u16>, Vec<u16>)> {
        let registry = chain.registry().await?;
        let mut missing = Vec::new();
        for index in 0..self.options.miners {
            let miner = Self::miner_name(index);
            if !self.directory(&miner).join("miner.toml").exists() {
                let data = self.directory(&miner).to_string_lossy().into_owned();
                run(&["arion-miner", "init", "--data-dir", &data]).await?;
            }
            if !registry.miners.contains_key(&self.node_id(&miner)?) {
                missing.push(index);
            }
        }
        Ok(missing.into_iter().partition(|index| index % self.family == 0))
    }

    /// Runs `arion-miner register` for these miners, some at once.
    async fn register_miners(&self, miners: &[u16], lockup: bool) -> anyhow::Result<Vec<Registered>> {
        let slots = Arc::new(Semaphore::new(TOGETHER));
        let mut tasks = JoinSet::new();
        for index in miners {
            let (miner, family) = (Self::miner_name(*index), Self::family_name(self.family_of(*index)));
            self.account(&family)?;
            let data = self.directory(&miner).to_string_lossy().into_owned();
            let family_key = self.account_file(&family).to_string_lossy().into_owned();
            let (ws, slots) = (self.ws(), slots.clone());
            tasks.spawn(async move {
                let _slot = slots.acquire_owned().await?;
                let command = ["arion-miner", "register", "--data-dir", &data, "--chain-url", &ws];
                let options = ["--family-key", &family_key, "--in-block", "--json"];
                let answer: Value = serde_json::from_str(&run(&[&command[..], &options].concat()).await?)?;
                let deposit =
                    answer["deposit"].as_str().context("arion-miner register told no deposit")?.parse()?;
                let block = answer["registered_at"].as_u64().unwrap_or_default();
                anyhow::Ok((block, Registered { miner, family, deposit, lockup }))
            });
        }
        let mut registered = Vec::new();
        while let Some(done) = tasks.join_next().await {
            registered.push(done??);
        }
        registered.sort_by(|a, b| (a.0, &a.1.miner).cmp(&(b.0, &b.1.miner)));
        Ok(registered.into_iter().map(|(_, registered)| registered).collect())
    }

    /// Takes a miner, counted from 0, off the chain, as its family would.
    pub async fn deregister_miner(&self, chain: &ChainClient, index: u16) -> anyhow::Result<()> {
        let node = self.node_id(&Self::miner_name(index))?;
        let child = chain.child_of_node(&node).await?.context("the miner is not on the chain")?;
        let family = self.account(&Self::family_name(self.family_of(index)))?;
        chain.submit(&family, &Call::deregister_child(&child), Wait::InBlock).await?;
        Ok(())
    }

    async fn until_registered(&self, chain: &ChainClient) -> anyhow::Result<()> {
        let begun = Instant::now();
        let wanted = usize::from(self.options.miners);
        loop {
            let registry = chain.registry().await?;
            let found = registry.miners.len();
            let services = registry.gateways.len() + registry.validators.len() + registry.wardens.len();
            if found >= wanted && services >= usize::from(1 + self.options.validators + WARDENS) {
                return Ok(());
            }
            if begun.elapsed() > FINALISED_DEADLINE {
                bail!("only {found} of {wanted} miners are registered in the finalised state");
            }
            sleep(POLL).await;
        }
    }
}

/// Runs one of our programs to its end; returns what it printed.
pub async fn run(command: &[&str]) -> anyhow::Result<String> {
    let (program, arguments) = command.split_first().context("an empty command cannot be run")?;
    let output = tokio::process::Command::new(layout::program(program)?)
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        bail!("{}: {}", command.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}
