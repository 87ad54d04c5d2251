//! One file per command.

pub mod audit;
pub mod copy;
pub mod drain;
pub mod du;
pub mod durability;
pub mod ledger;
pub mod locate;
pub mod maintenance;
pub mod map;
pub mod miners;
pub mod objects;
mod public;
pub mod receipt;
pub mod status;
pub mod sync;
mod tree;
pub mod verify;

pub use public::PublicPlace;

use std::{sync::Arc, time::Duration};

use arion_daemon::{HumanDuration, line};
use arion_net::{CallError, PeerAddr, QuicTransport, Transport};
use arion_protocol::{MinerCustody, MinerStatus, Request, Response, limits::MINERS_MAX};
use arion_types::NodeId;
use bytes::Bytes;

/// Time for one answer of a validator service.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Pages of miners read at most.
const PAGES_MAX: usize = 1_000;

/// Runs blocking work on a thread of its own.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await?
}

/// Prints a value as JSON.
fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    line!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

/// A client with a key of its own: what is asked is public.
fn transport() -> anyhow::Result<Arc<QuicTransport>> {
    Ok(Arc::new(QuicTransport::new(&arion_daemon::generate_secret_key())?))
}

/// What a validator service knows of the miners.
async fn miners_of(transport: &dyn Transport, validator: &PeerAddr) -> Result<Vec<MinerStatus>, CallError> {
    let page = |after| Request::Miners { after, limit: MINERS_MAX };
    let read = |response| match response {
        Response::Miners(page) => Some(page),
        _ => None,
    };
    pages(transport, validator, page, read, |miner| miner.node_id).await
}

/// What the ledgers say that miners hold, as a validator service sees it.
async fn custody_of(transport: &dyn Transport, validator: &PeerAddr) -> Result<Vec<MinerCustody>, CallError> {
    let page = |after| Request::Custody { after, limit: MINERS_MAX };
    let read = |response| match response {
        Response::Custody(page) => Some(page),
        _ => None,
    };
    pages(transport, validator, page, read, |miner| miner.node_id).await
}

/// Everything that a validator service has page by page, in order of node id.
async fn pages<T>(
    transport: &dyn Transport,
    validator: &PeerAddr,
    page: impl Fn(Option<NodeId>) -> Request,
    read: impl Fn(Response) -> Option<Vec<T>>,
    id: impl Fn(&T) -> NodeId,
) -> Result<Vec<T>, CallError> {
    let mut all: Vec<T> = Vec::new();
    for _ in 0..PAGES_MAX {
        let request = page(all.last().map(&id));
        let (response, _) = transport.call(validator, request, Bytes::new(), ANSWER_TIMEOUT).await?;
        let Some(page) = read(response) else { break };
        let is_last = page.len() < usize::from(MINERS_MAX);
        all.extend(page);
        if is_last {
            break;
        }
    }
    Ok(all)
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// Seconds for people, rounded up.
fn rounded(seconds: u64) -> HumanDuration {
    let unit = [86_400, 3_600, 60].into_iter().find(|unit| seconds >= 2 * unit).unwrap_or(1);
    HumanDuration(Duration::from_secs(seconds.div_ceil(unit).saturating_mul(unit)))
}
