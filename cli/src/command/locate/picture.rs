//! The picture that `arion locate` draws: a row for each family, a column for each stripe.

use std::collections::{BTreeMap, BTreeSet};

use arion_chain::{EpochMap, ss58};

use super::{Located, Shard, verdict};

/// Stripes drawn; of the others only the numbers are told.
const COLUMNS_MAX: usize = 16;
/// Rows drawn.
const ROWS_MAX: usize = 200;
/// Characters of a family's address shown.
const ADDRESS_CHARS: usize = 8;
/// Miners of a family shown by number.
const MINERS_SHOWN: usize = 4;

/// Which family a miner belongs to.
#[derive(Default)]
pub(super) struct Families(BTreeMap<u32, String>);

impl Families {
    /// Takes note of a map.
    pub(super) fn learn(&mut self, map: &EpochMap) {
        self.0.extend(map.miners.iter().map(|miner| (miner.uid, ss58(&miner.family))));
    }

    fn of(&self, shard: &Shard) -> String {
        match shard.uid {
            None => "nobody".to_owned(),
            Some(uid) => self.0.get(&uid).cloned().unwrap_or_else(|| format!("miner {uid}")),
        }
    }
}

/// What a family holds.
#[derive(Default)]
struct Row {
    miners: BTreeSet<u32>,
    /// By stripe.
    cells: BTreeMap<usize, String>,
    shards: usize,
}

/// A shard in one character: data, parity, or not durable yet.
fn symbol(shard: &Shard, data_shards: u8) -> char {
    match (shard.durable, shard.index < data_shards) {
        (Some(false), _) => '?',
        (_, true) => 'D',
        (_, false) => 'P',
    }
}

/// How many families, the largest holders first, can be lost before a stripe cannot be read any more; the least of all
/// stripes. `None` without stripes.
fn families_to_spare(located: &Located, families: &Families) -> Option<usize> {
    let spare = located.stripes.iter().map(|stripe| {
        let mut held: BTreeMap<String, usize> = BTreeMap::new();
        let there = stripe.shards.iter().filter(|shard| shard.uid.is_some() && shard.durable != Some(false));
        there.for_each(|shard| *held.entry(families.of(shard)).or_default() += 1);
        let mut held: Vec<usize> = held.into_values().collect();
        held.sort_unstable_by(|a, b| b.cmp(a));
        let mut left: usize = held.iter().sum();
        held.into_iter()
            .take_while(|shards| {
                left = left.saturating_sub(*shards);
                left >= usize::from(stripe.data_shards)
            })
            .count()
    });
    spare.min()
}

