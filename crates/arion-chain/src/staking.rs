//! What staking and sessions say about validators, at the finalised head.

use codec::{Compact, Decode};

use crate::{
    account::AccountId,
    client::{ChainClient, ChainError},
};

impl ChainClient {
    /// The era that earns rewards now, counted from 0.
    pub async fn active_era(&self) -> Result<u32, ChainError> {
        /// `ActiveEraInfo`.
        #[derive(Decode)]
        struct ActiveEra {
            index: u32,
            _start_ms: Option<u64>,
        }
        let era: Option<ActiveEra> = self.head().await?.value("Staking", "ActiveEra").await?;
        Ok(era.map_or(0, |era| era.index))
    }

    /// What an account has at stake, in smallest units; 0 if it has bonded nothing.
    pub async fn stake(&self, account: &AccountId) -> Result<u128, ChainError> {
        /// `StakingLedger` as far as it is of interest; more follows.
        #[derive(Decode)]
        struct Ledger {
            _stash: AccountId,
            _total: Compact<u128>,
            active: Compact<u128>,
        }
        let head = self.head().await?;
        let key = self.interface().map_key("Staking", "Ledger", account)?;
        let values = self.rpc().storage(&[key], head.at).await?;
        let Some(Some(bytes)) = values.first() else { return Ok(0) };
        let ledger = Ledger::decode(&mut &bytes[..]).map_err(|_| ChainError::Undecodable("Ledger"))?;
        Ok(ledger.active.0)
    }

    /// Validators of the session that may not produce blocks until the era is over.
    pub async fn disabled_validators(&self) -> Result<Vec<AccountId>, ChainError> {
        let head = self.head().await?;
        let validators: Vec<AccountId> = head.value("Session", "Validators").await?.unwrap_or_default();
        // Index and severity in parts of 10^9.
        let disabled: Vec<(u32, u32)> =
            head.value("Session", "DisabledValidators").await?.unwrap_or_default();
        let accounts = disabled.iter().filter_map(|(index, _)| validators.get(*index as usize));
        Ok(accounts.copied().collect())
    }
}
