//! Ceph's `crushtool` (Debian package `ceph-base`).

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use super::corpus::{INPUTS, NONE, REPLICAS};
use crush::Hierarchy;

/// Whether it is there; says so where it is not.
pub(crate) fn installed() -> bool {
    let found =
        Command::new("crushtool").arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        eprintln!("crushtool is not installed: only the frozen vectors are checked");
    }
    found
}

/// Its answers in the order of [`super::corpus::placements`].
pub(crate) fn placements(tree: &Hierarchy) -> Vec<Vec<u32>> {
    // Older versions run all sizes that a rule admits when none is asked for.
    let text = tree.crushtool_text().to_string().replace("max_size 255", &format!("max_size {REPLICAS}"));
    let compiled = Compiled::from_text(&text, tree.reweights());
    let mut answers = compiled.run(None, INPUTS);
    if answers.len() == REPLICAS * INPUTS as usize {
        for (line, positions) in answers.iter_mut().enumerate() {
            pad(positions, 1 + line / INPUTS as usize);
        }
        return answers;
    }
    (1..=REPLICAS).flat_map(|replicas| compiled.test(replicas, INPUTS)).collect()
}

fn pad(positions: &mut Vec<u32>, replicas: usize) {
    assert!(positions.len() <= replicas);
    positions.resize(replicas, NONE);
}

/// A map as `crushtool` compiled it.
pub(crate) struct Compiled {
    dir: tempfile::TempDir,
    reweights: Vec<(u32, u32)>,
}

impl Compiled {
    pub(crate) fn new(tree: &Hierarchy) -> Self {
        Self::from_text(&tree.crushtool_text().to_string(), tree.reweights())
    }

    fn from_text(text: &str, reweights: Vec<(u32, u32)>) -> Self {
        let compiled = Self { dir: tempfile::tempdir().unwrap(), reweights };
        let path = compiled.dir.path().join("map.txt");
        fs::write(&path, text).unwrap();
        output(Command::new("crushtool").arg("--compile").arg(&path).arg("-o").arg(compiled.path()));
        compiled
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("map")
    }

    /// What `crushtool --test` answers for `0..inputs`, padded to `replicas` positions.
    pub(crate) fn test(&self, replicas: usize, inputs: u32) -> Vec<Vec<u32>> {
        let mut answers = self.run(Some(replicas), inputs);
        assert_eq!(answers.len(), inputs as usize);
        answers.iter_mut().for_each(|positions| pad(positions, replicas));
        answers
    }

    /// What it prints for this replica count, or for all that the rule admits.
    fn run(&self, replicas: Option<usize>, inputs: u32) -> Vec<Vec<u32>> {
        let mut command = Command::new("crushtool");
        command
            .arg("-i")
            .arg(self.path())
            .args(["--test", "--rule", "0", "--show-mappings", "--min-x", "0"])
            .args(["--max-x", &(inputs - 1).to_string()]);
        if let Some(replicas) = replicas {
            command.args(["--num-rep", &replicas.to_string()]);
        }
        for (uid, reweight) in &self.reweights {
            command.args(["--weight", &uid.to_string(), &format!("{:.17}", f64::from(*reweight) / 65_536.0)]);
        }
        let read = |(_, items): (&str, &str)| -> Vec<u32> {
            items.split(',').filter(|item| !item.is_empty()).map(|item| item.parse().unwrap()).collect()
        };
        output(&mut command)
            .lines()
            .filter_map(|line| line.strip_prefix("CRUSH rule 0 x ")?.strip_suffix(']')?.split_once('['))
            .map(read)
            .collect()
    }
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "crushtool: {said}{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stdout).unwrap()
}
