//! Log lines on standard error.

use serde::{Deserialize, Serialize};
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt,
    registry::Registry,
    util::SubscriberInitExt,
};

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
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// Who reads the lines.
    pub format: LogFormat,
    /// A level, or levels per module: `info`, `info,arion_net=trace`.
    pub level: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Human, level: "info".into() }
    }
}

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
    let levels = levels(&config.level).ok_or_else(|| LogError::Level(config.level.clone()))?;
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match config.format {
        LogFormat::Human => fmt::layer().with_writer(stderr).with_ansi(stderr().is_terminal()).boxed(),
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(stderr).boxed(),
    };
    tracing_subscriber::registry().with(layer.with_filter(levels)).try_init().map_err(|_| LogError::Installed)
}

/// Like `Targets::from_str`, which takes a lone misspelt level for the name of a module.
fn levels(text: &str) -> Option<Targets> {
    let is_plain = |part: &str| part.contains('=') || part.trim().parse::<LevelFilter>().is_ok();
    if text.split(',').all(is_plain) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_level_is_named() {
        let config = LogConfig { level: "loud".into(), ..LogConfig::default() };
        assert!(init_logs(&config).unwrap_err().to_string().contains("`loud`"));
    }
}
