//! Who stores pays: an account on chain buys credits and lets the gateway bill it, stores and deletes through S3, runs out of
//! credits, is warned and suspended, pays and goes on; miners get their share at the settlement.

mod charges;

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use arion_chain::{Account, AgreementStatus, Call, ChainClient, MarketAccount, Wait, ss58};
use arion_types::{NodeId, units::HIPP};
use serde_json::Value;

use crate::{
    layout::make,
    network::{Network, Options, registration::run as program},
    progress::Progress,
    report::Report,
    story::{begin, client, end, within},
};

/// The longest the story may take; then it has failed.
const DEADLINE: Duration = Duration::from_secs(40 * 60);
/// As few as can be placed on.
const MINERS: u16 = 30;
/// The longest wait for something that the chain or the gateway does by itself.
const PATIENCE: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(1_000);
const GATEWAY: &str = "gateway";
const BUCKET: &str = "billed";
/// The gateway's account of the access key that every network has.
const ACCOUNT: &str = "default";
/// What the client gets, for credits and fees.
const ENDOWMENT: u128 = 5_000 * HIPP;
/// Units per GiB-hour at first, and when the credits are to run out within minutes. No round numbers.
const STORAGE_PRICE: u128 = 7_000_000_000_007;
const DEAR_PRICE: u128 = 900_000_000_000_011;
/// What the client lets the gateway bill.
const BYTES_MAX: u64 = 96 << 20;
/// Units that it buys beyond what it must have for that.
const BEYOND_RUNWAY: u128 = 500_123_456_789;
/// Bytes of the objects.
const SMALL: usize = 300_000;
const LARGE: usize = 20 << 20;

/// Where the nodes run.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// First of the 300 ports that the network of the story uses.
    #[arg(long, value_name = "P", default_value_t = 24_600)]
    base_port: u16,
}

struct Stage {
    network: Network,
    report: Report,
    progress: Progress,
    client: Account,
}

/// Tells the story. The exit code says whether every check held.
pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let progress = Progress::start();
    let (mut network, lock) =
        begin("billing", arguments.base_port, Options { miners: MINERS, validators: 1 })?;
    network.bill("2s");
    let client = Account::from_seed(rand::random())?;
    let mut stage = Stage { network, report: Report::new("billing"), progress, client };
    let told = within(DEADLINE, tell(&mut stage)).await;
    let Stage { report, progress, network, .. } = stage;
    Ok(end(network, &lock, report, &progress, told).await)
}

async fn tell(stage: &mut Stage) -> anyhow::Result<()> {
    stage.report.step(1, &format!("the network forms, with {MINERS} miners, and storage gets a price"));
    stage.network.form(&stage.progress).await?;
    let chain = stage.network.chain().await?;
    let governance = Account::from_secret(Network::validator_account(0))?;
    let price = Call::sudo(Call::set_storage_price(STORAGE_PRICE));
    chain.submit(&governance, &price, Wait::Finalized).await?;
    let endowment = Call::transfer(&stage.client.id(), ENDOWMENT);
    chain.submit(&governance, &endowment, Wait::Finalized).await?;
    make(&stage.network.layout().of("files"))?;
    stage.s3(&["make-bucket", BUCKET]).await?;

    authorized(stage, &chain).await?;
    let since = billed(stage, &chain).await?;
    charges::settled(stage, &chain, since).await?;
    run_out(stage, &chain).await?;
    pays_again(stage, &chain).await
}

/// Step 2: nothing is stored for somebody who did not allow the bill.
async fn authorized(stage: &mut Stage, chain: &ChainClient) -> anyhow::Result<()> {
    stage.report.step(2, "an account of the chain pays for an account of the gateway, once it lets it");
    let data = stage.network.directory(GATEWAY).to_string_lossy().into_owned();
    let address = ss58(&stage.client.id());
    let bind = ["arion-gateway", "account", "set", ACCOUNT, "--data-dir", &data];
    program(&[&bind[..], &["--chain-account", &address]].concat()).await?;
    stage.file("small", SMALL, 1)?;
    let refused = stage.until("PUT is refused", "small", |answer| answer["error"].is_string()).await?;
    stage.report.observed(format!("{}: {}", refused["error"], refused["message"]));
    stage.report.check(
        "PUT is refused with AccountProblem, and says what to do",
        refused["error"] == "AccountProblem"
            && refused["message"].as_str().is_some_and(|text| text.contains("authorizeGateway")),
    );
    let runway = u128::from(chain.runway_blocks()?);
    let hour = u128::from(chain.blocks_per_hour()?) << 30;
    let units = (u128::from(BYTES_MAX) * STORAGE_PRICE * runway).div_ceil(hour) + BEYOND_RUNWAY;
    let client = stage.client.clone();
    let buy = Call::buy_credits(&client.id(), units, u128::MAX);
    chain.submit(&client, &buy, Wait::Finalized).await?;
    let authorize = Call::authorize_gateway(&stage.gateway()?, BYTES_MAX);
    chain.submit(&client, &authorize, Wait::Finalized).await?;
    let taken = stage.until("PUT is taken", "small", |answer| answer["etag"].is_string()).await?;
    stage.report.check("with credits and consent it is stored", taken["etag"].is_string());
    Ok(())
}

