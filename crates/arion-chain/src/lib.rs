//! arion-chain.
