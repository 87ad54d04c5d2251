//! What was run, line by line: so that a long run can be stopped and gone on with, or be made on several machines.
//!
//! A line is `held` or `FAILED`, the scenario, the seed, the milliseconds that it took, the program that ran it; then the counts of a run that
//! held, or what did not hold.
//!
//! # Invariants
//! - A line that was cut off is as good as none.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::Path,
};

use anyhow::Context;

/// A run that is done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    pub scenario: String,
    pub seed: u64,
    /// Simulated seconds, events, acknowledged changes, reads, epochs; or what did not hold.
    pub outcome: Result<[u64; 5], String>,
    pub took_ms: u64,
    /// The first digits of the hash of the program: another one may do something else.
    pub program: String,
}

/// What this program is known by.
pub fn program() -> anyhow::Result<String> {
    let bytes = fs::read(std::env::current_exe()?).context("this program cannot be read")?;
    Ok(blake3::hash(&bytes).to_hex()[..16].to_owned())
}

impl Line {
    fn text(&self) -> String {
        let Self { scenario, seed, outcome, took_ms, program } = self;
        let (word, rest) = match outcome {
            Ok(counts) => ("held", counts.map(|count| count.to_string()).join(" ")),
            Err(what) => ("FAILED", what.replace('\n', " ")),
        };
        format!("{word} {scenario} {seed} {took_ms} {program} {rest};\n")
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.strip_suffix(';')?.splitn(6, ' ');
        let word = words.next()?;
        let (scenario, seed) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
        let (took_ms, program) = (words.next()?.parse().ok()?, words.next()?.to_owned());
        let rest = words.next()?;
        let outcome = match word {
            "held" => {
                let counts: Option<Vec<u64>> = rest.split(' ').map(|count| count.parse().ok()).collect();
                Ok(counts?.try_into().ok()?)
            }
            "FAILED" => Err(rest.to_owned()),
            _ => return None,
        };
        Some(Self { scenario, seed, outcome, took_ms, program })
    }
}

/// The lines of a journal; none where there is no file yet.
pub fn lines(path: &Path) -> anyhow::Result<Vec<Line>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.with_context(|| format!("the journal {} cannot be read", path.display()))?,
    };
    Ok(text.lines().filter_map(Line::parse).collect())
}

/// A journal that is written on.
pub struct Journal {
    file: File,
    program: String,
}

impl Journal {
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let mut file = file.with_context(|| format!("the journal {} cannot be written", path.display()))?;
        if fs::read(path)?.last().is_some_and(|last| *last != b'\n') {
            file.write_all(b"\n")?;
        }
        Ok(Self { file, program: program()? })
    }

    pub fn program(&self) -> String {
        self.program.clone()
    }

    pub fn write(&mut self, line: &Line) -> io::Result<()> {
        self.file.write_all(line.text().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_read_again_and_what_was_cut_off_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("journal");
        assert_eq!(lines(&path).expect("no file is no line"), []);
        let mut journal = Journal::open(&path).expect("it can be written");
        let line = |seed, outcome| Line {
            scenario: "calm".into(),
            seed,
            outcome,
            took_ms: 12,
            program: journal.program(),
        };
        let done = [line(1, Ok([1, 2, 3, 4, 5])), line(2, Err("a key, b: gone;\nfor good".into()))];
        for line in &done {
            journal.write(line).expect("it can be written");
        }
        let whole = fs::read(&path).expect("it is there");
        fs::write(&path, [&whole[..], b"held calm 3 12 x 1 2 3 4"].concat()).expect("it can be written");
        let mut journal = Journal::open(&path).expect("it can be written");
        journal.write(&done[0]).expect("it can be written");
        let told = Line { outcome: Err("a key, b: gone; for good".into()), ..done[1].clone() };
        assert_eq!(lines(&path).expect("it can be read"), [done[0].clone(), told, done[0].clone()]);
    }
}
