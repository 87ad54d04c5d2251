//! arion-daemon.