/// The lines of the picture.
pub(super) fn draw(located: &Located, verified: &[Option<bool>], families: &Families) -> Vec<String> {
    let stripes = &located.stripes;
    let mut lines = vec![format!("{} bytes in {} stripes", located.size, stripes.len())];
    let Some(first) = stripes.first() else { return lines };
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for (column, stripe) in stripes.iter().enumerate() {
        for shard in &stripe.shards {
            let row = rows.entry(families.of(shard)).or_default();
            row.miners.extend(shard.uid);
            row.shards += 1;
            if column < COLUMNS_MAX {
                row.cells.entry(column).or_default().push(symbol(shard, stripe.data_shards));
            }
        }
    }
    let columns = stripes.len().min(COLUMNS_MAX);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = rows.values().filter_map(|row| row.cells.get(&column)).map(String::len);
            cells.max().unwrap_or(0).max(column.to_string().len())
        })
        .collect();
    let line = |name: &str, miners: &str, shards: &str, cells: &mut dyn Iterator<Item = String>| {
        let cells: Vec<String> =
            cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}", width = *width)).collect();
        format!("{name:<10} {miners:<16} {shards:>6}  {}", cells.join(" ")).trim_end().to_owned()
    };
    lines.push(line("family", "miners", "shards", &mut (0..columns).map(|column| column.to_string())));
    let hidden = rows.len().saturating_sub(ROWS_MAX);
    for (name, row) in rows.iter().take(ROWS_MAX) {
        let short: String = name.chars().take(ADDRESS_CHARS).collect();
        let short = if name.len() > ADDRESS_CHARS + 4 { format!("{short}..") } else { name.clone() };
        let mut miners: Vec<String> = row.miners.iter().take(MINERS_SHOWN).map(u32::to_string).collect();
        if row.miners.len() > MINERS_SHOWN {
            miners.push("..".to_owned());
        }
        let mut cells =
            (0..columns).map(|column| row.cells.get(&column).cloned().unwrap_or_else(|| ".".to_owned()));
        lines.push(line(&short, &miners.join(" "), &row.shards.to_string(), &mut cells));
    }
    if hidden > 0 {
        lines.push(format!("and {hidden} more families"));
    }
    if stripes.len() > columns {
        lines.push(format!("the first {columns} of {} stripes are drawn", stripes.len()));
    }
    lines.push("D data, P parity, ? not durable yet, . none".to_owned());
    let spare = families_to_spare(located, families).unwrap_or(0);
    lines.push(format!(
        "any {} of the {} shards of a stripe rebuild it; any {spare} families can be lost at once",
        first.data_shards,
        first.shards.len()
    ));
    for wanted in [Some(true), Some(false), None] {
        let count = verified.iter().filter(|verified| **verified == wanted).count();
        if count > 0 {
            lines.push(format!("{count} of {} stripes: {}", stripes.len(), verdict(wanted)));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    fn located(stripes: usize, not_durable: Option<u8>) -> Located {
        let stripe = |_| {
            let shards: Vec<_> = (0..30u8)
                .map(|index| {
                    serde_json::json!({
                        "index": index, "hash": "11".repeat(32), "uid": u32::from(index), "node_id": null,
                        "endpoint": null, "durable": Some(index) != not_durable
                    })
                })
                .collect();
            serde_json::json!({ "stripe": "", "epoch": 1, "pg": 1, "len": 10, "shard_len": 1, "data_shards": 10,
                "shards": shards })
        };
        let answer =
            serde_json::json!({ "size": 10, "stripes": (0..stripes).map(stripe).collect::<Vec<_>>() });
        Located::deserialize(&answer).unwrap()
    }

    fn families() -> Families {
        Families((0..30).map(|uid| (uid, format!("family-{:02}-of-fifteen", uid / 2))).collect())
    }

    #[test]
    fn each_family_has_a_row_and_each_stripe_a_column() {
        let lines = draw(&located(2, Some(4)), &[Some(true), None], &families());
        let text = lines.join("\n");
        assert_eq!(lines[1], "family     miners           shards  0  1");
        assert_eq!(lines[2], "family-0.. 0 1                   4  DD DD");
        assert_eq!(lines[4], "family-0.. 4 5                   4  ?D ?D");
        assert_eq!(lines[16], "family-1.. 28 29                 4  PP PP");
        // 29 shards are there, two in a family: nine families take 18 and leave 11.
        assert!(text.contains("any 10 of the 30 shards of a stripe rebuild it; any 9 families"), "{text}");
        assert!(text.contains("1 of 2 stripes: as the finalised map places it"), "{text}");
        assert!(text.contains("1 of 2 stripes: the chain keeps no map of that epoch"), "{text}");
    }

    #[test]
    fn large_objects_are_drawn_in_part_and_empty_ones_not_at_all() {
        let text = draw(&located(40, None), &[Some(true); 40], &families()).join("\n");
        assert!(
            text.contains("the first 16 of 40 stripes are drawn") && text.contains("any 10 families"),
            "{text}"
        );
        assert_eq!(draw(&located(0, None), &[], &families()), ["10 bytes in 0 stripes"]);
    }

    #[test]
    fn miners_without_a_known_family_stand_for_themselves() {
        let text = draw(&located(1, None), &[None], &Families::default()).join("\n");
        assert!(text.contains("miner 29   29                    1  P"), "{text}");
    }
}
