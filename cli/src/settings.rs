//! Where the tool looks and who it is: flags, then environment, then a profile in `~/.config/arion/config.toml`.
//!
//! Secrets come from the environment or from a file that only its owner can read, never from a flag.

use std::{
    collections::BTreeMap,
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use arion_chain::{ChainClient, ConnectError};
use arion_daemon::{
    Peer,
    chain::{Genesis, NodeUrl},
};
use arion_net::PeerAddr;
use arion_types::GenesisHash;
use serde::Deserialize;

/// Options of every command.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SettingArgs {
    /// Settings file. Default: arion/config.toml in $XDG_CONFIG_HOME or ~/.config.
    #[arg(long, value_name = "FILE", global = true, env = "ARION_CONFIG")]
    pub config: Option<PathBuf>,
    /// Profile in the settings file.
    #[arg(long, value_name = "NAME", global = true, env = "ARION_PROFILE")]
    pub profile: Option<String>,
    /// RPC of a chain node.
    #[arg(long, visible_alias = "node", value_name = "URL", global = true, env = "ARION_CHAIN_URL")]
    pub chain_url: Option<NodeUrl>,
    /// Hash of block 0 of the chain to be on, hex; another chain is refused.
    #[arg(long, value_name = "HASH", global = true, env = "ARION_CHAIN_GENESIS")]
    pub chain_genesis: Option<Genesis>,
    /// S3 endpoint of a gateway.
    #[arg(long, value_name = "URL", global = true, env = "ARION_S3_ENDPOINT")]
    pub s3_endpoint: Option<String>,
    /// Region of the gateway.
    #[arg(long, value_name = "NAME", global = true, env = "ARION_REGION")]
    pub region: Option<String>,
    /// Access key; its secret comes from ARION_SECRET_KEY, --secret-key-file or the profile.
    #[arg(long, value_name = "KEY", global = true, env = "ARION_ACCESS_KEY")]
    pub access_key: Option<String>,
    /// File with the secret of the access key, mode 0600.
    #[arg(long, value_name = "FILE", global = true, env = "ARION_SECRET_KEY_FILE")]
    pub secret_key_file: Option<PathBuf>,
    /// Health address of the gateway, such as http://127.0.0.1:7880.
    #[arg(long, value_name = "URL", global = true, env = "ARION_GATEWAY_HTTP")]
    pub gateway_http: Option<String>,
    /// Validator service; repeat it, or separate several by commas.
    #[arg(
        long,
        value_name = "NODE_ID@HOST:PORT",
        global = true,
        env = "ARION_VALIDATORS",
        value_delimiter = ','
    )]
    pub validators: Vec<Peer>,
}

/// A profile of the settings file; every field can be left out.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Profile {
    chain_url: Option<NodeUrl>,
    chain_genesis: Option<Genesis>,
    s3_endpoint: Option<String>,
    region: Option<String>,
    access_key: Option<String>,
    secret_key: Option<String>,
    secret_key_file: Option<PathBuf>,
    gateway_http: Option<String>,
    validators: Vec<Peer>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SettingsFile {
    profile: BTreeMap<String, Profile>,
}

/// What commands work with.
pub struct Settings {
    /// RPC of a chain node.
    pub chain_url: String,
    /// Hash of block 0 of the chain to be on.
    pub chain_genesis: Option<GenesisHash>,
    /// S3 endpoint of a gateway.
    pub s3_endpoint: String,
    /// Region of the gateway.
    pub region: String,
    /// Access key and secret.
    pub credentials: Option<(String, String)>,
    /// Health address of the gateway.
    pub gateway_http: Option<String>,
    /// Validator services.
    pub validators: Vec<PeerAddr>,
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Others than its owner may read a file with a secret.
    #[error("{} holds a secret and can be read by others than its owner; run `chmod 600 {}`", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// Not TOML, or an unknown field.
    #[error("{} is not valid: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Where and why, without the line.
        reason: String,
    },
    /// The profile is not in the file.
    #[error("there is no profile `{name}` in {}; it has: {}", path.display(), known.join(", "))]
    NoProfile {
        /// The profile.
        name: String,
        /// The file.
        path: PathBuf,
        /// Those that are there.
        known: Vec<String>,
    },
}

fn default_file() -> Option<PathBuf> {
    let base = env::var_os("XDG_CONFIG_HOME")
        .filter(|dir| !dir.is_empty())
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")))?;
    Some(base.join("arion/config.toml"))
}

fn is_exposed(path: &Path) -> Result<bool, SettingsError> {
    let unreadable = |source| SettingsError::Unreadable { path: path.to_owned(), source };
    Ok(fs::metadata(path).map_err(unreadable)?.permissions().mode() & 0o077 != 0)
}

fn read(path: &Path) -> Result<String, SettingsError> {
    fs::read_to_string(path).map_err(|source| SettingsError::Unreadable { path: path.to_owned(), source })
}

