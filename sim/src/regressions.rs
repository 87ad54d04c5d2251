//! Seeds that found something, by the name of what it was: they are run again for as long as there is a scenario of theirs.
//!
//! What a seed does changes with the simulator and with the product. A mended fault has a test in its own crate as well
//! (docs/simulator.md, "What it found").

/// What was found, the scenario, the seed.
pub const REGRESSIONS: [(&str, &str, u64); 12] = [
    ("a-warden-behind-the-chain-accuses-nobody", "chain-lag", 1),
    ("a-warden-behind-the-chain-accuses-nobody", "chain-lag", 3),
    ("deletions-nobody-will-answer-are-given-up", "lose-family", 5),
    ("a-deletion-that-came-too-early-is-queued-again", "slow-disk", 14),
    ("what-a-lying-gateway-said-makes-work-once", "lying-gateway", 5),
    ("what-a-lying-gateway-said-makes-work-once", "lying-gateway", 6),
    ("what-is-signed-for-again-is-not-stored-again", "lying-gateway", 810),
    ("what-a-lost-gateway-had-deleted-is-in-no-ledger", "recover", 2),
    ("what-a-lost-gateway-had-deleted-is-in-no-ledger", "recover", 4),
    ("what-a-lost-gateway-had-deleted-is-in-no-ledger", "recover", 9),
    ("no-two-stripes-have-the-same-shard", "repeated-write", 46),
    ("who-lied-is-contradicted-before-it-lies-again", "lying-warden", 31),
];
