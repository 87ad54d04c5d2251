//! The picture of a run: answers per second, and which faults there were meanwhile; and the same by fault as a table.

use std::{collections::BTreeMap, fmt::Write};

use super::load::Second;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 110.0;
const GRAPH: f64 = 180.0;
const TOP: f64 = 48.0;
const LANE: f64 = 16.0;
/// Pixels that a fault has at least, so that it is seen.
const BAR_MIN: f64 = 2.0;

struct Bar {
    kind: &'static str,
    from: f64,
    to: f64,
}

/// Collects what happened.
pub(super) struct Picture {
    seed: u64,
    seconds: BTreeMap<u64, Second>,
    bars: Vec<Bar>,
}

impl Picture {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, seconds: BTreeMap::new(), bars: Vec::new() }
    }

    pub(super) fn second(&mut self, second: Second) {
        self.seconds.insert(second.second, second);
    }

    /// A fault that is over, in seconds of the run.
    pub(super) fn fault(&mut self, kind: &'static str, from: f64, to: f64) {
        self.bars.push(Bar { kind, from, to });
    }

    pub(super) fn faults(&self) -> usize {
        self.bars.len()
    }

    fn kinds(&self) -> Vec<&'static str> {
        let mut kinds: Vec<_> = self.bars.iter().map(|bar| bar.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }

    /// Answers while a fault of each kind was under way, others possibly beside it, and while there was none.
    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, count: usize, seconds: &[&Second]| {
            let (ok, failed) =
                seconds.iter().fold((0, 0), |(ok, failed), second| (ok + second.ok, failed + second.failed));
            let share = 100.0 * ok as f64 / (ok + failed).max(1) as f64;
            let slowest = seconds.iter().map(|second| second.slowest).fold(0.0, f64::max);
            let _ = writeln!(
                text,
                "{name:<16} {count:>4} times {:>6} s {ok:>7} answered {failed:>6} failed {share:>6.2} % slowest {slowest:.1} s",
                seconds.len()
            );
        };
        let during = |bar: &Bar, second: u64| second as f64 + 1.0 > bar.from && (second as f64) < bar.to;
        for kind in self.kinds() {
            let bars: Vec<&Bar> = self.bars.iter().filter(|bar| bar.kind == kind).collect();
            let seconds: Vec<&Second> =
                self.seconds.values().filter(|at| bars.iter().any(|bar| during(bar, at.second))).collect();
            line(kind, bars.len(), &seconds);
        }
        let calm: Vec<&Second> =
            self.seconds.values().filter(|at| !self.bars.iter().any(|bar| during(bar, at.second))).collect();
        line("no fault", 0, &calm);
        line("all", self.bars.len(), &self.seconds.values().collect::<Vec<_>>());
        text
    }

    /// Stacked columns (answered, failed) over lanes of faults.
    pub(super) fn svg(&self) -> String {
        let kinds = self.kinds();
        let length = self.seconds.keys().next_back().map_or(1, |last| last + 1) as f64;
        let scale = (WIDTH - LEFT - 10.0) / length;
        let most = self.seconds.values().map(|at| at.ok + at.failed).max().unwrap_or(1).max(1) as f64;
        let bottom = TOP + GRAPH;
        let height = bottom + 30.0 + LANE * kinds.len() as f64 + 30.0;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
             <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n\
             <text x=\"10\" y=\"18\" font-size=\"14\">S3 answers per second under faults, seed {}</text>\n\
             <rect x=\"{LEFT}\" y=\"26\" width=\"10\" height=\"10\" fill=\"#2a7f62\"/><text x=\"{}\" y=\"35\">answered</text>\n\
             <rect x=\"{}\" y=\"26\" width=\"10\" height=\"10\" fill=\"#c8442f\"/><text x=\"{}\" y=\"35\">failed, or no answer</text>\n",
            self.seed,
            LEFT + 14.0,
            LEFT + 90.0,
            LEFT + 104.0
        );
        for (at, label) in [(bottom, 0.0), (TOP, most)] {
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{label}/s</text>",
                LEFT - 6.0,
                at + 4.0
            );
        }
        let column = scale.max(0.3);
        for at in self.seconds.values() {
            let x = LEFT + at.second as f64 * scale;
            let (ok, failed) = (at.ok as f64 / most * GRAPH, at.failed as f64 / most * GRAPH);
            for (height, y, fill) in [(ok, bottom - ok, "#2a7f62"), (failed, bottom - ok - failed, "#c8442f")]
            {
                if height > 0.0 {
                    let _ = writeln!(
                        svg,
                        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{column:.2}\" height=\"{height:.1}\" fill=\"{fill}\"/>"
                    );
                }
            }
        }
        let minutes = (length / 60.0).ceil() as u64;
        let step = minutes.div_ceil(12).max(1);
        for minute in (0..=minutes).step_by(usize::try_from(step).unwrap_or(1)) {
            let x = LEFT + minute as f64 * 60.0 * scale;
            if x <= WIDTH - 10.0 {
                let _ = writeln!(
                    svg,
                    "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{minute} min</text>",
                    bottom + 16.0
                );
            }
        }
        for (lane, kind) in kinds.iter().enumerate() {
            let y = bottom + 28.0 + LANE * lane as f64;
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{kind}</text>",
                LEFT - 6.0,
                y + 10.0
            );
            for bar in self.bars.iter().filter(|bar| bar.kind == *kind) {
                let (from, to) = (LEFT + bar.from * scale, LEFT + bar.to.min(length) * scale);
                let width = (to - from).max(BAR_MIN);
                let _ = writeln!(
                    svg,
                    "<rect x=\"{from:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{}\" fill=\"#3b5b92\"/>",
                    y + 1.0,
                    LANE - 4.0
                );
            }
        }
        svg.push_str("</svg>\n");
        svg
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_counted_by_fault_and_drawn() {
        let mut picture = Picture::new(7);
        for second in 0..100 {
            let failed = u64::from((10..20).contains(&second)) * 3;
            picture.second(Second { second, ok: 9, failed, slowest: 0.5 });
        }
        picture.fault("kill", 10.2, 19.9);
        picture.fault("pause", 50.0, 50.5);
        let table = picture.table();
        let line = |name: &str| table.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        assert!(line("kill").contains("10 s") && line("kill").contains(" 30 failed  75.00 %"), "{table}");
        assert!(line("pause").contains("0 failed 100.00 %"), "{table}");
        assert!(line("no fault").contains("89 s"), "{table}");
        let svg = picture.svg();
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && svg.matches("<rect").count() > 110);
    }

    #[test]
    fn a_run_without_a_second_is_drawn() {
        assert!(Picture::new(1).svg().contains("seed 1"));
    }
}
