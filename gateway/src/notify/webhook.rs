//! Webhooks: where the operator lets events be told, and how a receiver knows who tells them.
//!
//! Requests are signed as Standard Webhooks 1.0 says (<https://www.standardwebhooks.com>): HMAC-SHA256 over the id of the
//! delivery, the time and the body.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use arion_daemon::secret_file::{self, OTHERS, SecretFileError};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use hyper::Uri;
use ring::hmac;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, value::MapAccessDeserializer},
};

use crate::account::is_plain_name;

/// Bytes of a secret, at least and at most (as Standard Webhooks says).
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// What a secret may begin with.
const SECRET_PREFIX: &str = "whsec_";

/// A webhook as the configuration has it. As a flag: the same inline table.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct WebhookConfig {
    /// What rules of buckets name it by.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// File with its secrets.
    pub secret_file: PathBuf,
    /// Accounts whose buckets may name it; empty for all.
    pub accounts: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    name: String,
    url: String,
    secret_file: PathBuf,
    #[serde(default)]
    accounts: Vec<String>,
}

/// What a flag says: a table in the form of a value.
#[derive(Deserialize)]
struct Flag {
    webhook: Fields,
}

impl<'de> Deserialize<'de> for WebhookConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = WebhookConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a webhook: { name = \"..\", url = \"https://..\", secret_file = \"/..\" }")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<WebhookConfig, A::Error> {
                checked(Fields::deserialize(MapAccessDeserializer::new(map))?).map_err(de::Error::custom)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<WebhookConfig, E> {
                let flag: Flag = toml::from_str(&format!("webhook = {text}"))
                    .map_err(|error| E::custom(error.message().to_owned()))?;
                checked(flag.webhook).map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

fn checked(fields: Fields) -> Result<WebhookConfig, String> {
    let Fields { name, url, secret_file, accounts } = fields;
    if !is_plain_name(&name) {
        return Err(format!("`{name}` cannot name a webhook: 1 to 64 letters, digits, `-`, `_` and `.`"));
    }
    let parsed: Option<Uri> = url.parse().ok();
    let is_address = |uri: &Uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
            && uri.host().is_some_and(|host| !host.is_empty())
    };
    if !parsed.as_ref().is_some_and(is_address) {
        return Err(format!(
            "the url of webhook `{name}` is http:// or https:// with a host, and without a password"
        ));
    }
    if let Some(account) = accounts.iter().find(|account| !is_plain_name(account)) {
        return Err(format!("`{account}` in the accounts of webhook `{name}` is no account"));
    }
    Ok(WebhookConfig { name, url, secret_file, accounts })
}

/// Why a webhook cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// Its secrets cannot be read.
    #[error("the secret of webhook `{name}`, {}: {source}", path.display())]
    File {
        /// The webhook.
        name: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: SecretFileError,
    },
    /// The file holds something else.
    #[error(
        "the secret of webhook `{name}`, {}: lines are 24 to 64 bytes in base64, with or without whsec_ before them; make one with `openssl rand -base64 32`",
        path.display()
    )]
    Secret {
        /// The webhook.
        name: String,
        /// The file.
        path: PathBuf,
    },
}

/// Where events are told.
pub struct Webhook {
    name: String,
    url: String,
    accounts: Vec<String>,
    secrets: Vec<hmac::Key>,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Webhook({} at {})", self.name, self.url)
    }
}

fn secrets(name: &str, path: &Path) -> Result<Vec<hmac::Key>, WebhookError> {
    let text = secret_file::read(path, OTHERS).map(zeroize::Zeroizing::new);
    let text = text.map_err(|source| WebhookError::File { name: name.into(), path: path.into(), source })?;
    let wrong = || WebhookError::Secret { name: name.into(), path: path.into() };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let keys = lines.map(|line| {
        let bytes = BASE64.decode(line.strip_prefix(SECRET_PREFIX).unwrap_or(line));
        let bytes =
            bytes.map(zeroize::Zeroizing::new).ok().filter(|bytes| SECRET_BYTES.contains(&bytes.len()));
        bytes.map(|bytes| hmac::Key::new(hmac::HMAC_SHA256, &bytes)).ok_or_else(wrong)
    });
    let keys = keys.collect::<Result<Vec<_>, _>>()?;
    if keys.is_empty() { Err(wrong()) } else { Ok(keys) }
}

impl Webhook {
    /// With the secrets in its file.
    pub fn load(config: &WebhookConfig) -> Result<Self, WebhookError> {
        let WebhookConfig { name, url, secret_file, accounts } = config.clone();
        Ok(Self { secrets: secrets(&name, &secret_file)?, name, url, accounts })
    }

    /// What rules of buckets name it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What `webhook-signature` says: a signature by each secret.
    pub fn signature(&self, id: &str, seconds: u64, body: &[u8]) -> String {
        let signed = [format!("{id}.{seconds}.").as_bytes(), body].concat();
        let signatures = self.secrets.iter().map(|key| BASE64.encode(hmac::sign(key, &signed)));
        signatures.map(|signature| format!("v1,{signature}")).collect::<Vec<_>>().join(" ")
    }
}

