//! What every daemon needs besides its job: configuration, logs, health and metrics, keys, shutdown, clock.
//!
//! # Invariants
//! - Health and metrics are served on loopback unless the operator explicitly allows another address.
//! - A secret key file that others than its owner can read is refused.
//! - Error texts say what to do.
//!
//! # Not here
//! QUIC (`arion-net`), the chain (`arion-chain`).

pub mod args;
pub mod clock;
pub mod config;
pub mod directory;
pub mod http;
pub mod keys;
pub mod logs;
pub mod shutdown;
pub mod units;

pub use args::CommonArgs;
pub use clock::now_ms;
pub use config::{ConfigError, load_config, parse_config};
pub use directory::{DirectoryError, check_writable_dir};
pub use http::{Health, HttpConfig, HttpError, HttpServer};
pub use keys::{KeyError, generate_secret_key, read_secret_key, write_secret_key};
pub use logs::{LogConfig, LogError, LogFormat, init_logs};
pub use prometheus_client;
pub use shutdown::Shutdown;
pub use units::{ByteSize, HumanDuration};
