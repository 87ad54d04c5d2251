//! `arion receipt trace`: whether a gateway's ledger still has what a receipt says was stored.

use std::{path::Path, process::ExitCode};

use anyhow::bail;
use arion_daemon::line;
use arion_ledger::{Anchor, StripeFate, put_receipt::Proven, trace as look};
use arion_types::ShardHash;
use codec::Encode;
use serde::Serialize;

use super::{Told as ToldReceipt, parse, read};
use crate::{
    command::{
        ledger::{self, Found, From, Whose},
        print_json,
    },
    settings::Settings,
};

/// What is printed.
#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    receipt: ToldReceipt,
    /// Whose ledger it is; another one than `gateway` where the gateway was made again.
    ledger: String,
    lines: u64,
    /// How many lines the newest commitment on chain covers.
    anchored_lines: Option<u64>,
    /// Whether every shard that miners had signed for is live.
    is_kept: bool,
    stripes: Vec<ToldStripe>,
}

/// A stripe of the receipt.
#[derive(Serialize)]
struct ToldStripe {
    live: usize,
    deleted: usize,
    unknown: usize,
    /// The first and the last line by which shards were deleted.
    deleted_by: Option<(u64, u64)>,
    proof: Option<ToldProof>,
}

/// The first of these lines, under a root that the gateway committed to on chain.
#[derive(Serialize)]
struct ToldProof {
    /// Lines that the commitment covers.
    anchored_lines: u64,
    root: String,
    /// SCALE of `arion_ledger::LineProof`, hex.
    proof: String,
}

/// Looks for the shards of a receipt in a ledger. Exit code 1 where not all of them are live.
pub async fn trace(
    settings: &Settings,
    file: &Path,
    gateway: Option<Whose>,
    from: &From,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let proven = parse(&read(file)?)?;
    let whose = gateway.unwrap_or(Whose { node_id: proven.statement.gateway, address: None });
    let chain = settings.chain().await?;
    if chain.genesis() != proven.genesis {
        bail!(
            "the receipt is signed for another chain, with genesis {}: give a node of that one",
            hex::encode(proven.genesis)
        );
    }
    let anchors = ledger::anchors(&chain, &whose.node_id).await?;
    let ledger = ledger::whole(proven.genesis, &whose, from).await?.found;
    let told = told(&proven, &whose, &ledger, &anchors);
    tell(&told, json)?;
    Ok(ExitCode::from(u8::from(!told.is_kept)))
}

fn told(proven: &Proven, whose: &Whose, ledger: &Found, anchors: &[Anchor]) -> Told {
    let shards = |stripe: &Vec<_>| stripe.iter().map(shard_of).collect::<Vec<ShardHash>>();
    let wanted: Vec<_> = proven.receipts.iter().map(shards).collect();
    let fates = look(ledger.lines(), &wanted);
    let is_kept = fates.iter().all(StripeFate::is_whole);
    let hashes = if is_kept { Vec::new() } else { ledger.hashes() };
    let stripe = |fate: &StripeFate| ToldStripe {
        live: fate.live,
        deleted: fate.deleted,
        unknown: fate.unknown,
        deleted_by: fate.lines,
        proof: fate.lines.and_then(|(first, _)| prove(ledger, whose, &hashes, anchors, first)),
    };
    Told {
        receipt: super::told(proven, Default::default(), None),
        ledger: whose.node_id.to_string(),
        lines: ledger.len(),
        anchored_lines: anchors.iter().map(|anchor| anchor.sequence).max(),
        is_kept,
        stripes: fates.iter().map(stripe).collect(),
    }
}

fn shard_of(signed: &arion_types::SignedReceipt) -> ShardHash {
    signed.receipt.shard
}

/// The line under the first commitment that covers it, if it is what was committed to.
fn prove(
    ledger: &Found,
    whose: &Whose,
    hashes: &[[u8; 32]],
    anchors: &[Anchor],
    line: u64,
) -> Option<ToldProof> {
    let anchor =
        anchors.iter().filter(|anchor| anchor.sequence >= line).min_by_key(|anchor| anchor.sequence)?;
    let covered = hashes.get(..usize::try_from(anchor.sequence).ok()?)?;
    let proof = ledger.prove(covered, line)?;
    let holds = proof.holds(&ledger.genesis(), &whose.node_id, &anchor.root);
    holds.then(|| ToldProof {
        anchored_lines: anchor.sequence,
        root: hex::encode(anchor.root),
        proof: hex::encode(proof.encode()),
    })
}

/// By what the deletions of a stripe are on chain.
fn committed(told: &Told, stripe: &ToldStripe) -> String {
    match &stripe.proof {
        Some(ToldProof { anchored_lines, root, .. }) => {
            format!("on chain by the commitment to {anchored_lines} lines with root {root}")
        }
        None if told.anchored_lines > Some(told.lines) => format!(
            "on chain by a commitment to lines behind the {} that were read: for the proof name the gateway, which has them, as NODE_ID@HOST:PORT behind \
             the file",
            told.lines
        ),
        None => {
            "not on chain yet, or not as it was committed to: `arion ledger verify` says which".to_owned()
        }
    }
}

fn tell(told: &Told, json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(told);
    }
    let object = &told.receipt.object;
    line!("object    s3://{}/{}, stated {}", object.bucket, object.key, told.receipt.stated);
    match told.ledger == told.receipt.gateway {
        true => line!("ledger    of gateway {}, {} lines", told.ledger, told.lines),
        false => line!(
            "ledger    of gateway {}, {} lines; another gateway signed the receipt: {}",
            told.ledger,
            told.lines,
            told.receipt.gateway
        ),
    }
    match told.anchored_lines {
        Some(lines) => line!("anchored  up to line {lines}"),
        None => line!("anchored  nothing: the gateway has committed to no ledger on chain"),
    }
    for (stripe, number) in told.stripes.iter().zip(1..) {
        let ToldStripe { live, deleted, unknown, .. } = stripe;
        let all = live + deleted + unknown;
        line!("stripe {number:<3} {live} of {all} shards are live");
        if let Some((first, last)) = stripe.deleted_by {
            line!(
                "           {deleted} were deleted by lines {first} to {last}, {}",
                committed(told, stripe)
            );
        }
        if *unknown > 0 {
            line!("           of {unknown} there is no line, or none any more");
        }
    }
    match told.is_kept {
        true => line!("kept      everything that miners signed for"),
        false => line!(
            "NOT KEPT  The object was deleted or replaced, or the gateway moved it to another stripe: then `arion receipt get` has a newer receipt. If \
             not, the receipt and the line of the deletion show that the gateway gave up what it had acknowledged; --json has the proof."
        ),
    }
    Ok(())
}

#[cfg(test)]
#[path = "trace_tests.rs"]
mod tests;
