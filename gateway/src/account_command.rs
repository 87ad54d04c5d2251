//! `arion-gateway account ...`: limits of accounts and what they store.
//!
//! What they store is in the metadata, which a running gateway has to itself. It is asked then at the address of /health, which
//! is the operator's, like everything that is told there.

use std::{net::SocketAddr, num::NonZeroU32, str::FromStr, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use arion_daemon::{Answer, ByteSize, Place as Files, Routes, StatusCode, line};
use clap::{Args, Subcommand};

use crate::{
    account::AccountName,
    billing::credit::{Bill, Credit},
    config::Config,
    keys::{AccessKeys, ChainAccount, Changed},
    meta::{Meta, Recount, Role},
    rate::Rate,
    s3::{self, AccountUsage},
};

/// Where a running gateway tells of its accounts.
const PATH: &str = "/accounts";
/// Time for its answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What can be done with accounts.
#[derive(Subcommand)]
pub enum AccountCommand {
    /// Bind an account to an account of the chain, or change its limits. What is not given stays as it is; `none` takes it
    /// away. Works at once, also in a running gateway.
    Set(SetArgs),
    /// List all accounts and sub-accounts with what they store and asked for.
    List {
        /// Where the gateway's files are.
        #[command(flatten)]
        files: Files<Config>,
        /// Where a running gateway answers /health, if the configuration does not say it.
        #[arg(long, value_name = "ADDRESS")]
        http: Option<SocketAddr>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show one account with its sub-accounts.
    Show {
        /// The account, or NAME/SUB.
        account: AccountName,
        /// Where the gateway's files are.
        #[command(flatten)]
        files: Files<Config>,
        /// Where a running gateway answers /health, if the configuration does not say it.
        #[arg(long, value_name = "ADDRESS")]
        http: Option<SocketAddr>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Take away all limits of an account, and its account of the chain. Its keys and objects stay.
    Reset {
        /// The account, or NAME/SUB.
        account: AccountName,
        /// Where the gateway's files are.
        #[command(flatten)]
        files: Files<Config>,
    },
    /// Count again what is stored, and compare. Takes a stopped gateway.
    Check {
        /// Have what was found count from now on.
        #[arg(long)]
        repair: bool,
        /// Where the gateway's files are.
        #[command(flatten)]
        files: Files<Config>,
    },
}

/// A value, or `none`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct OrNone<T>(Option<T>);

impl<T: FromStr> FromStr for OrNone<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        match text {
            "none" => Ok(Self(None)),
            text => text.parse().map(|value| Self(Some(value))),
        }
    }
}

fn on_or_off(text: &str) -> Result<bool, &'static str> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("write on or off"),
    }
}

/// What is to be changed.
#[derive(Args)]
pub struct SetArgs {
    /// The account, or NAME/SUB.
    account: AccountName,
    #[command(flatten)]
    files: Files<Config>,
    /// SS58 address of the account of the chain that it belongs to.
    #[arg(long, value_name = "ADDRESS")]
    chain_account: Option<OrNone<ChainAccount>>,
    /// Most bytes that it may store, as in 10GiB.
    #[arg(long, value_name = "SIZE")]
    quota: Option<OrNone<ByteSize>>,
    /// Most objects that it may store.
    #[arg(long, value_name = "NUMBER")]
    quota_objects: Option<OrNone<u64>>,
    /// Whether equal bytes that it puts are stored once.
    #[arg(long, value_name = "on|off", value_parser = on_or_off)]
    deduplicate: Option<bool>,
    /// Requests a second of all its keys.
    #[arg(long, value_name = "NUMBER")]
    requests: Option<OrNone<NonZeroU32>>,
    /// Requests at once after a pause.
    #[arg(long, value_name = "NUMBER")]
    burst: Option<OrNone<NonZeroU32>>,
    /// Bytes a second that come from it.
    #[arg(long, value_name = "SIZE")]
    upload_rate: Option<OrNone<ByteSize>>,
    /// Bytes a second that go to it.
    #[arg(long, value_name = "SIZE")]
    download_rate: Option<OrNone<ByteSize>>,
}

