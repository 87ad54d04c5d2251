//! Transactions: signed, handed to the node, and followed until their fate is known.

use std::time::Duration;

use blake2::{Blake2b, Digest, digest::consts::U32};
use subxt::{
    OfflineClient, SubstrateConfig,
    config::substrate::{SpecVersionForRange, SubstrateExtrinsicParamsBuilder},
    ext::{scale_encode, scale_type_resolver::TypeResolver},
    tx::Signer,
    utils::{AccountId32, H256, MultiSignature},
};

use crate::{
    account::{Account, ss58},
    call::Call,
    client::{ChainClient, ChainError, Runtime},
    events::{self, Event},
    follow::{Submitted, follow},
    interface::InterfaceError,
    records::BlockRef,
    rpc::RpcError,
};

/// A transaction can be included in this many blocks behind the finalised head it was signed at.
pub const MORTALITY_BLOCKS: u32 = 64;
/// Longest time a transaction is followed. It covers the mortality at six seconds a block.
pub const FOLLOW_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// Pause before another attempt to submit.
const NONCE_PAUSE: Duration = Duration::from_millis(500);
/// Attempts to submit when another process took the nonce.
const NONCE_ATTEMPTS: u32 = 8;

/// How far a transaction is followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Until it is in a block of the best chain; that block may still be replaced.
    InBlock,
    /// Until it is in a finalised block.
    Finalized,
}

/// A transaction that was carried out.
#[derive(Clone, PartialEq, Debug)]
pub struct TxOutcome {
    /// BLAKE2b-256 of its bytes.
    pub hash: [u8; 32],
    /// Its block.
    pub block: BlockRef,
    /// Its position in the block.
    pub index: u32,
    /// Its events.
    pub events: Vec<Event>,
}

impl TxOutcome {
    /// The first event with this name.
    pub fn event(&self, pallet: &str, name: &str) -> Option<&Event> {
        self.events.iter().find(|event| event.is(pallet, name))
    }
}

/// Why the chain did not carry out a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DispatchFailure {
    /// `Pallet.Error`, or the kind of another error: `BadOrigin`, `Token.FundsUnavailable`.
    pub name: String,
    /// What the pallet says about it; may be empty.
    pub docs: String,
}

impl std::fmt::Display for DispatchFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.docs.is_empty() {
            true => f.write_str(&self.name),
            false => write!(f, "{}: {}", self.name, self.docs),
        }
    }
}

/// Why a transaction has no outcome.
#[derive(Debug, thiserror::Error)]
pub enum TxError {
    /// It is in a block, but the call failed; nothing but the fee was changed.
    #[error("the chain refused the call: {0}")]
    Dispatch(DispatchFailure),
    /// The node's pool refused it: no balance for the fee, bad signature, or a runtime check.
    #[error("the node refused the transaction: {0}")]
    Refused(String),
    /// It was not included while it was valid, and never can be.
    #[error("the transaction was not included within {MORTALITY_BLOCKS} blocks and has expired")]
    Expired,
    /// Its fate is unknown: the node did not say within [`FOLLOW_TIMEOUT`], or refused a question about it.
    #[error(
        "the fate of the transaction is unknown: the node made no progress for too long, or does not say"
    )]
    Unknown,
    /// It could not be signed against this runtime.
    #[error("cannot build the transaction: {0}")]
    Build(String),
    /// A request failed before the transaction was handed over.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

impl TxError {
    /// The name of the dispatch error, as in `Arion.AttestationBucketFull`.
    pub fn dispatch_name(&self) -> Option<&str> {
        match self {
            Self::Dispatch(failure) => Some(&failure.name),
            _ => None,
        }
    }
}

impl From<InterfaceError> for TxError {
    fn from(error: InterfaceError) -> Self {
        Self::Chain(error.into())
    }
}

impl From<RpcError> for TxError {
    fn from(error: RpcError) -> Self {
        Self::Chain(error.into())
    }
}

impl ChainClient {
    /// Signs the call, hands it to the node and follows it. Calls of several tasks may be in flight at once.
    pub async fn submit(&self, account: &Account, call: &Call, wait: Wait) -> Result<TxOutcome, TxError> {
        let submitted = self.hand_over(account, call).await?;
        let followed = async {
            let (block, index) = follow(self.rpc(), &submitted, wait).await?;
            Ok((block, index, events::of_extrinsic(self, block.hash, index).await?))
        };
        let (block, index, events) = followed.await.map_err(|error: TxError| match error {
            TxError::Chain(reason) => {
                tracing::warn!(%reason, "a transaction was handed over and cannot be followed");
                TxError::Unknown
            }
            told => told,
        })?;
        match events::failure(&self.interface(), &events) {
            Some(failure) => Err(TxError::Dispatch(failure)),
            None => Ok(TxOutcome { hash: submitted.hash, block, index, events }),
        }
    }

