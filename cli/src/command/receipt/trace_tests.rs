use arion_chain::ChainView;
use arion_ledger::{Ledger, LineProof, ReceiptChecker, verify};
use arion_protocol::LedgerRecord;
use arion_types::NodeId;
use codec::Decode;

use super::{
    super::tests::{GENESIS, map, placed},
    *,
};

const GATEWAY: NodeId = NodeId([9; 32]);

fn root(ledger: &Ledger) -> [u8; 32] {
    let (view, _) = ChainView::manual(GENESIS, Default::default());
    verify(ledger, &[], &mut ReceiptChecker::new(view)).root
}

fn anchor(lines: u64, root: [u8; 32]) -> Anchor {
    Anchor { sequence: lines, ..Anchor::of_commitment(0, root, 0) }
}

#[test]
fn what_was_deleted_is_found_with_the_line_that_the_gateway_committed_to() {
    let proven = placed(&map(1, 2));
    let whose = Whose { node_id: GATEWAY, address: None };
    let told = |lines: &[LedgerRecord], anchors: &[Anchor]| {
        let ledger = Found::Whole(Ledger::new(GENESIS, GATEWAY, lines.to_vec()));
        told(&proven, &whose, &ledger, anchors)
    };
    let signed = &proven.receipts[0];
    let mut lines: Vec<_> = signed.iter().map(|signed| LedgerRecord::Stored(*signed)).collect();
    let kept = told(&lines, &[]);
    assert!(kept.is_kept && kept.stripes.len() == 1 && kept.stripes[0].live == 30);
    assert_eq!((kept.lines, kept.anchored_lines), (30, None));

    let missing = told(&lines[1..], &[]);
    assert!(!missing.is_kept);
    assert_eq!((missing.stripes[0].unknown, missing.stripes[0].deleted_by), (1, None));

    for signed in &signed[..3] {
        lines.push(LedgerRecord::Deleted { shard: signed.receipt.shard });
    }
    let ledger = |lines: &[LedgerRecord]| Ledger::new(GENESIS, GATEWAY, lines.to_vec());
    let (short, all) = (root(&ledger(&lines[..30])), root(&ledger(&lines)));
    let gone = told(&lines, &[anchor(30, short), anchor(33, all)]);
    let stripe = &gone.stripes[0];
    assert!(!gone.is_kept);
    assert_eq!((stripe.live, stripe.deleted, stripe.deleted_by), (27, 3, Some((31, 33))));
    let shown = stripe.proof.as_ref().unwrap();
    let proof = LineProof::decode(&mut &hex::decode(&shown.proof).unwrap()[..]).unwrap();
    assert!(proof.holds(&GENESIS, &GATEWAY, &all));
    assert_eq!((proof.sequence, proof.record), (31, lines[30]));
    assert_eq!((shown.anchored_lines, &shown.root), (33, &hex::encode(all)));
    // Committed to less, or to something else: nothing is shown.
    let (less, behind) = ("not on chain yet", "behind the 33 that were read");
    for (anchored, said) in [(anchor(30, short), less), (anchor(33, short), less), (anchor(40, all), behind)]
    {
        let gone = told(&lines, &[anchored]);
        assert!(gone.stripes[0].proof.is_none() && gone.stripes[0].deleted == 3, "{anchored:?}");
        assert!(committed(&gone, &gone.stripes[0]).contains(said), "{anchored:?}");
    }
}
