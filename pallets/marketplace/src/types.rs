//! Records of credits, agreements, ledgers, services and revenue, and the numbers they are measured in.

use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::{BoundedVec, CloneNoBound, DebugNoBound, EqNoBound, PartialEqNoBound, traits::Get};
use scale_info::TypeInfo;
use sp_core::{ConstU32, H256};

use crate::credits::Piece;

/// Units in a credit: amounts of credits are counted in units of 10^-12.
pub const CREDIT: u128 = 1_000_000_000_000;
/// Bytes in a GiB.
pub const GIB: u64 = 1 << 30;
/// Least price of a credit, in ALPHA's smallest unit: one per unit, so that no unit is backed by nothing.
pub const CREDIT_PRICE_MIN: u128 = CREDIT;
/// Greatest price of a credit: 10^9 ALPHA.
pub const CREDIT_PRICE_MAX: u128 = 1_000_000_000_000_000_000_000_000_000;
/// Greatest price of a GiB-hour, in units: 1,000 credits.
pub const STORAGE_PRICE_MAX: u128 = 1_000 * CREDIT;
/// Greatest price of one piece of a service, in units: 10^9 credits.
pub const SERVICE_PRICE_MAX: u128 = 1_000_000_000 * CREDIT;
/// Longest external id of a payment, bytes.
pub const PAYMENT_ID_BYTES_MAX: u32 = 64;
/// Longest name of a service, bytes of UTF-8.
pub const SERVICE_NAME_BYTES_MAX: u32 = 32;
/// Most nodes that `assignment_order` ranks.
pub const RANKED_MAX: usize = 256;

/// External id of a payment: whatever the payment provider calls it.
pub type PaymentId = BoundedVec<u8, ConstU32<PAYMENT_ID_BYTES_MAX>>;

/// The price of storage and its integral over the blocks.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct StorageRate<BlockNumber> {
    /// Units per GiB-hour.
    pub price: u128,
    /// Sum of the price over all blocks before `since`: units * blocks / GiB-hour.
    pub index: u128,
    /// First block of the present price.
    pub since: BlockNumber,
}

/// How a payment that an authority vouches for was made.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub enum PaymentMethod {
    /// In a state's currency.
    #[codec(index = 0)]
    Fiat,
    /// In TAO.
    #[codec(index = 1)]
    Tao,
}

/// A payment that was turned into credits. Kept for good, so that its id is never used again.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Payment<AccountId, BlockNumber> {
    /// The authority that vouched for it and whose ALPHA backs it.
    pub authority: AccountId,
    /// Who got the credits.
    pub beneficiary: AccountId,
    /// How it was paid.
    pub method: PaymentMethod,
    /// Credits it bought, units.
    pub credits: u128,
    /// ALPHA that was deposited for them.
    pub alpha: u128,
    /// Credits taken back so far, units.
    pub refunded: u128,
    /// Block in which it came.
    pub credited_at: BlockNumber,
}

/// Where a storage agreement stands.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub enum AgreementStatus<BlockNumber> {
    /// Everything is paid.
    #[codec(index = 0)]
    Active,
    /// The credits ran out; nothing changes yet.
    #[codec(index = 1)]
    Arrears {
        /// First block in which it goes on to the next stage.
        until: BlockNumber,
    },
    /// Still full service; the gateways warn.
    #[codec(index = 2)]
    Grace {
        /// First block in which it goes on to the next stage.
        until: BlockNumber,
    },
    /// Reads work, usage cannot grow.
    #[codec(index = 3)]
    Suspended {
        /// First block in which it goes on to the next stage.
        until: BlockNumber,
    },
    /// As suspended; at `until` the agreement expires and the data may be deleted.
    #[codec(index = 4)]
    DeletionNotice {
        /// First block in which it expires.
        until: BlockNumber,
    },
}

impl<BlockNumber> AgreementStatus<BlockNumber> {
    /// Whether usage may grow.
    pub fn takes_writes(&self) -> bool {
        matches!(self, Self::Active | Self::Arrears { .. } | Self::Grace { .. })
    }
}

/// What one gateway stores for an account.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct GatewayUsage {
    /// Node id of the gateway.
    pub gateway: [u8; 32],
    /// Bytes as of its last commit.
    pub bytes: u64,
    /// Most bytes the account lets it bill.
    pub bytes_max: u64,
}

/// Storage that an account uses and pays for.
#[derive(
    CloneNoBound,
    PartialEqNoBound,
    EqNoBound,
    DebugNoBound,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
