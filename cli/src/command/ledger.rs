//! `arion ledger`: what a gateway had stored and deleted, and whether that is true.

mod published;
mod read;
mod told;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use arion_chain::{ChainClient, ChainView, LedgerCommitment, ViewConfig};
use arion_ledger::{
    Anchor, Ledger, ReceiptChecker,
    segment::{SEGMENT_LINES, file_name},
    verify, verify_compacted,
};
use arion_protocol::LedgerEntry;
use arion_types::NodeId;

use self::{
    published::{Published, covered},
    read::{LINES_MAX, asked, entries},
    told::{Line, tell, told},
};
use super::{PublicPlace, blocking, print_json};
use crate::settings::Settings;

pub use published::Whose;
pub use read::From;
pub(super) use read::{Found, Read, whole};

/// More maps than the chain keeps.
const EARLIER_MAPS: usize = 4_096;

/// Prints lines behind `after`.
pub async fn ls(
    settings: &Settings,
    whose: Whose,
    segments: Option<PublicPlace>,
    (after, limit): (u64, usize),
    json: bool,
) -> anyhow::Result<ExitCode> {
    let mut lines = Vec::new();
    if let Some(place) = segments {
        let genesis = settings.chain().await?.genesis();
        let first = u32::try_from(after / u64::from(SEGMENT_LINES)).context("no ledger has so many lines")?;
        let skipped = (after % u64::from(SEGMENT_LINES)) as usize;
        let published = Published { place, gateway: whose.node_id, genesis };
        let most = skipped.saturating_add(limit).min(LINES_MAX);
        let found = blocking(move || published.lines(first, most)).await?;
        let found = found.into_iter().skip(skipped).take(limit).zip(after + 1..);
        lines = found.map(|(record, sequence)| LedgerEntry { sequence, record }).collect();
    }
    let is_short = lines.len() < limit;
    if is_short && (whose.address.is_some() || lines.is_empty()) {
        let (reached, left) = (after + lines.len() as u64, limit - lines.len());
        let rest = asked(&whose, async |transport, address| {
            let base = arion_ledger::base(transport, address).await?;
            entries(transport, address, reached, left, base.map_or(0, |base| base.until)).await
        });
        lines.extend(rest.await?);
    }
    let lines: Vec<Line> = lines.iter().map(|entry| Line::new(entry.sequence, &entry.record)).collect();
    if json {
        print_json(&lines)?;
        return Ok(ExitCode::SUCCESS);
    }
    for line in &lines {
        line.print()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Where a ledger to be verified is, and where it is kept.
#[derive(Debug)]
pub struct Files {
    /// Where it is read.
    pub from: From,
    /// Keep the segments here.
    pub save: Option<PathBuf>,
}

/// Verifies the whole ledger against the finalised chain. Exit code 1 where something is found.
pub async fn check(settings: &Settings, whose: Whose, files: &Files, json: bool) -> anyhow::Result<ExitCode> {
    let chain = settings.chain().await?;
    let (genesis, node) = (chain.genesis(), whose.node_id);
    // Before the lines: whatever is committed meanwhile covers lines that were not read.
    let anchors = anchors(&chain, &node).await?;
    let Read { found: ledger, is_partial } = whole(genesis, &whose, &files.from).await?;
    match (&files.save, &ledger) {
        (Some(directory), Found::Whole(ledger)) => write_segments(directory, ledger)?,
        (Some(_), Found::Compacted(ledger)) => bail!(
            "the ledger was compacted: of the lines up to {} the gateway has only those that were kept, and segments have all of theirs; \
             verify it without --save, or from where its segments are (--segments), or get them from somebody who kept them (--saved)",
            ledger.until()
        ),
        (None, _) => {}
    }
    let (anchors, unchecked) = match &ledger {
        Found::Whole(ledger) if is_partial => covered(ledger, anchors),
        _ => (anchors, Vec::new()),
    };
    let config = ViewConfig { earlier_maps: EARLIER_MAPS, ..ViewConfig::default() };
    let mut checker = ReceiptChecker::new(ChainView::start(chain, config).await?);
    let report = match &ledger {
        Found::Whole(ledger) => verify(ledger, &anchors, &mut checker),
        Found::Compacted(ledger) => verify_compacted(ledger, &anchors, &mut checker),
    };
    tell(&told(&ledger, &report, (&anchors, &unchecked), json), json)?;
    Ok(ExitCode::from(u8::from(report.found > 0)))
}

/// What the chain has of a ledger.
pub(super) async fn anchors(chain: &ChainClient, gateway: &NodeId) -> anyhow::Result<Vec<Anchor>> {
    let commitments = chain.ledger_commitments(gateway).await?;
    let anchor = |found: &LedgerCommitment| Anchor::of_commitment(found.sequence, found.root, found.bytes);
    Ok(commitments.iter().map(anchor).collect())
}

fn write_segments(directory: &Path, ledger: &Ledger) -> anyhow::Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    for (segment, number) in ledger.write().into_iter().zip(0..) {
        let file = directory.join(file_name(number));
        fs::write(&file, segment).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{
        read::tests::{GATEWAY, record},
        told::PRINTED_MAX,
        *,
    };

    use codec::Decode;

    #[test]
    fn findings_come_with_a_proof_and_segments_are_kept_and_read() {
        let ledger = Ledger::new([7; 32], GATEWAY, (1..=5_000).map(record).collect());
        let (view, _) = ChainView::manual([7; 32], Default::default());
        let report = verify(&ledger, &[], &mut ReceiptChecker::new(view));
        let told = told(&Found::Whole(ledger.clone()), &report, (&[], &[]), true);
        assert_eq!((told.found, told.findings.len(), told.anchored_lines), (5_000, PRINTED_MAX, None));
        let proof = hex::decode(told.findings[7].proof.as_ref().unwrap()).unwrap();
        let proof = arion_ledger::LineProof::decode(&mut &proof[..]).unwrap();
        assert!(proof.holds(&[7; 32], &GATEWAY, &report.root) && proof.sequence == 8);
        let directory = tempfile::tempdir().unwrap();
        let kept = directory.path().join("ledger");
        let published =
            |genesis| Published { place: PublicPlace::Files(kept.clone()), gateway: GATEWAY, genesis };
        assert!(published([7; 32]).all().is_err());
        write_segments(&kept, &ledger).unwrap();
        assert_eq!(published([7; 32]).all().unwrap(), ledger.lines());
        let said = published([8; 32]).all().unwrap_err().to_string();
        assert!(said.contains("segment 0 is of another chain"), "{said}");
    }
}
