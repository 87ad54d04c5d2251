//! How long lines of the ledger that nothing needs are kept, as settings say it.

use std::{fmt, str::FromStr, time::Duration};

use arion_daemon::Pause;
use serde::{Deserialize, Serialize};

const FOREVER: &str = "forever";

/// A time, or for ever.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Retention(pub Option<Duration>);

/// Text that is neither.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}; or write `{FOREVER}`")]
pub struct NoRetention(<Pause as FromStr>::Err);

impl FromStr for Retention {
    type Err = NoRetention;

    fn from_str(text: &str) -> Result<Self, NoRetention> {
        if text.trim() == FOREVER {
            return Ok(Self(None));
        }
        let Pause(time) = text.parse().map_err(NoRetention)?;
        Ok(Self(Some(time)))
    }
}

impl TryFrom<String> for Retention {
    type Error = NoRetention;

    fn try_from(text: String) -> Result<Self, NoRetention> {
        text.parse()
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(time) => Pause(time).fmt(f),
            None => f.write_str(FOREVER),
        }
    }
}

impl From<Retention> for String {
    fn from(retention: Retention) -> Self {
        retention.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_time_or_for_ever() {
        let days = |days: u64| Retention(Some(Duration::from_secs(days * 86_400)));
        for (text, retention) in [("30d", days(30)), ("720h", days(30)), ("forever", Retention(None))] {
            assert_eq!(text.parse(), Ok(retention));
            assert_eq!(retention.to_string().parse(), Ok(retention));
        }
        for text in ["", "never", "30", "1ms"] {
            let said = text.parse::<Retention>().unwrap_err().to_string();
            assert!(said.ends_with("or write `forever`"), "{said}");
        }
    }
}