#[scale_info(skip_type_params(MaxGateways))]
#[codec(mel_bound(BlockNumber: MaxEncodedLen))]
pub struct Agreement<BlockNumber, MaxGateways>
where
    BlockNumber: Clone + PartialEq + Eq + core::fmt::Debug,
    MaxGateways: Get<u32>,
{
    /// Block of the first authorization.
    pub opened_at: BlockNumber,
    /// Gateways the account authorized and what they store for it.
    pub gateways: BoundedVec<GatewayUsage, MaxGateways>,
    /// Sum of their bytes.
    pub bytes: u64,
    /// The price index up to which everything was charged.
    pub index: u128,
    /// What was charged too little by rounding so far, in units / (GiB * blocks per hour); less than one unit.
    pub remainder: u64,
    /// Units charged since it was opened.
    pub charged: u128,
    /// Units charged and not paid.
    pub debt: u128,
    /// Block up to which everything was charged.
    pub accrued_at: BlockNumber,
    /// Where it stands.
    pub status: AgreementStatus<BlockNumber>,
}

/// What a gateway says an account stores with it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct UsageUpdate<AccountId> {
    /// The account.
    pub account: AccountId,
    /// Bytes it stores there now.
    pub bytes: u64,
}

/// Why a usage update was not applied.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub enum SkipReason {
    /// The account has no agreement, or does not let this gateway bill it. Delete its data.
    #[codec(index = 0)]
    NotAuthorized,
    /// More bytes than the account lets the gateway bill. Refuse its writes, or ask for a higher limit.
    #[codec(index = 1)]
    OverLimit,
    /// The agreement is suspended and usage cannot grow. Refuse its writes.
    #[codec(index = 2)]
    Suspended,
}

/// A commitment of a gateway to its ledger.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct LedgerAnchor<BlockNumber> {
    /// Number of the commitment, strictly increasing.
    pub sequence: u64,
    /// Root over the ledger's segments.
    pub root: [u8; 32],
    /// Live bytes in the ledger.
    pub bytes: u64,
    /// Block of the commitment.
    pub anchored_at: BlockNumber,
}

/// The ledger of a gateway, as far as the chain knows it.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct GatewayLedger<BlockNumber> {
    /// The newest commitment.
    pub anchor: LedgerAnchor<BlockNumber>,
    /// Commitments so far; the newest is at place `(commits - 1) % LedgerAnchorsKept` of `LedgerAnchors`.
    pub commits: u64,
}

/// What a service is.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub enum ServiceKind {
    /// A virtual machine for a time.
    #[codec(index = 0)]
    VirtualMachine,
    /// A container that runs to its end.
    #[codec(index = 1)]
    Container,
    /// Execution of a contract.
    #[codec(index = 2)]
    ContractExecution,
    /// Whatever else the name says.
    #[codec(index = 3)]
    Other,
}

/// A service on offer.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct ServiceTerms<BlockNumber> {
    /// What it is.
    pub kind: ServiceKind,
    /// Its name, UTF-8.
    pub name: BoundedVec<u8, ConstU32<SERVICE_NAME_BYTES_MAX>>,
    /// Units per piece; at least 1.
    pub price: u128,
    /// Blocks from acceptance to the deadline of the delivery; at least 1.
    pub delivery_blocks: BlockNumber,
}

/// Why the credits of a request went back.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub enum RefundReason {
    /// The client cancelled it before it was accepted.
    #[codec(index = 0)]
    Cancelled,
    /// The validators did not agree on a miner in time.
    #[codec(index = 1)]
    NotAssigned,
    /// The miner did not accept in time.
    #[codec(index = 2)]
    NotAccepted,
    /// The miner did not deliver in time.
    #[codec(index = 3)]
    NotDelivered,
    /// The validators sided with the client.
    #[codec(index = 4)]
    DisputeWon,
    /// The validators did not agree on a verdict in time.
    #[codec(index = 5)]
    DisputeUnresolved,
}

/// Where a service request stands.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub enum RequestStatus {
    /// The validators look for a miner.
    #[codec(index = 0)]
    Requested,
    /// The miner's owner has to accept.
    #[codec(index = 1)]
    Assigned,
    /// The miner works.
    #[codec(index = 2)]
    Accepted,
    /// The client confirms, disputes or lets the window pass, which confirms.
    #[codec(index = 3)]
    Delivered,
    /// The validators decide.
    #[codec(index = 4)]
    Disputed,
    /// Over: paid.
    #[codec(index = 5)]
    Paid,
    /// Over: refunded.
    #[codec(index = 6)]
    Refunded {
        /// Why.
        reason: RefundReason,
    },
}

impl RequestStatus {
    /// Whether credits are still reserved for the request.
    pub fn is_open(&self) -> bool {
        !matches!(self, Self::Paid | Self::Refunded { .. })
    }
}