/// All webhooks of a gateway.
#[derive(Debug, Default)]
pub struct Webhooks(Vec<Arc<Webhook>>);

impl Webhooks {
    /// With the secrets in their files.
    pub fn load(configs: &[WebhookConfig]) -> Result<Self, WebhookError> {
        configs.iter().map(|config| Webhook::load(config).map(Arc::new)).collect::<Result<_, _>>().map(Self)
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Webhook>> {
        self.0.iter()
    }

    /// The one that `arn:arion:sqs:REGION:NAME:webhook` names for a bucket of an account; the region may be left empty.
    pub fn find(&self, arn: &str, region: &str, account: &str) -> Option<&Webhook> {
        let parts: Vec<&str> = arn.split(':').collect();
        let ["arn", "arion", "sqs", place, name, "webhook"] = parts[..] else { return None };
        let found = self.0.iter().find(|webhook| webhook.name == name)?;
        let is_here = place.is_empty() || place == region;
        let may = found.accounts.is_empty() || found.accounts.iter().any(|allowed| allowed == account);
        (is_here && may).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str, secret_file: &Path) -> WebhookConfig {
        WebhookConfig {
            name: "audit".into(),
            url: url.into(),
            secret_file: secret_file.into(),
            accounts: vec!["alice".into()],
        }
    }

    #[derive(Deserialize)]
    struct File {
        webhook: Vec<WebhookConfig>,
    }

    #[test]
    fn tables_and_flags_say_the_same_and_nonsense_is_refused() {
        let table = r#"{ name = "audit", url = "https://h.example/x?y=1", secret_file = "/s", accounts = ["alice"] }"#;
        let read = |text: &str| toml::from_str::<File>(&format!("webhook = [{text}]"));
        let flag = toml::Value::String(table.into()).to_string();
        for text in [table, flag.as_str()] {
            let read = read(text).unwrap().webhook;
            assert_eq!(read, [config("https://h.example/x?y=1", Path::new("/s"))]);
        }
        for (text, named) in [
            (r#"{ name = "a b", url = "http://h", secret_file = "/s" }"#, "cannot name a webhook"),
            (r#"{ name = "a", url = "ftp://h", secret_file = "/s" }"#, "is http:// or https://"),
            (r#"{ name = "a", url = "/h", secret_file = "/s" }"#, "is http:// or https://"),
            (r#"{ name = "a", url = "http://u:p@h", secret_file = "/s" }"#, "without a password"),
            (r#"{ name = "a", url = "http://h" }"#, "secret_file"),
            (r#"{ name = "a", url = "http://h", secret_file = "/s", secret = "x" }"#, "secret"),
            (r#"{ name = "a", url = "http://h", secret_file = "/s", accounts = ["a/b"] }"#, "is no account"),
            ("1", "a webhook"),
            ("\"x\"", ""),
        ] {
            let refused = read(text).err().unwrap_or_else(|| panic!("{text}")).to_string();
            assert!(refused.contains(named), "{text}: {refused}");
        }
    }

    #[test]
    fn signatures_are_those_of_standard_webhooks() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        // The example of the standard's own libraries.
        secret_file::replace(&path, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
        let webhook = Webhook::load(&config("http://h", &path)).unwrap();
        let signed =
            webhook.signature("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let second = BASE64.encode([1; 32]);
        secret_file::replace(&path, &format!("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n\n{second}")).unwrap();
        let both = Webhook::load(&config("http://h", &path)).unwrap();
        let both = both.signature("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert!(both.starts_with(&format!("{signed} v1,")), "{both}");
        for wrong in [
            "",
            "short",
            &BASE64.encode([1; 23]),
            &BASE64.encode([1; 65]),
            "not base64 !!!!!!!!!!!!!!!!!!!!!!!",
        ] {
            secret_file::replace(&path, wrong).unwrap();
            let refused = Webhook::load(&config("http://h", &path)).unwrap_err();
            assert!(matches!(refused, WebhookError::Secret { .. }), "{wrong}");
        }
        let absent = Webhook::load(&config("http://h", &directory.path().join("none"))).unwrap_err();
        assert!(absent.to_string().contains("cannot be read"), "{absent}");
    }

    #[test]
    fn webhooks_are_found_by_arn_by_those_who_may() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        secret_file::replace(&path, &BASE64.encode([1; 32])).unwrap();
        let all = Webhooks::load(&[config("http://h", &path)]).unwrap();
        for (arn, account, is_found) in [
            ("arn:arion:sqs::audit:webhook", "alice", true),
            ("arn:arion:sqs:eu-1:audit:webhook", "alice", true),
            ("arn:arion:sqs:eu-2:audit:webhook", "alice", false),
            ("arn:arion:sqs::audit:webhook", "bob", false),
            ("arn:arion:sqs::other:webhook", "alice", false),
            ("arn:aws:sqs::audit:webhook", "alice", false),
            ("arn:arion:sqs::audit", "alice", false),
            ("", "alice", false),
        ] {
            assert_eq!(all.find(arn, "eu-1", account).is_some(), is_found, "{arn} {account}");
        }
    }
}
