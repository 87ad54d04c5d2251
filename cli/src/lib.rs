//! arion-cli.
