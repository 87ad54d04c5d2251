//! A chain with chain-submitters and nothing else: wardens are registered, and run nowhere; no map, no miners, no gateway.

use std::time::Duration;

use arion_chain::{Account, Call, ChainClient, Wait};

use super::{Network, WARDENS};

/// How long a submitter may take until its health page answers.
const UP_DEADLINE: Duration = Duration::from_secs(180);

impl Network {
    /// Name of a chain-submitter, counted from 0.
    pub fn submitter_name(index: u16) -> String {
        match index {
            0 => "submitter".to_owned(),
            index => format!("submitter-{}", index + 1),
        }
    }

    /// Admits wardens and submitters on the chain. Nobody gets funds.
    pub async fn admit_submitters(&mut self, chain: &ChainClient, submitters: u16) -> anyhow::Result<()> {
        let governance = Account::from_secret(Self::validator_account(0))?;
        let mut calls = Vec::new();
        for index in 0..WARDENS {
            calls.push(Call::register_warden(&self.node_id(&Self::warden_name(index))?));
        }
        for index in 0..submitters {
            let name = Self::submitter_name(index);
            calls.push(Call::add_attestation_submitter(&self.account(&name)?.id()));
            self.plan_submitter(index)?;
        }
        chain.submit(&governance, &Call::sudo(Call::batch(calls)), Wait::Finalized).await?;
        Ok(())
    }

    /// Starts a submitter, and waits until its health page answers, whatever it says.
    pub async fn start_submitter(&mut self, index: u16) -> anyhow::Result<()> {
        let name = Self::submitter_name(index);
        self.start(&name)?;
        self.supervisor().wait_healthy(&name, UP_DEADLINE).await
    }
}
