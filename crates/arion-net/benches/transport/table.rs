//! The table, and how many targets are met.

/// Prints a line at a time.
pub(crate) struct Table {
    met: usize,
    all: usize,
}

impl Table {
    pub(crate) fn new() -> Self {
        println!(
            "{:<46} {:>6} {:<20} {:>9} {:>9} {:>6} {:>7}",
            "what", "unit", "reference", "", "ours", "ratio", "target"
        );
        Self { met: 0, all: 0 }
    }

    fn verdict(&mut self, met: bool) -> &'static str {
        self.all += 1;
        self.met += usize::from(met);
        if met { "met" } else { "MISSED" }
    }

    /// Ours is to be at least `target` times the reference.
    pub(crate) fn ratio(
        &mut self,
        what: &str,
        unit: &str,
        name: &str,
        reference: f64,
        ours: f64,
        target: Option<f64>,
    ) {
        let ratio = ours / reference;
        let verdict = match target {
            Some(target) => format!("{target:>7.1} {}", self.verdict(ratio >= target)),
            None => String::new(),
        };
        println!("{what:<46} {unit:>6} {name:<20} {reference:>9.1} {ours:>9.1} {ratio:>6.2} {verdict}");
    }

    /// Ours is to be at most `limit`.
    pub(crate) fn limit(&mut self, what: &str, unit: &str, limit: f64, ours: f64) {
        let verdict = self.verdict(ours <= limit);
        let ratio = ours / limit;
        println!(
            "{what:<46} {unit:>6} {:<20} {limit:>9.1} {ours:>9.1} {ratio:>6.2} {:>7} {verdict}",
            "limit", "<= 1.0"
        );
    }

    /// Something that is only reported.
    pub(crate) fn figure(&mut self, what: &str, unit: &str, ours: f64) {
        println!("{what:<46} {unit:>6} {:<20} {:>9} {ours:>9.1}", "", "");
    }

    /// Targets that could not be measured here are not met.
    pub(crate) fn unmeasured(&mut self, what: &str, why: &str, targets: usize) {
        self.all += targets;
        println!("{what:<46} {targets} targets NOT MEASURED: {why}");
    }

    pub(crate) fn end(self, name: &str) {
        println!("bench {name}: {} of {} targets met", self.met, self.all);
    }
}
