//! `arion-gateway access-key ...`: who may use S3, and what at most.

use std::num::NonZeroU32;

use arion_daemon::{ByteSize, HumanDuration, Place as Files, line, now_ms};
use clap::{Args, Subcommand};

use crate::{
    account::AccountName,
    config::Config,
    keys::{AccessKeys, KeyInfo, Moment, NewKey, Rates},
    scope::{Access, Place, Scope},
};

/// A secret never comes from a flag: other users can see those.
const NEW_SECRET: &str = "ARION_NEW_SECRET_KEY";

/// What can be done with access keys.
#[derive(Subcommand)]
pub enum AccessKeyCommand {
    /// Make an access key. Its secret is printed once; it is kept in the access key file only. The environment
    /// variable ARION_NEW_SECRET_KEY sets the secret instead of making one.
    Add(NewKeyArgs),
    /// List access keys with their accounts, scopes and times, without secrets.
    List {
        /// Where the gateway's files are.
        #[command(flatten)]
        files: Files<Config>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make a key like another one, which expires after a while. The new one's secret is printed once.
    Rotate {
        /// The access key.
        access_key: String,
        /// How long the old key goes on; 0s ends it now.
        #[arg(long, value_name = "TIME", default_value = "24h")]
        keep: HumanDuration,
        /// Where the gateway's files are.
        #[command(flatten)]
        files: Files<Config>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Remove an access key.
    Remove {
        /// The access key.
        access_key: String,
        /// Where the gateway's files are.
        #[command(flatten)]
        files: Files<Config>,
    },
}

/// What a new key is like.
#[derive(Args)]
pub struct NewKeyArgs {
    #[command(flatten)]
    files: Files<Config>,
    /// Account the key acts for, or NAME/SUB: accounts share no buckets, sub-accounts share those of their account.
    #[arg(long, value_name = "NAME", default_value = "default")]
    account: AccountName,
    /// Access key to use instead of a made one.
    #[arg(long, value_name = "KEY")]
    access_key: Option<String>,
    /// What it may do at most.
    #[arg(long, value_enum, default_value_t = Access::ReadWrite)]
    access: Access,
    /// Where: BUCKET, BUCKET/PREFIX* or BUCKET/KEY; repeat it for several. Everywhere if it is not given.
    #[arg(long = "scope", value_name = "PLACE")]
    places: Vec<Place>,
    /// When it stops working: 90d, 2027-01-31 or 2027-01-31T12:00:00Z.
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    /// Requests a second in the long run.
    #[arg(long, value_name = "NUMBER")]
    requests: Option<NonZeroU32>,
    /// Requests at once after a pause [default: as many as in a second].
    #[arg(long, value_name = "NUMBER", requires = "requests")]
    burst: Option<NonZeroU32>,
    /// Bytes a second that come with it, as in 10MiB.
    #[arg(long, value_name = "SIZE")]
    upload_rate: Option<ByteSize>,
    /// Bytes a second that go to it, as in 10MiB.
    #[arg(long, value_name = "SIZE")]
    download_rate: Option<ByteSize>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn open(files: Files<Config>) -> anyhow::Result<AccessKeys> {
    Ok(AccessKeys::new(files.settings()?.access_keys_file()))
}

impl AccessKeyCommand {
    /// Does what was asked for.
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Add(args) => add(args),
            Self::List { files, json } => list(&open(files)?.list(now_ms())?, json),
            Self::Rotate { access_key, keep, files, json } => rotate(&open(files)?, &access_key, keep, json),
            Self::Remove { access_key, files } => Ok(open(files)?.remove(&access_key)?),
        }
    }
}

fn add(args: NewKeyArgs) -> anyhow::Result<()> {
    let expires = args.expires.map(|text| Moment::read(&text, now_ms())).transpose()?;
    let new = NewKey {
        account: args.account.clone(),
        access_key: args.access_key,
        secret: std::env::var(NEW_SECRET).ok().filter(|secret| !secret.is_empty()),
        scope: Scope { access: args.access, places: args.places },
        expires,
        rates: Rates {
            requests: args.requests,
            burst: args.burst,
            upload: args.upload_rate,
            download: args.download_rate,
        },
    };
    let scope = new.scope.clone();
    let (access_key, secret_key) = open(args.files)?.add_key(new)?;
    if args.json {
        let json = serde_json::json!({
            "access_key": access_key, "secret_key": secret_key, "account": args.account,
            "access": scope.access, "places": scope.places, "expires": expires,
        });
        line!("{json}");
        return Ok(());
    }
    line!("access key: {access_key}");
    line!("secret key: {secret_key}");
    line!("account: {}", args.account);
    if !scope.is_full() {
        line!("scope: {scope}");
    }
    if let Some(expires) = expires {
        line!("expires: {expires}");
    }
    Ok(())
}

fn list(keys: &[KeyInfo], json: bool) -> anyhow::Result<()> {
    if json {
        line!("{}", serde_json::to_string(keys)?);
        return Ok(());
    }
    for key in keys {
        let scope = Scope { access: key.access, places: key.places.clone() };
        let mut told = format!("{} {} {scope}", key.access_key, key.account);
        if let Some(expires) = key.expires {
            told += &format!("; {} {expires}", if key.expired { "expired" } else { "expires" });
        }
        if let Some(successor) = &key.rotated_to {
            told += &format!("; rotated to {successor}");
        }
        line!("{told}");
    }
    Ok(())
}

fn rotate(keys: &AccessKeys, access_key: &str, keep: HumanDuration, json: bool) -> anyhow::Result<()> {
    let keep = u64::try_from(keep.0.as_millis()).unwrap_or(u64::MAX);
    let made = keys.rotate(access_key, keep)?;
    if json {
        let json = serde_json::json!({
            "access_key": made.access_key, "secret_key": made.secret, "expires": made.expires,
            "rotated": access_key, "rotated_expires": made.old_expires,
        });
        line!("{json}");
        return Ok(());
    }
    line!("access key: {}", made.access_key);
    line!("secret key: {}", made.secret);
    if let Some(expires) = made.expires {
        line!("expires: {expires}");
    }
    line!("{access_key} expires: {}", made.old_expires);
    Ok(())
}
