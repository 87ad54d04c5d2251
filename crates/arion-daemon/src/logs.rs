//! Log lines on standard error.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    registry::Registry,
    util::SubscriberInitExt,
};

use crate::units::as_text;

/// Who reads the lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// People: one line per event, colours on a terminal.
    #[default]
    Human,
    /// Programs: one JSON object per line.
    Json,
}

/// The `[log]` table of a configuration.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// Who reads the lines.
    pub format: LogFormat,
    /// What is logged.
    pub level: LogLevels,
}

/// A level, or levels per module: `info`, `info,arion_net=trace`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogLevels(String);

impl Default for LogLevels {
    fn default() -> Self {
        Self("info".into())
    }
}

impl LogLevels {
    /// The same without what a module says, unless the levels name it.
    pub fn without(&self, module: &str) -> Self {
        if self.0.contains(module) { self.clone() } else { Self(format!("{},{module}=off", self.0)) }
    }

    fn targets(&self) -> Targets {
        self.0.parse().expect("the levels were checked when they were made")
    }
}

impl FromStr for LogLevels {
    type Err = LogError;

    /// Like `Targets::from_str`, which takes a lone misspelt level for the name of a module.
    fn from_str(text: &str) -> Result<Self, LogError> {
        let is_level = |part: &str| !part.is_empty() && part.parse::<LevelFilter>().is_ok();
        let is_plain = |part: &str| part.contains('=') || is_level(part.trim());
        match text.split(',').all(is_plain) && text.parse::<Targets>().is_ok() {
            true => Ok(Self(text.to_owned())),
            false => Err(LogError::Level(text.to_owned())),
        }
    }
}

impl fmt::Display for LogLevels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

as_text!(LogLevels);

/// Why logs cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level does not parse.
    #[error("`{0}` is not a log level; write off, error, warn, info, debug or trace, or `info,module=debug`")]
    Level(String),
    /// Something else installed a subscriber before.
    #[error("logs are set up already")]
    Installed,
}

/// Sends the log to standard error from here on; call it once.
pub fn init_logs(config: &LogConfig) -> Result<(), LogError> {
    use std::io::{IsTerminal, stderr};
    use tracing_subscriber::fmt::layer;
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match config.format {
        LogFormat::Human => layer().with_writer(stderr).with_ansi(stderr().is_terminal()).boxed(),
        LogFormat::Json => layer().json().flatten_event(true).with_writer(stderr).boxed(),
    };
    let layer = layer.with_filter(config.level.targets());
    tracing_subscriber::registry().with(layer).try_init().map_err(|_| LogError::Installed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_level_is_named() {
        assert!("info,arion_net=trace".parse::<LogLevels>().is_ok());
        for text in ["loud", "", "info,x=loud"] {
            let refused = text.parse::<LogLevels>().unwrap_err().to_string();
            assert!(refused.contains(&format!("`{text}`")), "{refused}");
        }
        let levels: LogLevels = "info".parse().unwrap();
        assert_eq!(levels.without("s3s").to_string(), "info,s3s=off");
        let levels: LogLevels = "info,s3s=debug".parse().unwrap();
        assert_eq!(levels.without("s3s"), levels);
    }
}
