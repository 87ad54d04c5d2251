//! Options that every daemon has, as flags.

use std::{net::SocketAddr, path::PathBuf};

use crate::{
    http::HttpConfig,
    logs::{LogConfig, LogFormat},
};

/// Options of every daemon; flatten it into the daemon's own arguments. A flag wins over the file.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct CommonArgs {
    /// Configuration file (TOML). Unknown fields are refused.
    #[arg(long, short, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Log lines for people or for programs.
    #[arg(long, value_enum, global = true)]
    pub log_format: Option<LogFormat>,
    /// Log level, or levels per module: `info`, `debug`, `info,arion_net=trace`.
    #[arg(long, value_name = "LEVELS", global = true)]
    pub log_level: Option<String>,
    /// Address of /health and /metrics; port 0 takes a free one.
    #[arg(long, value_name = "IP:PORT", global = true)]
    pub http: Option<SocketAddr>,
    /// Allow an address for /health and /metrics that is not loopback. They have no access control.
    #[arg(long, global = true)]
    pub http_allow_public: bool,
}

impl CommonArgs {
    /// Lets the flags that were given win over the file.
    pub fn apply(&self, http: &mut HttpConfig, log: &mut LogConfig) {
        if let Some(address) = self.http {
            http.addr = address;
        }
        http.allow_public |= self.http_allow_public;
        if let Some(format) = self.log_format {
            log.format = format;
        }
        if let Some(level) = &self.log_level {
            log.level.clone_from(level);
        }
    }
}