    async fn hand_over(&self, account: &Account, call: &Call) -> Result<Submitted, TxError> {
        // The pool counts a transaction for the next nonce once it has taken it.
        let _guard = self.submission().lock().await;
        let address = ss58(&account.id());
        let mut refusal = String::new();
        for _ in 0..NONCE_ATTEMPTS {
            let birth = self.finalized().await?;
            let runtime = self.refresh_runtime(birth.hash).await?;
            let nonce = self.rpc().next_nonce(&address).await?;
            let bytes = sign(&runtime, self.genesis(), account, call, nonce, birth)?;
            let hash = Blake2b::<U32>::digest(&bytes).into();
            match self.rpc().submit(&bytes).await {
                Ok(()) => return Ok(Submitted { bytes, hash, birth }),
                // The connection broke after the request was sent, or the answer is none: it may be in the pool.
                // Following finds out.
                Err(RpcError::Unreachable | RpcError::Undecodable(_)) => {
                    return Ok(Submitted { bytes, hash, birth });
                }
                Err(RpcError::Refused { code, message, .. }) => match PoolRefusal::new(code, &message) {
                    PoolRefusal::Known => return Ok(Submitted { bytes, hash, birth }),
                    PoolRefusal::NonceTaken => refusal = message,
                    PoolRefusal::Final => return Err(TxError::Refused(message)),
                },
            }
            tokio::time::sleep(NONCE_PAUSE).await;
        }
        Err(TxError::Refused(refusal))
    }
}

/// What the pool's refusal means.
enum PoolRefusal {
    /// It has this very transaction.
    Known,
    /// Another transaction has the nonce.
    NonceTaken,
    /// It will never take it.
    Final,
}

impl PoolRefusal {
    /// Codes of the `author` RPC: 1010 invalid, 1012 banned for a while, 1013 known, 1014 nonce taken by a
    /// transaction with at least this priority.
    fn new(code: i32, message: &str) -> Self {
        match code {
            1013 => Self::Known,
            1012 | 1014 => Self::NonceTaken,
            1010 if message.contains("outdated") => Self::NonceTaken,
            _ => Self::Final,
        }
    }
}

/// Arguments in SCALE that stand for themselves.
struct EncodedArgs(Vec<u8>);

impl scale_encode::EncodeAsFields for EncodedArgs {
    fn encode_as_fields_to<R: TypeResolver>(
        &self,
        _fields: &mut dyn scale_encode::FieldIter<'_, R::TypeId>,
        _types: &R,
        out: &mut Vec<u8>,
    ) -> Result<(), scale_encode::Error> {
        out.extend_from_slice(&self.0);
        Ok(())
    }
}

impl Signer<SubstrateConfig> for Account {
    fn account_id(&self) -> AccountId32 {
        AccountId32(self.id())
    }

    fn sign(&self, payload: &[u8]) -> MultiSignature {
        MultiSignature::Sr25519(self.keypair.sign(payload).0)
    }
}

fn sign(
    runtime: &Runtime,
    genesis: [u8; 32],
    account: &Account,
    call: &Call,
    nonce: u64,
    birth: BlockRef,
) -> Result<Vec<u8>, TxError> {
    let build = |error: &dyn std::fmt::Display| TxError::Build(error.to_string());
    let args = EncodedArgs(call.encode_args(&runtime.interface)?);
    let config = SubstrateConfig::builder()
        .set_genesis_hash(H256(genesis))
        .set_metadata_for_spec_versions([(runtime.spec_version, runtime.interface.metadata().clone())])
        .set_spec_version_for_block_ranges([SpecVersionForRange {
            block_range: 0..u64::MAX,
            spec_version: runtime.spec_version,
            transaction_version: runtime.transaction_version,
        }])
        .build();
    let params = SubstrateExtrinsicParamsBuilder::<SubstrateConfig>::new()
        .nonce(nonce)
        .mortal_from_unchecked(u64::from(MORTALITY_BLOCKS), u64::from(birth.number), H256(birth.hash))
        .build();
    let offline = OfflineClient::new_with_config(config);
    let at_block = offline.at_block(birth.number).map_err(|error| build(&error))?;
    let payload = subxt::tx::dynamic(call.pallet, call.name, args);
    let mut signable =
        at_block.tx().create_signable_offline(&payload, params).map_err(|error| build(&error))?;
    Ok(signable.sign(account).map_err(|error| build(&error))?.into_encoded())
}