/// Which miner the validators assigned, and what anybody needs to check it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Assignment<AccountId, BlockNumber> {
    /// Node id of the miner.
    pub node_id: [u8; 32],
    /// Account of its owner, who is paid.
    pub owner: AccountId,
    /// The node's draw for the request: the least of all nodes that were fit wins.
    pub draw: H256,
    /// Validators that voted for it.
    pub votes: u32,
    /// Validators at the time.
    pub validators: u32,
    /// Block in which enough had voted.
    pub assigned_at: BlockNumber,
}

/// A service that a client asked for.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct ServiceRequest<AccountId, BlockNumber> {
    /// Who asked and pays.
    pub client: AccountId,
    /// Number of the service.
    pub service: u16,
    /// What it was when it was asked for.
    pub kind: ServiceKind,
    /// Pieces of it.
    pub quantity: u32,
    /// BLAKE3 of the description of the work, which is stored in Arion.
    pub spec: [u8; 32],
    /// Price of all pieces, units: reserved until the end.
    pub credits: u128,
    /// The part of it that came from granted credits; empty once the request is over.
    pub granted: Piece,
    /// The part of it that came from bought credits; empty once the request is over.
    pub bought: Piece,
    /// Block of the request.
    pub requested_at: BlockNumber,
    /// Blocks from acceptance to the deadline of the delivery.
    pub delivery_blocks: BlockNumber,
    /// Hash of the block of the request: the seed of the draws. Recorded with the first vote.
    pub seed: Option<H256>,
    /// Who does the work.
    pub assignment: Option<Assignment<AccountId, BlockNumber>>,
    /// BLAKE3 of what the miner delivered.
    pub result: Option<[u8; 32]>,
    /// Where it stands.
    pub status: RequestStatus,
    /// Last block in which the next step can be taken; when over, last block in which the record is kept.
    pub deadline: BlockNumber,
}

/// What a validator wants for a request.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub enum Vote {
    /// This node is to do it.
    #[codec(index = 0)]
    Assign([u8; 32]),
    /// The miner is to be paid (`true`) or the client to be refunded (`false`).
    #[codec(index = 1)]
    Verdict(bool),
}

/// What came in since the last settlement. All in ALPHA.
#[derive(
    Clone, Copy, PartialEq, Eq, Default, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Revenue<BlockNumber> {
    /// Block of the last settlement.
    pub since: BlockNumber,
    /// From storage; split when the period is settled.
    pub storage: u128,
    /// From services, split already: for the record only.
    pub services: u128,
    /// The validators' and stakers' share of the services.
    pub network: u128,
    /// The treasury's share of the services.
    pub treasury: u128,
    /// Left over when revenue was split: joins the storage revenue of the next settlement.
    pub carry: u128,
    /// The miners' share that could not be divided among families: joins their next share.
    pub miners_carry: u128,
}

impl<BlockNumber> Revenue<BlockNumber> {
    /// ALPHA that is in the pallet's account for these.
    pub fn held(&self) -> u128 {
        [self.storage, self.network, self.treasury, self.carry, self.miners_carry]
            .into_iter()
            .fold(0, u128::saturating_add)
    }
}

// Answers of the runtime API.

/// What an account can spend.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, TypeInfo)]
pub struct CreditBalance {
    /// Units that can be spent.
    pub available: u128,
    /// Of them: credited by a payment authority. Spent first.
    pub granted: u128,
    /// Of them: bought with ALPHA; can be refunded.
    pub bought: u128,
    /// ALPHA that backs the available units.
    pub backing: u128,
    /// Units that are owed; then `available` is 0.
    pub debt: u128,
}

/// A storage agreement as of now.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, TypeInfo)]
pub struct AgreementView<BlockNumber> {
    /// Where it stands. The next touch may move it on.
    pub status: AgreementStatus<BlockNumber>,
    /// Whether usage may grow.
    pub takes_writes: bool,
    /// Bytes billed.
    pub bytes: u64,
    /// Per gateway.
    pub gateways: Vec<GatewayUsage>,
    /// Units charged since it was opened.
    pub charged: u128,
    /// Units owed.
    pub debt: u128,
    /// Block of the first authorization.
    pub opened_at: BlockNumber,
}

/// The present prices.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, TypeInfo)]
pub struct Prices {
    /// ALPHA (smallest unit) per credit.
    pub credit: u128,
    /// Units of credit per GiB-hour.
    pub storage: u128,
}

/// The period that is running.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, TypeInfo)]
pub struct NextSettlement<BlockNumber> {
    /// Block in which it is settled.
    pub block: BlockNumber,
    /// ALPHA from storage so far.
    pub storage: u128,
    /// ALPHA from services so far.
    pub services: u128,
    /// ALPHA carried from earlier periods.
    pub carried: u128,
}

/// Nodes by their draw for a request.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, TypeInfo)]
pub struct AssignmentOrder {
    /// Hash of the block of the request.
    pub seed: H256,
    /// Node id and draw, best first.
    pub nodes: Vec<([u8; 32], H256)>,
}
