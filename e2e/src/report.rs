//! The report of a story: what was asked, what was observed, what held.

use crate::progress::show;

/// Counts the checks of a story and prints them as they come.
#[derive(Debug)]
pub struct Report {
    story: String,
    passed: u32,
    failed: u32,
}

impl Report {
    /// An empty report of the story of that name.
    pub fn new(story: &str) -> Self {
        Self { story: story.to_owned(), passed: 0, failed: 0 }
    }

    /// Begins a step.
    pub fn step(&self, number: u32, asked: &str) {
        show(&format!("\n== step {number}: {asked}\n"));
    }

    /// Prints something that was seen.
    pub fn observed(&self, text: impl AsRef<str>) {
        for line in text.as_ref().lines() {
            show(&format!("   {line}\n"));
        }
    }

    /// Records whether `what` holds.
    pub fn check(&mut self, what: impl AsRef<str>, holds: bool) {
        if holds {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
        show(&format!("   {} {}\n", if holds { "PASS" } else { "FAIL" }, what.as_ref()));
    }

    /// Records that `what` could not be found out, which is a failure.
    pub fn error(&mut self, what: impl AsRef<str>, error: &anyhow::Error) {
        self.check(format!("{}: {error:#}", what.as_ref()), false);
    }

    /// Records a check whose value comes out of something that may fail.
    pub fn check_result(&mut self, what: impl AsRef<str>, result: anyhow::Result<bool>) {
        match result {
            Ok(holds) => self.check(what, holds),
            Err(error) => self.error(what, &error),
        }
    }

    /// How many checks failed so far.
    pub fn failed(&self) -> u32 {
        self.failed
    }

    /// The last line of every story.
    pub fn summary(&self) -> String {
        format!("{}: {} passed, {} failed", self.story, self.passed, self.failed)
    }

    /// Whether the story may end with exit code 0: something was checked and nothing failed.
    pub fn holds(&self) -> bool {
        self.failed == 0 && self.passed > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_without_checks_does_not_hold() {
        let mut report = Report::new("demo");
        assert!(!report.holds());
        report.check("one", true);
        assert!(report.holds());
        report.error("two", &anyhow::anyhow!("no answer"));
        assert!(!report.holds());
        assert_eq!(report.summary(), "demo: 1 passed, 1 failed");
    }
}
