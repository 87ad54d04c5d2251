//! The map in the text form of Ceph's `crushtool`, so that anyone can check a placement with it.

use core::fmt;

use crate::{
    Family, Hierarchy,
    hierarchy::{Level, Node},
    rule::Step,
};

/// Displays a [`crate::Map`] or [`Hierarchy`] as input for `crushtool --compile`.
///
/// Then `crushtool -i MAP --test --rule 0 --num-rep N --min-x 0 --max-x X --show-mappings` prints what
/// [`Hierarchy::place`] returns for N positions; 2147483647 stands for `None`. Upmaps and reweights are no part of a
/// crush map: reweights go to `crushtool` as `--weight UID REWEIGHT / 65536`.
#[derive(Clone, Copy, Debug)]
pub struct CrushtoolText<'a> {
    pub(crate) tree: &'a Hierarchy,
    /// Accounts of family buckets, as comments.
    pub(crate) families: &'a [Family],
}

impl Hierarchy {
    /// The tree and its rule in the text form of Ceph's `crushtool`.
    pub fn crushtool_text(&self) -> CrushtoolText<'_> {
        CrushtoolText { tree: self, families: &[] }
    }
}

impl fmt::Display for CrushtoolText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tree = self.tree;
        f.write_str(TUNABLES)?;
        let mut uids: alloc::vec::Vec<_> = tree.target.iter().filter_map(|target| target.miner()).collect();
        uids.sort_unstable();
        for uid in uids {
            writeln!(f, "device {uid} miner.{uid}")?;
        }
        writeln!(f)?;
        for level in [Level::Miner, Level::Family, Level::Region, Level::Root] {
            writeln!(f, "type {} {}", level as u8, level.name())?;
        }
        // A bucket has to come before those that hold it.
        for level in [Level::Family, Level::Region, Level::Root] {
            tree.nodes.iter().filter(|node| node.level == level).try_for_each(|node| self.bucket(f, node))?;
        }
        writeln!(f, "\nrule stripes {{\n\tid 0\n\ttype erasure\n\tmin_size 1\n\tmax_size 255")?;
        for step in &tree.program.steps {
            match *step {
                Step::SetChooseTries(tries) => writeln!(f, "\tstep set_choose_tries {tries}")?,
                Step::SetChooseleafTries(tries) => writeln!(f, "\tstep set_chooseleaf_tries {tries}")?,
                Step::Take(id) => match tree.node(id) {
                    Some(node) => writeln!(f, "\tstep take {}", Name(node))?,
                    None => return Err(fmt::Error),
                },
                Step::ChooseIndep { count, level } => {
                    writeln!(f, "\tstep choose indep {count} type {}", level.name())?;
                }
                Step::ChooseleafIndep { count, level } => {
                    writeln!(f, "\tstep chooseleaf indep {count} type {}", level.name())?;
                }
                Step::Emit => writeln!(f, "\tstep emit")?,
            }
        }
        writeln!(f, "}}")
    }
}

impl CrushtoolText<'_> {
    fn bucket(&self, f: &mut fmt::Formatter<'_>, node: &Node) -> fmt::Result {
        writeln!(f)?;
        if let Some(family) = self.families.iter().find(|family| family.bucket == node.id) {
            write!(f, "# account ")?;
            family.account.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
            writeln!(f)?;
        }
        writeln!(f, "{} {} {{\n\tid {}\n\talg straw2\n\thash 0", node.level.name(), Name(node), node.id)?;
        for at in node.bucket.first..node.bucket.first + node.bucket.len {
            let (target, weight) = (self.tree.target[at], Weight(self.tree.items.weight[at]));
            match target.node().and_then(|inner| self.tree.nodes.get(inner)) {
                Some(inner) => writeln!(f, "\titem {} weight {weight}", Name(inner))?,
                None => writeln!(f, "\titem miner.{} weight {weight}", self.tree.items.id[at])?,
            }
        }
        writeln!(f, "}}")
    }
}

const TUNABLES: &str = "\
tunable choose_local_tries 0
tunable choose_local_fallback_tries 0
tunable choose_total_tries 50
tunable chooseleaf_descend_once 1
tunable chooseleaf_vary_r 1
tunable chooseleaf_stable 1
tunable straw_calc_version 1
tunable allowed_bucket_algs 54

";

/// Name of a bucket: its level and id.
struct Name<'a>(&'a Node);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.0.level.name(), self.0.id)
    }
}

/// A 16.16 weight in decimal, all 16 fractional bits (`crushtool` reads it as a 32-bit float).
struct Weight(u32);

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 1 / 2^16 has 16 decimals: 10^16 / 2^16 = 152_587_890_625.
        let fraction = u64::from(self.0 & 0xffff) * 152_587_890_625;
        write!(f, "{}.{fraction:016}", self.0 >> 16)
    }
}
