//! Ledgers read from segments that are objects or files: nobody has to be asked for them.

use std::str::FromStr;

use anyhow::bail;
use arion_daemon::Peer;
use arion_ledger::{
    Anchor, Ledger, SegmentFault,
    segment::{self, SEGMENT_BYTES_MAX, SEGMENT_LINES},
};
use arion_net::PeerAddr;
use arion_protocol::LedgerRecord;
use arion_types::{GenesisHash, NodeId};

use super::LINES_MAX;
use crate::command::PublicPlace;

/// A gateway, with its address where it can be asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Whose {
    /// Its key.
    pub node_id: NodeId,
    /// Its QUIC address.
    pub address: Option<PeerAddr>,
}

/// Text that names no gateway.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "`{0}` is not a gateway; write NODE_ID@HOST:PORT with the node id in hex, or NODE_ID alone with --segments or --saved"
)]
pub struct NotAGateway(String);

impl FromStr for Whose {
    type Err = NotAGateway;

    fn from_str(text: &str) -> Result<Self, NotAGateway> {
        let refused = || NotAGateway(text.to_owned());
        if text.contains('@') {
            let peer: Peer = text.parse().map_err(|_| refused())?;
            return Ok(Self { node_id: peer.node_id, address: Some(peer.into()) });
        }
        Ok(Self { node_id: text.trim().parse().map_err(|_| refused())?, address: None })
    }
}

impl Whose {
    /// Its address.
    pub fn address(&self) -> anyhow::Result<&PeerAddr> {
        match &self.address {
            Some(address) => Ok(address),
            None => bail!(
                "say where the ledger is: NODE_ID@HOST:PORT of the gateway, or the place of its segments (--segments)"
            ),
        }
    }
}

/// Where segments are: objects of a bucket, a directory with the same files, or one with those of a single gateway.
#[derive(Clone, Debug)]
pub(super) struct Published {
    /// The place.
    pub place: PublicPlace,
    /// Whose ledger.
    pub gateway: NodeId,
    /// Hash of block 0 of the chain.
    pub genesis: GenesisHash,
}

impl Published {
    fn segment(&self, number: u32) -> anyhow::Result<Option<Vec<u8>>> {
        let is_its_own = match &self.place {
            PublicPlace::Web(_) => false,
            PublicPlace::Files(path) => !path.join(self.gateway.to_string()).is_dir(),
        };
        let name = match is_its_own {
            true => segment::file_name(number),
            false => segment::object_name(&self.gateway, number),
        };
        self.place.object(&name, SEGMENT_BYTES_MAX)
    }

    /// The lines from the first one of this segment on: those of all segments up to the first that is not there, or up to one behind
    /// which there are `lines_max`; none if there is no such segment, or not for everybody.
    pub(super) fn lines(&self, first: u32, lines_max: usize) -> anyhow::Result<Vec<LedgerRecord>> {
        let (mut lines, mut short) = (Vec::new(), None);
        for number in first.. {
            if lines.len() >= lines_max {
                break;
            }
            let Some(bytes) = self.segment(number)? else { break };
            // Only the last one may be short.
            if let Some(short) = short {
                bail!("{}: {}", self.place, SegmentFault::Length(short));
            }
            let read = segment::read(self.genesis, self.gateway, number, &bytes);
            let read = read.map_err(|fault| anyhow::anyhow!("{}: {fault}", self.place))?;
            short = (read.len() < SEGMENT_LINES as usize).then_some(number);
            lines.extend(read);
        }
        match lines.len() {
            more if more > LINES_MAX => bail!("the ledger has more than {LINES_MAX} lines"),
            _ => Ok(lines),
        }
    }

    /// All lines, at least one.
    pub(super) fn all(&self) -> anyhow::Result<Vec<LedgerRecord>> {
        let lines = self.lines(0, LINES_MAX)?;
        if lines.is_empty() {
            let (place, gateway) = (&self.place, &self.gateway);
            bail!("{place} has no segments of gateway {gateway}, or not for everybody");
        }
        Ok(lines)
    }
}