/// Step 3: what the ledger has is what is billed, after every change. Returns the block before the first bill.
async fn billed(stage: &mut Stage, chain: &ChainClient) -> anyhow::Result<u32> {
    let since = chain.finalized().await?.number.saturating_sub(charges::LOOK_BACK).max(1);
    stage.report.step(3, "what is stored and deleted through S3 is billed on chain, as the ledger has it");
    stage.file("large", LARGE, 2)?;
    stage.file("gone", SMALL, 3)?;
    for key in ["large", "gone"] {
        stage.store(key).await?;
    }
    let with_all = stage.until_billed_is_live(chain).await?;
    stage.report.check(
        format!("{with_all} bytes of shards are billed: all that the ledger has, and at least three for each stored"),
        with_all >= 3 * (LARGE + 2 * SMALL) as u64,
    );
    stage.s3(&["delete", BUCKET, "gone"]).await?;
    let without = stage.until_billed_is_live(chain).await?;
    stage.report.check(format!("after a deletion it is {without}"), without < with_all);
    let usage = stage.s3(&["usage"]).await?;
    stage.report.observed(format!(
        "the account sees: {} credits a day, {} credits, which last until {}",
        usage["bill"]["cost_day"], usage["bill"]["credits"], usage["bill"]["lasts_until"]
    ));
    let sees = usage["bill"]["occupied_bytes"].as_u64() == Some(without)
        && usage["bill"]["price_gib_hour"] == "7.000000000007";
    stage.report.check("the account sees its bytes and their price", sees);
    Ok(since)
}

/// Step 5: from the first warning to the suspension.
async fn run_out(stage: &mut Stage, chain: &ChainClient) -> anyhow::Result<()> {
    stage.report.step(5, "storage becomes dear and the credits run out: warnings, grace, suspension");
    let governance = Account::from_secret(Network::validator_account(0))?;
    let dear = Call::sudo(Call::set_storage_price(DEAR_PRICE));
    chain.submit(&governance, &dear, Wait::Finalized).await?;
    for (state, works) in [("arrears", true), ("grace", true), ("suspended", false)] {
        let answer =
            stage.until(state, "small", |answer| answer["credit_state"].as_str() == Some(state)).await?;
        let until = answer["credit_until"].as_str().unwrap_or("?").to_owned();
        let held = match works {
            true => answer["etag"].is_string(),
            false => answer["error"] == "AccountProblem" && answer["status"] == 403,
        };
        let what = if works { "PUT still works" } else { "PUT is refused" };
        stage.report.check(format!("{state} until {until}: {what}, and the header says it"), held);
    }
    let found = stage.get("large").await?;
    stage.report.check("reading goes on", found["blake3"] == stage.digest("large")?);
    let account = stage.account(chain).await?;
    let status = account.agreement.as_ref().map(|agreement| agreement.status);
    stage.report.check(
        "the chain says so too",
        matches!(status, Some(AgreementStatus::Suspended { .. })) && account.balance.debt > 0,
    );
    Ok(())
}

