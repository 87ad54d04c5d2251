//! From bytes to steps.

use std::sync::OnceLock;

use arbitrary::Unstructured;
use arion_runtime::{AccountId, Babe, Balance, Offences, Runtime, RuntimeCall, RuntimeOrigin, System};
use codec::Encode;
use frame_support::{
    dispatch::{GetDispatchInfo, PostDispatchInfo},
    traits::{Authorize, GetCallMetadata},
};
use sp_runtime::{traits::Dispatchable, transaction_validity::TransactionSource};
use sp_staking::offence::ReportOffence;

use crate::{
    Outcome, STEPS_MAX,
    actors::{ACCOUNTS, SIGNERS, VALIDATORS, account},
    calls, chain,
    check::{self, Issuance},
    purpose, raw, wrap,
};

/// Calls after which the invariants are checked.
const CALLS_BETWEEN_CHECKS: u32 = 8;
/// Most blocks of one step.
const BLOCKS_MAX: usize = 24;
/// Most leaps and sessions of a sequence: each is many blocks, or an election.
const LEAPS_MAX: u32 = 4;

/// Set to anything, it makes every step print itself: what an input does.
const TRACE: &str = "ARION_CALLS_TRACE";

fn trace(step: impl FnOnce() -> String) {
    static IS_ON: OnceLock<bool> = OnceLock::new();
    if *IS_ON.get_or_init(|| std::env::var_os(TRACE).is_some()) {
        eprintln!("block {}: {}", System::block_number(), step());
    }
}

/// Who sends a call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sender {
    /// The account of this number.
    Account(usize),
    /// Root.
    Root,
    /// Nobody.
    Nobody,
    /// Nobody either, but the call says why it may be made.
    Authorized,
}

/// The bytes, and what they came to so far.
pub(crate) struct Script<'a> {
    bytes: Unstructured<'a>,
    outcome: Outcome,
    leaps: u32,
    is_purposeful: bool,
}

impl<'a> Script<'a> {
    /// Of a purposeful one, half of the calls lead on from what is under way.
    pub(crate) fn new(bytes: Unstructured<'a>, is_purposeful: bool) -> Self {
        Self { bytes, outcome: Outcome::default(), leaps: 0, is_purposeful }
    }

    /// Plays to the end; the last check may be of all pallets.
    pub(crate) fn play(mut self, is_thorough: bool) -> Outcome {
        for _ in 0..STEPS_MAX {
            if self.bytes.is_empty() || !chain::is_alive() {
                break;
            }
            self.step();
        }
        chain::block(1, || ());
        self.outcome.blocks += 1;
        self.note(0);
        if is_thorough {
            check::all();
        } else {
            check::state();
        }
        self.outcome
    }

    fn step(&mut self) {
        match self.byte() {
            0..24 => self.blocks(),
            24..30 => self.later(),
            30..33 => self.offence(),
            33..52 => {
                if let Some((sender, call)) = raw::call(self) {
                    self.dispatch(sender, call);
                }
            }
            152.. if self.is_purposeful => {
                if let Some((sender, call)) = purpose::call(self) {
                    self.dispatch(sender, call);
                }
            }
            _ => {
                let (sender, call) = calls::any(self);
                let (sender, call) = wrap::maybe(self, sender, call);
                self.dispatch(sender, call);
            }
        }
    }

    fn blocks(&mut self) {
        let (slots, count) = (1 + self.below(3) as u64, 1 + self.below(BLOCKS_MAX));
        trace(|| format!("{count} blocks"));
        for _ in 0..count {
            if !chain::is_alive() {
                break;
            }
            chain::block(slots, || ());
            self.outcome.blocks += 1;
            self.note(0);
        }
        check::state();
    }

    fn later(&mut self) {
        self.leaps += 1;
        if self.leaps > LEAPS_MAX {
            return;
        }
        let kind = self.below(6);
        trace(|| format!("later: {kind}"));
        self.outcome.blocks += match kind {
            0 => chain::leap(28_800),
            1 => chain::leap(100_800),
            2 => chain::bucket(),
            _ => {
                chain::session();
                1
            }
        };
        self.note(0);
        check::state();
    }

    /// Keeps which events there are since the first so many of this block.
    fn note(&mut self, known: usize) {
        let records = frame_system::Pallet::<Runtime>::read_events_no_consensus().skip(known);
        self.outcome.events.extend(records.map(|record| {
            let bytes = record.event.encode();
            [bytes[0], bytes[1]]
        }));
    }

    /// A validator is found to have signed two blocks for one slot.
    fn offence(&mut self) {
        let issuance = Issuance::now();
        let offender = account(self.below(VALIDATORS + 1));
        let session = pallet_session::CurrentIndex::<Runtime>::get();
        let validators = pallet_session::Validators::<Runtime>::get();
        if !validators.contains(&offender) {
            return;
        }
        trace(|| format!("offence of {offender:?}"));
        let offence = pallet_babe::EquivocationOffence {
            slot: Babe::current_slot(),
            session_index: session,
            validator_set_count: validators.len() as u32,
            offender: (offender, ()),
        };
        let reporters = if self.flag() { vec![self.account()] } else { vec![] };
        // A second report of the same offence is refused.
        let _ = Offences::report_offence(reporters, offence);
        issuance.check(&"an offence");
    }