/// Anchors that a ledger has the lines for, and others.
pub(super) fn covered(ledger: &Ledger, anchors: Vec<Anchor>) -> (Vec<Anchor>, Vec<Anchor>) {
    let lines = ledger.lines().len() as u64;
    anchors.into_iter().partition(|anchor| anchor.sequence <= lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::Path};

    use arion_chain::ChainView;
    use arion_ledger::{Fault, ReceiptChecker, verify};
    use arion_types::ShardHash;

    const GENESIS: GenesisHash = [7; 32];
    const GATEWAY: NodeId = NodeId([1; 32]);

    /// Two segments and something behind them.
    fn ledger() -> Ledger {
        let line = |n: u64| {
            let mut shard = [0; 32];
            shard[..8].copy_from_slice(&n.to_le_bytes());
            LedgerRecord::Deleted { shard: ShardHash(shard) }
        };
        Ledger::new(GENESIS, GATEWAY, (1..=8_200).map(line).collect())
    }

    fn write(directory: &Path, names: impl Fn(u32) -> String, segments: &[Vec<u8>]) {
        fs::create_dir_all(directory.join(names(0)).parent().unwrap()).unwrap();
        for (segment, number) in segments.iter().zip(0..) {
            fs::write(directory.join(names(number)), segment).unwrap();
        }
    }

    fn published(directory: &Path) -> Published {
        Published { place: PublicPlace::Files(directory.into()), gateway: GATEWAY, genesis: GENESIS }
    }

    #[test]
    fn a_gateway_is_named_with_or_without_its_address() {
        let id = "11".repeat(32);
        let alone: Whose = id.parse().unwrap();
        assert_eq!(alone, Whose { node_id: NodeId([0x11; 32]), address: None });
        let said = alone.address().unwrap_err().to_string();
        assert!(said.contains("--segments"), "{said}");
        let asked: Whose = format!("{id}@h:1").parse().unwrap();
        assert_eq!((asked.node_id, asked.address().unwrap().endpoint.as_str()), (alone.node_id, "h:1"));
        for bad in ["", "h:1", "@h:1", &id[1..], &format!("{id}@"), &format!("{id}@h")] {
            assert!(bad.parse::<Whose>().unwrap_err().to_string().contains("NODE_ID@HOST:PORT"), "{bad}");
        }
    }

    #[test]
    fn segments_are_read_from_a_copy_of_the_bucket_or_of_one_gateway_up_to_the_first_that_is_missing() {
        let (ledger, root) = (ledger(), tempfile::tempdir().unwrap());
        let segments = ledger.write();
        let names = |number| segment::object_name(&GATEWAY, number);
        let bucket = root.path().join("bucket");
        // Of somebody else, in the same place.
        fs::create_dir_all(bucket.join("22".repeat(32))).unwrap();
        write(&bucket, names, &segments[..2]);
        let of_bucket = published(&bucket);
        assert_eq!(of_bucket.all().unwrap(), ledger.lines()[..8_192]);
        assert_eq!(of_bucket.lines(1, 1).unwrap(), ledger.lines()[4_096..8_192]);
        assert_eq!(of_bucket.lines(0, 4_096).unwrap(), ledger.lines()[..4_096]);
        assert_eq!(of_bucket.lines(2, LINES_MAX).unwrap(), []);
        let own = root.path().join("own");
        write(&own, segment::file_name, &segments);
        assert_eq!(published(&own).all().unwrap(), ledger.lines());

        fs::remove_file(bucket.join(names(0))).unwrap();
        let said = of_bucket.all().unwrap_err().to_string();
        assert!(said.contains("no segments of gateway 0101"), "{said}");
        assert_eq!(of_bucket.lines(1, LINES_MAX).unwrap().len(), 4_096);
        // One that is not full, with another behind it; one in the place of another.
        let short = segment::write(GENESIS, GATEWAY, 0, ledger.lines()[..5].to_vec());
        fs::write(bucket.join(names(0)), short).unwrap();
        let said = of_bucket.all().unwrap_err().to_string();
        assert!(said.contains("segment 0 has a number of lines"), "{said}");
        fs::write(bucket.join(names(0)), &segments[1]).unwrap();
        let said = of_bucket.all().unwrap_err().to_string();
        assert!(said.contains("segment 0 is of another chain, another gateway or another place"), "{said}");
    }

    /// Whatever byte it is, the segment is refused by its name or does not have what was anchored.
    #[test]
    fn a_changed_byte_is_found_without_asking_the_gateway() {
        let (ledger, root) = (ledger(), tempfile::tempdir().unwrap());
        let segments = ledger.write();
        let names = |number| segment::object_name(&GATEWAY, number);
        write(root.path(), names, &segments[..2]);
        let (view, _) = ChainView::manual(GENESIS, Default::default());
        let mut checker = ReceiptChecker::new(view);
        let root_of = |lines: usize, checker: &mut ReceiptChecker| {
            let part = Ledger::new(GENESIS, GATEWAY, ledger.lines()[..lines].to_vec());
            verify(&part, &[], checker).root
        };
        let anchor = |lines: usize, checker: &mut ReceiptChecker| Anchor {
            sequence: lines as u64,
            root: root_of(lines, checker),
            bytes: 0,
        };
        let anchors = [4_000, 8_192, 8_199, 8_200].map(|lines| anchor(lines, &mut checker));
        let faults = |checker: &mut ReceiptChecker| -> anyhow::Result<(usize, Vec<Fault>)> {
            let read = Ledger::new(GENESIS, GATEWAY, published(root.path()).all()?);
            let (anchors, beyond) = covered(&read, anchors.to_vec());
            let findings = verify(&read, &anchors, checker).findings;
            let faults = findings.into_iter().map(|finding| finding.fault);
            Ok((beyond.len(), faults.filter(|fault| matches!(fault, Fault::Root { .. })).collect()))
        };
        assert_eq!(faults(&mut checker).unwrap(), (2, vec![]));
        for at in (0..segments[1].len()).step_by(4_001) {
            let mut changed = segments[1].clone();
            changed[at] ^= 1;
            fs::write(root.path().join(names(1)), changed).unwrap();
            match faults(&mut checker) {
                Ok(found) => assert_eq!(found, (2, vec![Fault::Root { sequence: 8_192 }]), "byte {at}"),
                Err(error) => assert!(error.to_string().contains("segment 1 "), "byte {at}: {error}"),
            }
        }
    }
}