fn load_profile(args: &SettingArgs) -> Result<Profile, SettingsError> {
    let chosen = args.config.clone().or_else(default_file);
    let Some(path) = chosen.filter(|path| args.config.is_some() || args.profile.is_some() || path.exists())
    else {
        return Ok(Profile::default());
    };
    let file: SettingsFile = toml::from_str(&read(&path)?)
        .map_err(|error| SettingsError::Invalid { path: path.clone(), reason: error.message().to_owned() })?;
    let name = args.profile.as_deref().unwrap_or("default");
    let profile = match file.profile.get(name) {
        Some(profile) => profile.clone(),
        None if args.profile.is_none() => Profile::default(),
        None => {
            let known = file.profile.into_keys().collect();
            return Err(SettingsError::NoProfile { name: name.to_owned(), path, known });
        }
    };
    if profile.secret_key.is_some() && is_exposed(&path)? {
        return Err(SettingsError::Exposed { path });
    }
    Ok(profile)
}

fn secret(args: &SettingArgs, profile: &Profile) -> Result<Option<String>, SettingsError> {
    if let Some(path) = &args.secret_key_file {
        return secret_in(path).map(Some);
    }
    if let Some(secret) = env::var("ARION_SECRET_KEY").ok().filter(|secret| !secret.is_empty()) {
        return Ok(Some(secret));
    }
    match (&profile.secret_key, &profile.secret_key_file) {
        (Some(secret), _) => Ok(Some(secret.clone())),
        (None, Some(path)) => secret_in(path).map(Some),
        (None, None) => Ok(None),
    }
}

fn secret_in(path: &Path) -> Result<String, SettingsError> {
    if is_exposed(path)? {
        return Err(SettingsError::Exposed { path: path.to_owned() });
    }
    Ok(read(path)?.trim().to_owned())
}

impl Settings {
    /// Puts flags, environment and profile together.
    pub fn load(args: &SettingArgs) -> Result<Self, SettingsError> {
        let profile = load_profile(args)?;
        let secret = secret(args, &profile)?;
        let access_key = args.access_key.clone().or(profile.access_key);
        let validators =
            if args.validators.is_empty() { profile.validators } else { args.validators.clone() };
        let chain_url = args.chain_url.clone().or(profile.chain_url);
        Ok(Self {
            chain_url: chain_url.map_or_else(|| "ws://127.0.0.1:9944".into(), |url| url.to_string()),
            chain_genesis: args.chain_genesis.or(profile.chain_genesis).map(|genesis| genesis.0),
            s3_endpoint: args
                .s3_endpoint
                .clone()
                .or(profile.s3_endpoint)
                .unwrap_or_else(|| "http://127.0.0.1:7800".into()),
            region: args.region.clone().or(profile.region).unwrap_or_else(|| "us-east-1".into()),
            credentials: access_key.zip(secret),
            gateway_http: args.gateway_http.clone().or(profile.gateway_http),
            validators: validators.into_iter().map(PeerAddr::from).collect(),
        })
    }

    /// Connects to the chain.
    pub async fn chain(&self) -> Result<ChainClient, ConnectError> {
        ChainClient::connect(&self.chain_url, self.chain_genesis).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(config: &Path, profile: Option<&str>) -> SettingArgs {
        SettingArgs {
            config: Some(config.to_owned()),
            profile: profile.map(str::to_owned),
            ..SettingArgs::default()
        }
    }

    #[test]
    fn profiles_are_read_and_flags_win() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.toml");
        let id = "11".repeat(32);
        let text = format!(
            "[profile.default]\nchain_url = \"ws://a\"\naccess_key = \"K\"\nsecret_key = \"S\"\nvalidators = [\"{id}@h:1\"]\n[profile.two]\nregion = \"r\"\n"
        );
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let settings = Settings::load(&args(&path, None)).unwrap();
        assert_eq!(settings.chain_url, "ws://a");
        assert_eq!(settings.validators.len(), 1);
        let mut flags = args(&path, Some("two"));
        flags.chain_url = Some("ws://b".parse().unwrap());
        let settings = Settings::load(&flags).unwrap();
        assert_eq!((settings.chain_url.as_str(), settings.region.as_str()), ("ws://b", "r"));
        let missing = Settings::load(&args(&path, Some("three"))).err().unwrap().to_string();
        assert!(missing.contains("default, two"), "{missing}");
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.toml");
        fs::write(&path, "[profile.default]\nsecret_key = \"S\"\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = Settings::load(&args(&path, None)).err().unwrap().to_string();
        assert!(error.contains("chmod 600"), "{error}");
        fs::write(&path, "[profile.default]\ncolour = 1\n").unwrap();
        assert!(matches!(Settings::load(&args(&path, None)), Err(SettingsError::Invalid { .. })));
    }
}