impl AccountCommand {
    /// Does what was asked for.
    pub async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Set(args) => set(args),
            Self::List { files, http, json } => {
                let found = usage(&files.settings()?, http).await?;
                match json {
                    true => print_json(&found),
                    false => print(&found),
                }
            }
            Self::Show { account, files, http, json } => {
                let mut found = usage(&files.settings()?, http).await?;
                let below = format!("{account}/");
                found.retain(|found| found.account == account.as_str() || found.account.starts_with(&below));
                match found.is_empty() {
                    true => {
                        bail!("there is no account {account}: it has no access key, no limits and no objects")
                    }
                    false if json => print_json(&found),
                    false => {
                        print(&found)?;
                        found.iter().filter_map(|found| found.bill.as_ref()).try_for_each(print_bill)
                    }
                }
            }
            Self::Reset { account, files } => {
                let keys = AccessKeys::new(files.settings()?.access_keys_file());
                Ok(keys.reset_account(&account)?)
            }
            Self::Check { repair, files } => check(&files.settings()?, repair).await,
        }
    }
}

/// What accounts store and ask for, for the operator of a running gateway.
pub fn route(keys: Arc<AccessKeys>, meta: Meta, rate: Arc<Rate>, credit: Arc<Credit>) -> Routes {
    Routes::default().add(PATH, move |_| {
        let told = s3::usage_of_all(&keys, &meta, &rate, &credit).map_err(|error| error.to_string());
        let told = told.and_then(|all| serde_json::to_vec(&all).map_err(|error| error.to_string()));
        match told {
            Ok(json) => {
                Answer { status: StatusCode::OK, content_type: "application/json", body: json.into() }
            }
            Err(error) => Answer::text(StatusCode::INTERNAL_SERVER_ERROR, error),
        }
    })
}

fn set(args: SetArgs) -> anyhow::Result<()> {
    fn value<T>(given: Option<OrNone<T>>) -> Option<Option<T>> {
        given.map(|OrNone(value)| value)
    }
    let changed = Changed {
        chain_account: value(args.chain_account),
        quota_bytes: value(args.quota),
        quota_objects: value(args.quota_objects),
        deduplicate: args.deduplicate,
        requests: value(args.requests),
        burst: value(args.burst),
        upload: value(args.upload_rate),
        download: value(args.download_rate),
    };
    if changed == Changed::default() {
        bail!("nothing to change: give a limit, --chain-account or --deduplicate");
    }
    let keys = AccessKeys::new(args.files.settings()?.access_keys_file());
    let entry = keys.set_account(&args.account, changed)?;
    line!("{}", serde_json::to_string(&entry)?);
    Ok(())
}

/// What all accounts store: from the metadata, or from the gateway that has them.
async fn usage(config: &Config, http: Option<SocketAddr>) -> anyhow::Result<Vec<AccountUsage>> {
    let keys = AccessKeys::new(config.access_keys_file());
    let metadata = config.metadata()?;
    if !metadata.exists() {
        bail!("there are no metadata {metadata}: the gateway was never started");
    }
    match metadata.open(Role::Alone) {
        Ok(meta) => Ok(s3::usage_of_all(&keys, &meta, &Rate::default(), &Credit::default())?),
        Err(error) if error.is_taken() => ask(http.unwrap_or(config.http.addr)).await,
        Err(error) => Err(error.into()),
    }
}

async fn ask(address: SocketAddr) -> anyhow::Result<Vec<AccountUsage>> {
    if address.port() == 0 {
        bail!("the gateway is running at a port that it chose: say which with --http");
    }
    let url = format!("http://{address}{PATH}");
    let asked = tokio::task::spawn_blocking(move || -> anyhow::Result<String> {
        let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).build().into();
        Ok(agent.get(&url).call()?.body_mut().read_to_string()?)
    });
    let text = asked.await?.with_context(|| format!("the running gateway does not answer at {address}"))?;
    serde_json::from_str(&text)
        .with_context(|| format!("what answers at {address} is no gateway of this version"))
}

