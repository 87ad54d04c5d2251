//! Who may be a validator: nominated proof of stake, elected on chain at the end of every era.

use frame_election_provider_support::{
    ScoreProvider, SequentialPhragmen, VoteWeight,
    bounds::{ElectionBounds, ElectionBoundsBuilder},
    onchain,
};
use frame_support::{
    parameter_types,
    traits::{ConstU32, Nothing, tokens::imbalance::ResolveTo},
};
use frame_system::EnsureRoot;
use pallet_staking::{FixedNominationsQuota, UseValidatorsMap};
use sp_runtime::Perbill;
use sp_staking::currency_to_vote::U128CurrencyToVote;

use crate::{
    AccountId, Balance, Balances, Runtime, RuntimeEvent, RuntimeHoldReason, Session, Staking, Timestamp,
    VoterList,
    constants::{BONDING_ERAS, HISTORY_ERAS, SESSIONS_PER_ERA, SLASH_DEFER_ERAS, VALIDATORS_MAX},
    rewards::{PayFromPot, ReturnToPot, SettleFromRewards, TreasuryAccount},
};

/// Validators a nominator may name.
const NOMINATIONS_MAX: u32 = 16;
/// Stakers, validators included, whose votes an election counts: those with the most stake.
pub const VOTERS_MAX: u32 = 1_000;
/// Accounts that can stand for election.
pub const CANDIDATES_MAX: u32 = 200;
/// Nominators behind one validator: all who vote.
pub const NOMINATORS_PER_VALIDATOR_MAX: u32 = VOTERS_MAX;
/// Nominators that one `payout_stakers` pays.
const EXPOSURE_PAGE_MAX: u32 = 64;

/// Upper limits of the bags of the list of voters: doubling, so that two accounts of a bag differ by less than a
/// factor of two.
const BAG_THRESHOLDS: [VoteWeight; 64] = {
    let mut thresholds = [0; 64];
    let mut bag = 0;
    while bag < 64 {
        thresholds[bag] = 1 << bag;
        bag += 1;
    }
    thresholds
};

parameter_types! {
    pub const BagThresholds: &'static [VoteWeight] = &BAG_THRESHOLDS;
    pub ElectionLimits: ElectionBounds = ElectionBoundsBuilder::default()
        .voters_count(VOTERS_MAX.into())
        .targets_count(CANDIDATES_MAX.into())
        .build();
}

/// An election in one block: sequential Phragmén over at most [`VOTERS_MAX`] voters and [`CANDIDATES_MAX`]
/// candidates.
pub struct Election;

impl onchain::Config for Election {
    // Too many winners or backers are cut off at the end with the least stake, instead of failing the election.
    type Sort = frame_support::traits::ConstBool<true>;
    type System = Runtime;
    type Solver = SequentialPhragmen<AccountId, Perbill>;
    type MaxBackersPerWinner = ConstU32<NOMINATORS_PER_VALIDATOR_MAX>;
    type MaxWinnersPerPage = ConstU32<VALIDATORS_MAX>;
    type DataProvider = Staking;
    type WeightInfo = frame_election_provider_support::weights::SubstrateWeight<Runtime>;
    type Bounds = ElectionLimits;
}

/// What benchmarks of staking would set up.
pub struct BenchmarkSize;

impl pallet_staking::BenchmarkingConfig for BenchmarkSize {
    type MaxValidators = ConstU32<CANDIDATES_MAX>;
    type MaxNominators = ConstU32<VOTERS_MAX>;
}

impl pallet_staking::Config for Runtime {
    type OldCurrency = Balances;
    type Currency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type CurrencyBalance = Balance;
    type UnixTime = Timestamp;
    type CurrencyToVote = U128CurrencyToVote;
    type ElectionProvider = onchain::OnChainExecution<Election>;
    type GenesisElectionProvider = onchain::OnChainExecution<Election>;
    type NominationsQuota = FixedNominationsQuota<NOMINATIONS_MAX>;
    type HistoryDepth = ConstU32<HISTORY_ERAS>;
    type RewardRemainder = ReturnToPot;
    type RuntimeEvent = RuntimeEvent;
    type Slash = ResolveTo<TreasuryAccount, Balances>;
    type Reward = SettleFromRewards;
    type SessionsPerEra = ConstU32<SESSIONS_PER_ERA>;
    type BondingDuration = ConstU32<BONDING_ERAS>;
    type SlashDeferDuration = ConstU32<SLASH_DEFER_ERAS>;
    type AdminOrigin = EnsureRoot<AccountId>;
    type SessionInterface = Self;
    type EraPayout = PayFromPot;
    type NextNewSession = Session;
    type MaxExposurePageSize = ConstU32<EXPOSURE_PAGE_MAX>;
    type MaxValidatorSet = ConstU32<VALIDATORS_MAX>;
    // Sorted: an election that counts a bounded number of votes must count the largest.
    type VoterList = VoterList;
    type TargetList = UseValidatorsMap<Self>;
    type MaxUnlockingChunks = ConstU32<32>;
    type MaxControllersInDeprecationBatch = ConstU32<100>;
    type EventListeners = ();
    type Filter = Nothing;
    type BenchmarkingConfig = BenchmarkSize;
    type WeightInfo = pallet_staking::weights::SubstrateWeight<Runtime>;
}

/// Votes of those who vote. `pallet-staking` has a score for whoever has bonded, and `VoterList.rebag`, which anyone may
/// call, puts into the list whoever has a score: there, those who do not vote would take the places of those who do.
pub struct VotesOfVoters;

impl ScoreProvider<AccountId> for VotesOfVoters {
    type Score = VoteWeight;

    fn score(who: &AccountId) -> Option<VoteWeight> {
        let votes = pallet_staking::Nominators::<Runtime>::contains_key(who)
            || pallet_staking::Validators::<Runtime>::contains_key(who);
        if votes { <Staking as ScoreProvider<AccountId>>::score(who) } else { None }
    }
}

impl pallet_bags_list::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type WeightInfo = pallet_bags_list::weights::SubstrateWeight<Runtime>;
    type ScoreProvider = VotesOfVoters;
    type BagThresholds = BagThresholds;
    // Rewards and slashes move stakers between bags; so many are put right in a block that has room.
    type MaxAutoRebagPerBlock = ConstU32<4>;
    type Score = VoteWeight;
}
