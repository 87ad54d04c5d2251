//! What an exhibit shows of its attestation.

use arion_types::{AttestationRecord, AttestationResult, Exhibit, ShardHash, exhibit::ANSWER_BYTES_MAX};

use crate::fault::FaultKind;

/// Numbers of the errors that are a `Failed` (docs/spec/wire.md): `NotFound` and `Damaged`.
const REFUSALS: [u8; 2] = [9, 10];

/// What is known of a verdict beyond its warden's word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shown {
    /// The verdict follows from the answer.
    Shown,
    /// There is nothing to show: no answer came, the miner refused, or the answer was not kept.
    Told,
    /// `InvalidProof`, but the answer does prove the shard: either the miner named another length with it, or the warden
    /// lies.
    Doubtful,
}

/// What the exhibit shows, or why it is not one of this attestation. The seed in the record has to be the right one.
pub fn judge(record: &AttestationRecord, exhibit: &Exhibit) -> Result<Shown, FaultKind> {
    use AttestationResult::{Failed, InvalidProof, Passed};
    let (size, bytes) = match (record.result, exhibit) {
        (_, Exhibit::Absent) => return Ok(Shown::Told),
        (Failed, Exhibit::Refusal { code, .. }) if REFUSALS.contains(code) => {
            let nothing = *blake3::hash(b"").as_bytes() == record.merkle_proof_sig_hash;
            return if nothing { Ok(Shown::Told) } else { Err(FaultKind::Answer) };
        }
        (Passed | InvalidProof, Exhibit::Answer { size, bytes }) if bytes.len() <= ANSWER_BYTES_MAX => {
            (*size, bytes)
        }
        _ => return Err(FaultKind::Exhibit),
    };
    if *blake3::hash(bytes).as_bytes() != record.merkle_proof_sig_hash {
        return Err(FaultKind::Answer);
    }
    let groups = arion_proofs::derive(&record.challenge_seed, size);
    let proven = arion_proofs::verify(&ShardHash(record.shard_hash), size, &groups, bytes).is_ok();
    match (record.result, proven) {
        (Passed, true) | (InvalidProof, false) => Ok(Shown::Shown),
        (Passed, false) => Err(FaultKind::Proof),
        (_, _) => Ok(Shown::Doubtful),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{answer_of, audit};

    #[test]
    fn what_is_shown_follows_from_result_and_answer() {
        use AttestationResult::{Failed, InvalidProof, Passed, Timeout};
        let (passed, exhibit) = audit(1, 120, Passed);
        assert_eq!(judge(&passed, &exhibit), Ok(Shown::Shown));
        for result in [Passed, Failed, Timeout, InvalidProof] {
            assert_eq!(judge(&audit(1, 120, result).0, &Exhibit::Absent), Ok(Shown::Told));
        }
        let (invalid, lie) = audit(1, 120, InvalidProof);
        assert_eq!(judge(&invalid, &lie), Ok(Shown::Shown));
        let (failed, refusal) = audit(1, 120, Failed);
        assert_eq!(judge(&failed, &refusal), Ok(Shown::Told));

        // An answer that proves the shard, called invalid.
        let mut accused = passed.clone();
        accused.result = InvalidProof;
        assert_eq!(judge(&accused, &exhibit), Ok(Shown::Doubtful));
        // A lie, called a pass; another answer; none at all.
        let mut bribed = invalid;
        bribed.result = Passed;
        assert_eq!(judge(&bribed, &lie), Err(FaultKind::Proof));
        assert_eq!(judge(&passed, &lie), Err(FaultKind::Answer));
        assert_eq!(judge(&passed, &refusal), Err(FaultKind::Exhibit));
        assert_eq!(judge(&failed, &exhibit), Err(FaultKind::Exhibit));
        let other = Exhibit::Refusal { size: 1, code: 13 };
        assert_eq!(judge(&failed, &other), Err(FaultKind::Exhibit), "`Busy` is no failure");
        // Another length than the shard's has other groups, or another last group.
        let bytes = answer_of(&exhibit);
        let shorter = Exhibit::Answer { size: 70_000, bytes };
        assert_eq!(judge(&passed, &shorter), Err(FaultKind::Proof));
        let long = Exhibit::Answer { size: 1, bytes: vec![0; ANSWER_BYTES_MAX + 1] };
        assert_eq!(judge(&passed, &long), Err(FaultKind::Exhibit));
    }
}
