//! `arion audit report-conflict`: shows the chain that a warden signed two verdicts on one challenge.

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context, bail};
use arion_chain::{Account, Call, Wait, ss58};
use arion_daemon::line;
use arion_types::{AttestationRecord, GenesisHash, NodeId};
use codec::DecodeAll;
use serde_json::json;

use crate::{command::print_json, settings::Settings};

/// Longest file that is read.
const FILE_BYTES_MAX: u64 = 4_096;

/// Checks both attestations as the chain will, and submits them.
pub(super) async fn report_conflict(
    settings: &Settings,
    first: &Path,
    second: &Path,
    account: &Path,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let (first, second) = (read(first)?, read(second)?);
    let account = Account::from_file(account)?;
    let chain = settings.chain().await?;
    check(&first, &second, &chain.genesis())?;
    let call = Call::report_conflicting_attestations(&first, &second);
    let outcome = chain.submit(&account, &call, Wait::Finalized).await?;
    let warden = NodeId(first.warden_pubkey);
    if json {
        print_json(&json!({
            "warden": warden.to_string(),
            "block": outcome.block.number,
            "reporter": ss58(&account.id()),
        }))?;
    } else {
        line!("warden {warden} is deregistered since block {}", outcome.block.number);
    }
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> anyhow::Result<AttestationRecord> {
    let length = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
    let bytes = match length <= FILE_BYTES_MAX {
        true => fs::read(path).with_context(|| format!("cannot read {}", path.display()))?,
        false => bail!("{} is too long for an attestation", path.display()),
    };
    AttestationRecord::decode_all(&mut bytes.as_slice()).with_context(|| {
        format!("{} is no attestation: the SCALE encoding of one record is needed", path.display())
    })
}

/// What the chain would refuse costs a fee there.
fn check(first: &AttestationRecord, second: &AttestationRecord, genesis: &GenesisHash) -> anyhow::Result<()> {
    if first.warden_pubkey != second.warden_pubkey {
        bail!("the attestations are of different wardens, who may disagree");
    }
    if first.challenge() != second.challenge() {
        bail!("the attestations are about different challenges: shard, miner and block must be the same");
    }
    if first.result == second.result {
        bail!("both attestations say {:?}: they do not contradict each other", first.result);
    }
    for (name, record) in [("first", first), ("second", second)] {
        if !record.verify(genesis) {
            bail!("the signature of the {name} attestation does not verify for this chain");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arion_types::AttestationResult;
    use codec::Encode;
    use ed25519_dalek::SigningKey;

    const GENESIS: GenesisHash = [7; 32];

    fn record(result: AttestationResult, block_number: u64, key: u8) -> AttestationRecord {
        let mut record = AttestationRecord {
            shard_hash: [1; 32],
            miner_uid: 1,
            result,
            challenge_seed: [0; 32],
            block_number,
            timestamp: 0,
            warden_pubkey: [0; 32],
            signature: [0; 64],
            merkle_proof_sig_hash: [0; 32],
            warden_id: Default::default(),
        };
        record.sign(&GENESIS, &SigningKey::from_bytes(&[key; 32]));
        record
    }

    #[test]
    fn only_contradictions_leave() {
        use AttestationResult::{Failed, Passed};
        let passed = record(Passed, 5, 1);
        assert!(check(&passed, &record(Failed, 5, 1), &GENESIS).is_ok());
        let said = |second: &AttestationRecord| check(&passed, second, &GENESIS).unwrap_err().to_string();
        assert!(said(&record(Failed, 5, 2)).contains("different wardens"));
        assert!(said(&record(Failed, 6, 1)).contains("different challenges"));
        assert!(said(&passed).contains("both attestations say Passed"));
        let forged = AttestationRecord { result: Failed, ..passed.clone() };
        assert!(said(&forged).contains("signature of the second"));
    }

    #[test]
    fn files_are_single_records() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let record = record(AttestationResult::Passed, 5, 1);
        fs::write(&path, record.encode()).unwrap();
        assert_eq!(read(&path).unwrap(), record);
        fs::write(&path, [record.encode(), vec![0]].concat()).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("no attestation"));
        fs::write(&path, vec![0; 5_000]).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("too long"));
        assert!(read(Path::new("/nowhere")).is_err());
    }
}