fn print_json(accounts: &[AccountUsage]) -> anyhow::Result<()> {
    line!("{}", serde_json::to_string(accounts)?);
    Ok(())
}

fn print_bill(bill: &Bill) -> anyhow::Result<()> {
    let allowed = bill.billed_bytes_max.map_or("nothing".to_owned(), |bytes| format!("{bytes} bytes"));
    let until = bill.until.map_or(String::new(), |until| format!(" until {until}"));
    let lasts = bill.lasts_until.map_or(String::new(), |until| format!(", which last until {until}"));
    line!("");
    line!("credit    {}{until}", bill.state.name());
    line!(
        "billed    {} bytes of shards, of {} in use; {allowed} allowed",
        bill.billed_bytes,
        bill.occupied_bytes
    );
    line!("price     {} credits a GiB-hour", bill.price_gib_hour);
    line!(
        "cost      {} credits a day, {} a month ({} ALPHA now)",
        bill.cost_day,
        bill.cost_month,
        bill.cost_month_alpha
    );
    line!("balance   {} credits ({} ALPHA){lasts}; {} owed", bill.credits, bill.credits_alpha, bill.owed);
    Ok(())
}

fn print(accounts: &[AccountUsage]) -> anyhow::Result<()> {
    let bound = |limit: Option<u64>| limit.map_or("-".to_owned(), |limit| limit.to_string());
    line!(
        "{:<24} {:>16} {:>16} {:>10} {:>10} {:>5} {:>10}  {:<15}  chain account",
        "account",
        "bytes",
        "quota",
        "objects",
        "quota",
        "keys",
        "requests",
        "credit"
    );
    for found in accounts {
        line!(
            "{:<24} {:>16} {:>16} {:>10} {:>10} {:>5} {:>10}  {:<15}  {}",
            found.account,
            found.bytes,
            bound(found.quota_bytes),
            found.objects,
            bound(found.quota_objects),
            found.access_keys,
            found.this_hour.requests.saturating_add(found.last_hour.requests),
            found.bill.as_ref().map_or("-", |bill| bill.state.name()),
            found.chain_account.map_or("-".to_owned(), String::from)
        );
    }
    Ok(())
}

async fn check(config: &Config, repair: bool) -> anyhow::Result<()> {
    let meta = match config.metadata()?.open(Role::Alone) {
        Err(error) if error.is_taken() => {
            bail!("the gateway is running: stop it before its counts are checked")
        }
        opened => opened?,
    };
    let Recount { found, wrong, unreadable } = match repair {
        true => meta.repair_usage().await?,
        false => meta.recount_usage().await?,
    };
    for (name, counted) in &wrong {
        let found = found.get(name).copied().unwrap_or_default();
        line!(
            "{name}: counted {} bytes in {} objects, found {} in {}",
            counted.bytes,
            counted.objects,
            found.bytes,
            found.objects
        );
    }
    if unreadable > 0 {
        line!("{unreadable} rows do not decode: they are not counted");
    }
    let is_occupied = meta.recount_occupied().await?;
    if !is_occupied && repair {
        meta.repair_occupied().await?;
    }
    match (is_occupied, repair) {
        (true, _) => {}
        (false, true) => line!("what accounts are billed for was counted again"),
        (false, false) => line!("what accounts are billed for is not what they occupy"),
    }
    match (wrong.len(), repair) {
        (0, false) if !is_occupied => bail!("what accounts are billed for is wrong; repair it with --repair"),
        (0, _) => line!("{} accounts and sub-accounts: all counts are right", found.len()),
        (many, true) => line!("{many} counts repaired"),
        (many, false) => bail!("{many} counts are wrong; repair them with --repair"),
    }
    Ok(())
}
