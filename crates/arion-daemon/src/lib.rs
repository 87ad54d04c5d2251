//! What every daemon is besides its job: command line, settings, logs, health and metrics, keys, the way to the
//! chain, shutdown, clock.
//!
//! # Invariants
//! - A key is described once, in the daemon's `example.toml`: its default, its flag and its help come from there.
//! - A daemon waits for a chain that is not there, and says so; it refuses a chain it was not made for.
//! - A signal ends a daemon within [`command::STOP_DEADLINE`], whatever it is doing.
//! - Health and metrics are served on loopback unless the operator explicitly allows another address.
//! - A secret key file that others than its owner can read is refused.
//! - Error texts say what to do.
//!
//! # Not here
//! Moving bytes (`arion-net`), reading the chain (`arion-chain`).

pub mod address;
pub mod chain;
pub mod clock;
pub mod command;
pub mod directory;
pub mod http;
pub mod keys;
pub mod logs;
pub mod memory;
pub mod output;
pub mod secret_file;
pub mod settings;
pub mod shutdown;
pub mod units;
pub mod work;

pub use address::{HostPort, NodeIdText, Peer};
pub use chain::ChainConfig;
pub use clock::now_ms;
pub use command::{Daemon, DaemonCommand, KeyCommand, NoKeyCommand, execute, main};
pub use directory::{DirectoryError, check_writable_dir};
pub use http::{Answer, Health, HttpConfig, HttpError, HttpServer, Routes};
pub use hyper::StatusCode;
pub use keys::{KeyError, KeyKind, generate_secret_key, read_secret_key, write_secret_key};
pub use logs::{LogConfig, LogError, LogFormat, init_logs};
pub use prometheus_client;
pub use settings::{Flags, Loaded, Place, Settings, SettingsError};
pub use shutdown::Shutdown;
pub use units::{ByteSize, HumanDuration, Pause};
