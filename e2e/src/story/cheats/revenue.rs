//! Somebody who pays for storage, so that there is something to be paid out: the same every block.

use arion_chain::{Account, Call, ChainClient, Wait};
use arion_types::units::HIPP;

use crate::network::Network;

/// What the client gets, for credits and fees.
const ENDOWMENT: u128 = 200_000 * HIPP;
/// Units per GiB-hour.
const STORAGE_PRICE: u128 = 7_000_000_000_007;
/// What the gateway says that the client stores.
const BYTES: u64 = 8 << 30;
/// Hours that the credits last beyond what has to be there.
const HOURS: u128 = 24;

/// Sets a price, buys credits, and has the gateway commit to what an account stores.
pub(super) async fn begin(network: &Network, chain: &ChainClient) -> anyhow::Result<()> {
    let governance = Account::from_secret(Network::validator_account(0))?;
    let client = Account::from_seed(rand::random())?;
    let set = Call::sudo(Call::set_storage_price(STORAGE_PRICE));
    chain.submit(&governance, &set, Wait::Finalized).await?;
    chain.submit(&governance, &Call::transfer(&client.id(), ENDOWMENT), Wait::Finalized).await?;
    let hour = u128::from(chain.blocks_per_hour()?);
    let blocks = u128::from(chain.runway_blocks()?) + HOURS * hour;
    let units = (u128::from(BYTES) * STORAGE_PRICE * blocks).div_ceil(hour << 30);
    let gateway = network.node_id("gateway")?;
    let calls =
        vec![Call::buy_credits(&client.id(), units, ENDOWMENT / 2), Call::authorize_gateway(&gateway, BYTES)];
    chain.submit(&client, &Call::batch(calls), Wait::Finalized).await?;
    let root = *blake3::hash(b"nobody compares it in this story").as_bytes();
    let commit = Call::commit_usage(&gateway, 1, &root, BYTES, &[(client.id(), BYTES)]);
    chain.submit(&network.account("gateway")?, &commit, Wait::Finalized).await?;
    Ok(())
}
