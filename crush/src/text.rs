//! The map in the text form of Ceph's `crushtool`, so that anyone can check a placement with it.

use core::fmt;

use crate::{Map, select::Item};

/// Displays a [`Map`] as input for `crushtool --compile`.
///
/// Then `crushtool -i MAP --test --rule 0 --num-rep N --min-x 0 --max-x PGS --show-mappings` with N = k + m
/// prints what [`Map::place`] returns; 2147483647 stands for `None`.
#[derive(Clone, Copy, Debug)]
pub struct CrushtoolText<'a>(pub(crate) &'a Map);

impl fmt::Display for CrushtoolText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let map = self.0;
        f.write_str(TUNABLES)?;
        let mut uids: alloc::vec::Vec<_> = map.uids().collect();
        uids.sort_unstable();
        for uid in uids {
            writeln!(f, "device {uid} miner.{uid}")?;
        }
        f.write_str("\ntype 0 miner\ntype 1 family\ntype 2 root\n")?;
        for (family, item) in map.families.iter().zip(&map.root) {
            write!(f, "\n# account ")?;
            family.account.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
            let id = item.id as i32;
            writeln!(f, "\nfamily family{id} {{\n\tid {id}\n\talg straw2\n\thash 0")?;
            for miner in &map.miners[family.first..family.end] {
                writeln!(f, "\titem miner.{} weight {}", miner.id, Weight(miner))?;
            }
            writeln!(f, "}}")?;
        }
        writeln!(f, "\nroot arion {{\n\tid -1\n\talg straw2\n\thash 0")?;
        for item in &map.root {
            writeln!(f, "\titem family{} weight {}", item.id as i32, Weight(item))?;
        }
        writeln!(f, "}}\n\nrule stripes {{\n\tid 0\n\ttype erasure\n\tmin_size 1\n\tmax_size 255")?;
        writeln!(f, "\tstep set_choose_tries {}\n\tstep take arion", map.params.choose_tries)?;
        writeln!(f, "\tstep choose indep {} type family", map.families_per_group())?;
        writeln!(f, "\tstep choose indep {} type miner", map.params.family_shards_max)?;
        writeln!(f, "\tstep emit\n}}")
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

/// A 16.16 weight in decimal, all 16 fractional bits (`crushtool` reads it as a 32-bit float).
struct Weight<'a>(&'a Item);

impl fmt::Display for Weight<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 1 / 2^16 has 16 decimals: 10^16 / 2^16 = 152_587_890_625.
        let fraction = u64::from(self.0.weight & 0xffff) * 152_587_890_625;
        write!(f, "{}.{fraction:016}", self.0.weight >> 16)
    }
}
