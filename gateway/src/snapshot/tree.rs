//! The tree over the chunks: lists of chunks, cut like the chunks themselves, up to one node.

use codec::{Decode, Encode};

use super::{
    cut::{Cutter, Sizes},
    node::{LEVEL_MAX, NodeRef, Plain},
    row::cut_number,
};

/// Stores nodes, or knows where they are already.
pub trait NodeStore {
    /// Why it does not.
    type Error;

    /// Where the node is from now on, and what opens it.
    fn put(&mut self, node: Plain) -> impl Future<Output = Result<NodeRef, Self::Error>> + Send;
}

/// Builds the levels above the rows as these come.
pub struct Tree<S> {
    store: S,
    sizes: Sizes,
    /// Level 1 and those above it.
    lists: Vec<Cutter>,
}

impl<S: NodeStore> Tree<S> {
    /// Without nodes.
    pub fn new(store: S, sizes: Sizes) -> Self {
        Self { store, sizes, lists: Vec::new() }
    }

    /// Takes the next chunk of rows.
    pub async fn push(&mut self, chunk: Plain) -> Result<(), S::Error> {
        self.rise(chunk).await
    }

    async fn rise(&mut self, node: Plain) -> Result<(), S::Error> {
        let mut waiting = vec![node];
        while let Some(node) = waiting.pop() {
            let (level, number, is_fresh) = (node.level, cut_number(&[&node.id()]), node.is_fresh);
            let reference = self.store.put(node).await?;
            let at = usize::from(level);
            if self.lists.len() <= at {
                self.lists.push(Cutter::new(level + 1, self.sizes));
            }
            let complete = self.lists[at].push(&reference.encode(), number, reference.rows, is_fresh);
            // The first of them is the first in the list above.
            waiting.extend(complete.into_iter().rev());
        }
        Ok(())
    }

    /// Closes all lists; the node above all others, and the store. `None` if there was not a single chunk, or more than any
    /// number of levels holds.
    pub async fn finish(mut self) -> Result<Option<(NodeRef, S)>, S::Error> {
        for at in 0..usize::from(LEVEL_MAX) {
            let Some(list) = self.lists.get_mut(at) else { return Ok(None) };
            if let Some(mut only) = list.only() {
                return Ok(NodeRef::decode(&mut only).ok().map(|top| (top, self.store)));
            }
            if let Some(rest) = list.rest() {
                self.rise(rest).await?;
            }
        }
        Ok(None)
    }
}
