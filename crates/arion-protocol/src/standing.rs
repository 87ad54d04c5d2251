//! Why a validator service makes of a miner what it makes of it, and since when.

use arion_types::NodeId;
use codec::{Decode, Encode};

use crate::message::MinerState;

/// Why a miner is in its state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error, Encode, Decode)]
pub enum MinerReason {
    /// Nothing is wrong.
    #[codec(index = 0)]
    #[error("heartbeats come")]
    Heard,
    /// It has to show that it stays.
    #[codec(index = 1)]
    #[error("heartbeats come; it is taken into the map when they have for long enough")]
    Settling,
    /// It has not said a word since this service started.
    #[codec(index = 2)]
    #[error("no heartbeat since this service started")]
    NeverHeard,
    /// One is overdue.
    #[codec(index = 3)]
    #[error("a heartbeat is overdue")]
    Overdue,
    /// Several are.
    #[codec(index = 4)]
    #[error("no heartbeat; it is left out of the map if that lasts")]
    Silent,
    /// For too long.
    #[codec(index = 5)]
    #[error("no heartbeat for so long that the map goes on without it")]
    SilentTooLong,
    /// Too many are.
    #[codec(index = 6)]
    #[error("no heartbeat, but too many are silent to leave it out: is this service cut off?")]
    ManySilent,
    /// Its operator wants it emptied.
    #[codec(index = 7)]
    #[error("its operator drains it")]
    Drained,
    /// Wardens agree that it does not have what it signed for: it is banned.
    #[codec(index = 8)]
    #[error(
        "banned: {failures} failures of its audits stand against it; it comes back when they are forgotten"
    )]
    AuditsFailed {
        /// As the chain counts them.
        failures: u32,
    },
}

impl MinerReason {
    /// In lower case, for labels and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Heard => "heard",
            Self::Settling => "settling",
            Self::NeverHeard => "never_heard",
            Self::Overdue => "overdue",
            Self::Silent => "silent",
            Self::SilentTooLong => "silent_too_long",
            Self::ManySilent => "many_silent",
            Self::Drained => "drained",
            Self::AuditsFailed { .. } => "audits_failed",
        }
    }

    /// Whether it is banned.
    pub fn bans(self) -> bool {
        matches!(self, Self::AuditsFailed { .. })
    }
}

/// From then on the state of a miner was another one, or the reason for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct MinerTransition {
    /// The miner.
    pub miner: NodeId,
    /// When, milliseconds since the Unix epoch.
    pub at: u64,
    /// Before; `None` for one that the service did not know.
    pub from: Option<MinerState>,
    /// From then on.
    pub to: MinerState,
    /// Why.
    pub reason: MinerReason,
}