/// Step 6: nothing is lost.
async fn pays_again(stage: &mut Stage, chain: &ChainClient) -> anyhow::Result<()> {
    stage.report.step(6, "the account pays, and goes on with everything it had");
    let owed = stage.account(chain).await?.balance.debt;
    let client = stage.client.clone();
    let units = 3 * owed + 10 * arion_chain::CREDIT;
    chain.submit(&client, &Call::buy_credits(&client.id(), units, u128::MAX), Wait::Finalized).await?;
    stage.file("again", SMALL, 4)?;
    let taken = stage.until("PUT is taken again", "again", |answer| answer["etag"].is_string()).await?;
    stage.report.check("PUT works again", taken["etag"].is_string());
    for key in ["small", "large", "again"] {
        let found = stage.get(key).await?;
        stage.report.check(format!("{key} is read, equal"), found["blake3"] == stage.digest(key)?);
    }
    stage.until_billed_is_live(chain).await?;
    let told = stage.verify().await?;
    stage.report.observed(format!(
        "arion ledger verify: {} lines, {} commitments compared, {} findings",
        told["lines"], told["anchors"], told["found"]
    ));
    stage.report.check(
        "anybody finds the ledger true to every commitment that the chain keeps",
        told["found"] == 0 && told["anchors"].as_u64() > Some(2),
    );
    Ok(())
}

impl Stage {
    fn gateway(&self) -> anyhow::Result<NodeId> {
        self.network.node_id(GATEWAY)
    }

    fn path(&self, key: &str) -> anyhow::Result<String> {
        let path: PathBuf = self.network.layout().of("files").join(key);
        Ok(path.to_str().context("the directory of the network is not UTF-8")?.to_owned())
    }

    fn file(&self, key: &str, bytes: usize, seed: u8) -> anyhow::Result<()> {
        let mut body = vec![0; bytes];
        blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut body);
        let path = self.path(key)?;
        std::fs::write(&path, body).with_context(|| format!("cannot write {path}"))
    }

    fn digest(&self, key: &str) -> anyhow::Result<Value> {
        let path = self.path(key)?;
        let body = std::fs::read(&path).with_context(|| format!("cannot read {path}"))?;
        Ok(blake3::hash(&body).to_hex().to_string().into())
    }

    async fn s3(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        client::s3(self.network.s3()?, arguments).await
    }

    async fn store(&self, key: &str) -> anyhow::Result<Value> {
        self.s3(&["store", &self.path(key)?, BUCKET, key]).await
    }

    async fn get(&self, key: &str) -> anyhow::Result<Value> {
        self.s3(&["get", BUCKET, key, &format!("{}.back", self.path(key)?)]).await
    }

    /// Stores an object again and again until the answer is as wanted.
    async fn until(&self, what: &str, key: &str, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let begun = Instant::now();
        loop {
            let answer = self.store(key).await?;
            if wanted(&answer) {
                return Ok(answer);
            }
            if begun.elapsed() > PATIENCE {
                bail!("{what}: not within {} s; the last answer is {answer}", PATIENCE.as_secs());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn account(&self, chain: &ChainClient) -> anyhow::Result<MarketAccount> {
        let view = chain.market_view(&[self.client.id()]).await?;
        view.accounts.into_iter().next().map(|(_, account)| account).context("the chain knows no accounts")
    }

    /// What `arion ledger verify` says.
    async fn verify(&self) -> anyhow::Result<Value> {
        let peer =
            format!("{}@{}", self.gateway()?, crate::network::local(self.network.ports().gateway_quic()));
        let said =
            program(&["arion", "--chain-url", &self.network.ws(), "--json", "ledger", "verify", &peer]).await;
        serde_json::from_str(&said?).context("arion ledger verify told no JSON")
    }

    /// Waits until all shards are confirmed, anchored, and billed to the only account that pays; returns how many bytes.
    async fn until_billed_is_live(&self, chain: &ChainClient) -> anyhow::Result<u64> {
        let begun = Instant::now();
        let page = crate::network::local(self.network.ports().gateway_http());
        loop {
            let health: Value = serde_json::from_str(&crate::http::get(&page, "/health").await?.body)?;
            let missing = &health["details"]["shards_missing"];
            let told = self.verify().await?;
            let account = self.account(chain).await?;
            let agreement = account.agreement.context("the account has no agreement")?;
            let billed = agreement.of(&self.gateway()?).map(|usage| usage.bytes);
            let is_whole = missing.as_u64() == Some(0) || missing.as_str() == Some("0");
            let is_anchored =
                told["anchored_lines"] == told["lines"] && told["anchored_bytes"] == told["live_bytes"];
            if is_whole && is_anchored && billed.is_some() && billed == told["live_bytes"].as_u64() {
                return billed.context("nothing is billed");
            }
            if begun.elapsed() > PATIENCE {
                bail!("billed {billed:?}, missing {missing}, the ledger says {told}");
            }
            tokio::time::sleep(POLL).await;
        }
    }
}