    fn dispatch(&mut self, sender: Sender, call: RuntimeCall) {
        let issuance = Issuance::now();
        let known = System::event_count() as usize;
        let origin = match sender {
            Sender::Account(number) => RuntimeOrigin::signed(account(number)),
            Sender::Root => RuntimeOrigin::root(),
            Sender::Nobody => RuntimeOrigin::none(),
            Sender::Authorized => match call.authorize(TransactionSource::External) {
                Some(Ok(_)) => frame_system::RawOrigin::Authorized.into(),
                _ => RuntimeOrigin::none(),
            },
        };
        let declared = call.get_dispatch_info().call_weight;
        let described = call.clone();
        let result = call.dispatch(origin);
        trace(|| format!("{sender:?} {described:?} -> {result:?}"));
        let post: PostDispatchInfo = match &result {
            Ok(post) => *post,
            Err(error) => error.post_info,
        };
        if let Some(actual) = post.actual_weight {
            assert!(actual.all_lte(declared), "{actual} is more than declared {declared}: {described:?}");
        }
        match result {
            Ok(_) => {
                self.outcome.accepted += 1;
                let name = described.get_call_metadata();
                self.outcome.calls.insert((name.pallet_name, name.function_name));
                self.note(known);
            }
            Err(_) => self.outcome.refused += 1,
        }
        issuance.check(&(sender, described));
        if (self.outcome.accepted + self.outcome.refused).is_multiple_of(CALLS_BETWEEN_CHECKS) {
            check::state();
        }
    }

    // choices

    pub(crate) fn byte(&mut self) -> u8 {
        self.bytes.arbitrary().unwrap_or(0)
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.byte() % 2 == 1
    }

    /// Once in so many times.
    pub(crate) fn rarely(&mut self, times: u8) -> bool {
        self.byte() % times == times - 1
    }

    /// Less than `end`, which is from 1 to 256.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        let seed = self.byte();
        [seed; N]
    }

    /// Up to `most` bytes.
    pub(crate) fn bytes(&mut self, most: usize) -> Vec<u8> {
        let length = self.below(most + 1).min(self.bytes.len());
        self.bytes.bytes(length).map(<[u8]>::to_vec).unwrap_or_default()
    }

    pub(crate) fn number_u64(&mut self) -> u64 {
        match self.byte() % 8 {
            0 => 0,
            1..4 => self.byte().into(),
            4 => u64::from(self.bytes.arbitrary::<u32>().unwrap_or(0)),
            5 => self.bytes.arbitrary().unwrap_or(0),
            6 => 1 << (self.byte() % 64),
            _ => u64::MAX - u64::from(self.byte()),
        }
    }

    pub(crate) fn number_u128(&mut self) -> u128 {
        match self.byte() % 8 {
            0 => 0,
            1 => self.byte().into(),
            2 => self.bytes.arbitrary::<u64>().unwrap_or(0).into(),
            3 => self.bytes.arbitrary().unwrap_or(0),
            4 => 1 << (self.byte() % 128),
            5 => u128::MAX - u128::from(self.byte()),
            _ => u128::from(self.byte()) * 1_000_000_000_000,
        }
    }

    /// An amount of ALPHA, often one that somebody has.
    pub(crate) fn amount(&mut self) -> Balance {
        use arion_runtime::constants::{HIPP, MILLI_HIPP};
        match self.byte() % 8 {
            0 => self.number_u128(),
            1 => MILLI_HIPP - 1 + Balance::from(self.byte() % 3),
            2 => Balance::from(self.byte()) * MILLI_HIPP,
            3 => Balance::from(self.byte()) * 10_000 * HIPP,
            4 => Balance::from(self.byte()) * 10 * HIPP,
            _ => Balance::from(self.byte()) * HIPP,
        }
    }

    pub(crate) fn account(&mut self) -> AccountId {
        account(self.below(ACCOUNTS))
    }

    pub(crate) fn signer(&mut self) -> usize {
        self.below(SIGNERS)
    }

    /// One of these, but now and then anybody.
    pub(crate) fn one_of(&mut self, usual: &[usize]) -> Sender {
        match self.byte() {
            0..4 => Sender::Nobody,
            4..8 => Sender::Root,
            8..24 => Sender::Account(self.signer()),
            _ => {
                let index = self.below(usual.len().clamp(1, 256));
                usual.get(index).map_or(Sender::Root, |number| Sender::Account(*number))
            }
        }
    }

    pub(crate) fn validator(&mut self) -> Sender {
        self.one_of(&[0, 1, 2])
    }

    /// Root, but now and then anybody.
    pub(crate) fn root(&mut self) -> Sender {
        self.one_of(&[])
    }

    /// A block up to so many before this one, now and then after it.
    pub(crate) fn recent_block(&mut self, most: usize) -> u64 {
        let now = u64::from(System::block_number());
        if self.rarely(32) {
            return now.wrapping_add(self.number_u64());
        }
        now.saturating_sub(self.below(most) as u64)
    }
}
