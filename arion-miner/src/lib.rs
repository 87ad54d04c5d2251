//! arion-miner.
