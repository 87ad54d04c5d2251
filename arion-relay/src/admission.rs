//! Who may use the relay: the finalised chain says, and the operator may narrow it.

use std::collections::BTreeSet;

use arion_chain::ChainView;
use arion_net::Admission;
use arion_protocol::ErrorCode;
use arion_types::NodeId;

/// Miners of the finalised chain, or those of a list among them, for everybody who has a role there.
pub struct Registered {
    view: ChainView,
    only: BTreeSet<NodeId>,
}

impl Registered {
    /// Serves the miners in `only`; an empty set serves all.
    pub fn new(view: ChainView, only: BTreeSet<NodeId>) -> Self {
        Self { view, only }
    }
}

impl Admission for Registered {
    fn may_attach(&self, node: &NodeId) -> Result<(), ErrorCode> {
        if !self.view.snapshot().registry.miners.contains_key(node) {
            return Err(ErrorCode::NotRegistered);
        }
        let served = self.only.is_empty() || self.only.contains(node);
        served.then_some(()).ok_or(ErrorCode::Unauthorized)
    }

    fn may_reach(&self, node: &NodeId) -> Result<(), ErrorCode> {
        let registered = self.view.snapshot().registry.is_registered(node);
        registered.then_some(()).ok_or(ErrorCode::NotRegistered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arion_chain::{Child, Registry, Snapshot};
    use std::sync::Arc;

    fn node(seed: u8) -> NodeId {
        NodeId([seed; 32])
    }

    fn snapshot(miners: &[u8], gateways: &[u8]) -> Snapshot {
        let child = Child { child: [0; 32], family: [0; 32] };
        let registry = Registry {
            miners: miners.iter().map(|seed| (node(*seed), child)).collect(),
            gateways: gateways.iter().map(|seed| node(*seed)).collect(),
            ..Registry::default()
        };
        Snapshot { registry: Arc::new(registry), ..Snapshot::default() }
    }

    #[test]
    fn miners_attach_everybody_registered_reaches_and_a_deregistered_miner_is_out() {
        let (view, source) = ChainView::manual([0; 32], snapshot(&[1, 2], &[3]));
        let all = Registered::new(view.clone(), BTreeSet::new());
        assert_eq!(all.may_attach(&node(1)), Ok(()));
        assert_eq!(all.may_attach(&node(3)), Err(ErrorCode::NotRegistered));
        for seed in [1, 2, 3] {
            assert_eq!(all.may_reach(&node(seed)), Ok(()));
        }
        assert_eq!(all.may_reach(&node(4)), Err(ErrorCode::NotRegistered));
        let some = Registered::new(view, BTreeSet::from([node(2), node(4)]));
        assert_eq!(some.may_attach(&node(2)), Ok(()));
        assert_eq!(some.may_attach(&node(1)), Err(ErrorCode::Unauthorized));
        assert_eq!(some.may_attach(&node(4)), Err(ErrorCode::NotRegistered));
        source.set(snapshot(&[1], &[3]));
        assert_eq!(some.may_attach(&node(2)), Err(ErrorCode::NotRegistered));
        assert_eq!(all.may_reach(&node(2)), Err(ErrorCode::NotRegistered));
    }
}
