//! Settings of a daemon: one text says every key, its meaning and its default.
//!
//! The `example.toml` of a daemon is what `example-config` prints and `init` writes, where defaults come from, and
//! what flags and their help are made of: `poll` in `[chain]` is `--chain-poll`. The text looks like this:
//!
//! ```toml
//! # Comments above a key are its help. A key with a default:
//! listen = "127.0.0.1:1"
//! # A key without one is commented out and shows what a value looks like.
//! # key_file = "/var/lib/arion/node.key"
//! ```
//!
//! # Invariants
//! - Default, then file, then flag: the later wins, key by key.
//! - A key that the example does not have is refused by name, and so is a value that does not parse.

mod example;

use std::{
    collections::BTreeMap,
    fmt::Write,
    marker::PhantomData,
    path::{Path, PathBuf},
};

use clap::{Arg, ArgMatches};
use serde::{Serialize, de::DeserializeOwned};
use toml::{Table, Value};

use crate::{keys::KeyKind, logs::LogConfig};
use example::{Key, assignment, keys};

/// What a daemon needs to know, in valid types.
pub trait Settings: Serialize + DeserializeOwned + Send + 'static {
    /// Name of the program, such as `arion-miner`.
    const PROGRAM: &'static str;
    /// Every key, as the module's documentation says. All daemons have `data_dir` and `[log]`.
    const EXAMPLE: &'static str;
    /// The secrets that `init` makes, and the keys that say where they lie: by default in the data directory.
    const KEYS: &'static [(KeyKind, &'static str)];
    /// Modules that log nothing unless the operator names them.
    const QUIET: &'static [&'static str] = &[];
}

/// Settings, and what every daemon has among them.
pub struct Loaded<S> {
    /// All of them.
    pub settings: S,
    /// Everything the daemon keeps lies here.
    pub data_dir: PathBuf,
    /// Its secrets.
    pub keys: Vec<(KeyKind, PathBuf)>,
    /// How it logs.
    pub log: LogConfig,
}

/// Why settings are not taken.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {reason}; correct --config, or make one with `init`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// The file is not TOML.
    #[error("the configuration file {} is not TOML; `example-config` prints one that is\n{reason}", path.display())]
    NotToml {
        /// The file.
        path: PathBuf,
        /// Where and why.
        reason: Box<toml::de::Error>,
    },
    /// A key that does not exist.
    #[error(
        "the configuration file {} has an unknown field `{key}`; known there are {known}: see `example-config`",
        path.display()
    )]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The key, with its section.
        key: String,
        /// The keys of the section.
        known: String,
    },
    /// A value that is not what the key takes.
    #[error("{place}: {reason}")]
    Value {
        /// The flag, or the key and the file.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// The daemon's own example does not fit its settings: a fault of the program.
    #[error("the built-in defaults do not hold: {0}; report this as a bug")]
    Defaults(String),
}

/// A value that was given, and where.
#[derive(Clone)]
struct Given {
    value: Value,
    place: String,
}

/// The values of a file by the number of their key.
fn from_file(path: &Path, keys: &[Key]) -> Result<BTreeMap<usize, Given>, SettingsError> {
    let text = std::fs::read_to_string(path)
        .map_err(|reason| SettingsError::Unreadable { path: path.to_owned(), reason })?;
    from_text(&text, path, keys)
}

fn from_text(text: &str, path: &Path, keys: &[Key]) -> Result<BTreeMap<usize, Given>, SettingsError> {
    let file = text.parse::<Table>();
    let file =
        file.map_err(|reason| SettingsError::NotToml { path: path.to_owned(), reason: Box::new(reason) })?;
    let mut values = BTreeMap::new();
    let mut take = |section: Option<&str>, name: &str, value: Value| {
        let full = section.map_or_else(|| name.to_owned(), |section| format!("{section}.{name}"));
        match keys.iter().position(|key| key.section == section && key.name == name) {
            Some(number) => {
                let place = format!("`{full}` in {}", path.display());
                values.insert(number, Given { value, place });
                Ok(())
            }
            None => {
                let known = known(keys, section);
                Err(SettingsError::Unknown { path: path.to_owned(), key: full, known })
            }
        }
    };
    for (name, value) in file {
        match value {
            Value::Table(table) if keys.iter().any(|key| key.section == Some(name.as_str())) => {
                for (key, value) in table {
                    take(Some(&name), &key, value)?;
                }
            }
            value => take(None, &name, value)?,
        }
    }
    Ok(values)
}

fn known(keys: &[Key], section: Option<&str>) -> String {
    let mut names: Vec<String> =
        keys.iter().filter(|key| key.section == section).map(|key| key.name.to_owned()).collect();
    if section.is_none() {
        names.extend(keys.iter().filter_map(|key| key.section).map(|section| format!("[{section}]")));
        names.dedup();
    }
    names.join(", ")
}

/// The flags of a daemon, one for each key, and `--config`; with `PLACES` only those that say where things lie.
pub struct Flags<S, const PLACES: bool = false> {
    config: Option<PathBuf>,
    given: BTreeMap<usize, Given>,
    settings: PhantomData<fn() -> S>,
}

/// The flags of commands that do not run the daemon.
pub type Place<S> = Flags<S, true>;

impl<S, const PLACES: bool> Default for Flags<S, PLACES> {
    /// No flag is given.
    fn default() -> Self {
        Self { config: None, given: BTreeMap::new(), settings: PhantomData }
    }
}

impl<S: Settings, const PLACES: bool> Flags<S, PLACES> {
    /// Defaults, file and flags put together.
    pub fn settings(&self) -> Result<S, SettingsError> {
        Ok(self.load()?.settings)
    }

    /// [`Flags::settings`] with what every daemon has.
    pub fn load(&self) -> Result<Loaded<S>, SettingsError> {
        let keys = keys(S::EXAMPLE);
        let mut given = match &self.config {
            Some(path) => from_file(path, &keys)?,
            None => BTreeMap::new(),
        };
        given.extend(self.given.clone());
        load_given(&keys, &given)
    }

    /// The file of `--config`, which counts no more from here on.
    pub fn take_config(&mut self) -> Option<PathBuf> {
        self.config.take()
    }

    /// The example with the values of these flags and this data directory in their places.
    pub fn filled_in(&self, data_dir: &Path) -> String {
        let keys = keys(S::EXAMPLE);
        let mut wanted = keys.iter().enumerate().map(|(number, key)| {
            let value = match key.name {
                "data_dir" => Value::String(data_dir.display().to_string()),
                _ => self.given.get(&number)?.value.clone(),
            };
            let path =
                value.as_str().filter(|_| key.is_path()).and_then(|path| std::path::absolute(path).ok());
            Some(path.map_or(value, |path| Value::String(path.display().to_string())))
        });
        let mut text = String::new();
        for line in S::EXAMPLE.lines() {
            let key = assignment(line.strip_prefix("# ").unwrap_or(line));
            let value = key.and_then(|(name, _)| wanted.next().flatten().map(|value| (name, value)));
            let _ = match value {
                Some((name, value)) => writeln!(text, "{name} = {value}"),
                None => writeln!(text, "{line}"),
            };
        }
        text
    }
}

fn load_given<S: Settings>(keys: &[Key], given: &BTreeMap<usize, Given>) -> Result<Loaded<S>, SettingsError> {
    load(keys, given).map_err(|reason| {
        // Keys do not depend on each other here: the one that is wrong is wrong alone.
        let alone = |(number, one): (&usize, &Given)| {
            let reason = load::<S>(keys, &BTreeMap::from([(*number, one.clone())])).err()?;
            Some(SettingsError::Value { place: one.place.clone(), reason })
        };
        given.iter().find_map(alone).unwrap_or(SettingsError::Defaults(reason))
    })
}

fn load<S: Settings>(keys: &[Key], given: &BTreeMap<usize, Given>) -> Result<Loaded<S>, String> {
    let reason = |error: toml::de::Error| error.message().to_owned();
    let mut table = S::EXAMPLE.parse::<Table>().map_err(reason)?;
    for (number, one) in given {
        keys[*number].set(&mut table, one.value.clone());
    }
    let path =
        |table: &Table, key: &str| PathBuf::from(table.get(key).and_then(Value::as_str).unwrap_or_default());
    let data_dir = path(&table, "data_dir");
    for (kind, key) in S::KEYS {
        let default = data_dir.join(kind.file_name()).display().to_string();
        table.entry(*key).or_insert(Value::String(default));
    }
    let files = S::KEYS.iter().map(|(kind, key)| (*kind, path(&table, key))).collect();
    let log = table.get("log").cloned().unwrap_or_else(|| Value::Table(Table::new()));
    let mut log: LogConfig = log.try_into().map_err(reason)?;
    for module in S::QUIET {
        log.level = log.level.without(module);
    }
    Ok(Loaded { settings: table.try_into().map_err(reason)?, data_dir, keys: files, log })
}

impl<S: Settings, const PLACES: bool> clap::FromArgMatches for Flags<S, PLACES> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = BTreeMap::new();
        for (number, key) in keys(S::EXAMPLE).iter().enumerate().filter(|(_, key)| !PLACES || key.is_place())
        {
            let flag = key.flag();
            if let Some(texts) = matches.get_many::<String>(&flag) {
                let value = key.read(texts.cloned().collect());
                given.insert(number, Given { value, place: format!("--{flag}") });
            }
        }
        Ok(Self { config: matches.get_one::<PathBuf>("config").cloned(), given, settings: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl<S: Settings, const PLACES: bool> clap::Args for Flags<S, PLACES> {
    fn augment_args(command: clap::Command) -> clap::Command {
        let config = Arg::new("config").long("config").short('c').value_name("FILE");
        let config = config.value_parser(clap::value_parser!(PathBuf));
        let keys = keys(S::EXAMPLE);
        command
            .arg(config.help("Configuration file (TOML); every key of it is also a flag, and a flag wins"))
            .args(keys.iter().filter(|key| !PLACES || key.is_place()).map(Key::arg))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

/// For tests: panics, saying why, unless the example has every key of the settings with help, and the operator's
/// `page` shows the example as it is.
pub fn check_example<S: Settings>(page: &str) {
    let keys = keys(S::EXAMPLE);
    let mute: Vec<_> = keys.iter().filter(|key| key.help.is_empty()).map(|key| key.name).collect();
    assert!(mute.is_empty(), "no comment above {mute:?}");
    if let Err(reason) = load::<S>(&keys, &BTreeMap::new()) {
        panic!("the defaults do not hold: {reason}");
    }
    let shown = keys.iter().map(|key| Given { value: key.shown.clone(), place: String::new() });
    let all = load::<S>(&keys, &shown.enumerate().collect()).unwrap_or_else(|reason| panic!("{reason}"));
    let all = serde_json::to_value(all.settings).expect("settings are plain data");
    let mut shown: Vec<_> = keys.iter().map(|key| (key.section.unwrap_or(""), key.name)).collect();
    let mut known: Vec<(&str, &str)> = Vec::new();
    for (name, value) in all.as_object().expect("settings are a table") {
        match value.as_object() {
            Some(section) => known.extend(section.keys().map(|key| (name.as_str(), key.as_str()))),
            None => known.push(("", name)),
        }
    }
    known.sort_unstable();
    shown.sort_unstable();
    assert_eq!(known, shown, "keys of the settings, keys of the example");
    assert!(page.contains(S::EXAMPLE), "copy example.toml into the operator's page");
    assert!(check_text::<S>(S::EXAMPLE));
    for key in &keys {
        let section = key.section.map(|section| format!("[{section}]\n")).unwrap_or_default();
        for value in ODD_VALUES {
            check_text::<S>(&format!("{section}{} = {value}", key.name));
        }
    }
}

/// What no key is made for, or hardly one.
const ODD_VALUES: [&str; 14] = [
    "0",
    "-1",
    "9223372036854775807",
    "1e308",
    "nan",
    "true",
    "\"\"",
    "\"1\"",
    "\"18446744073709551615d\"",
    "\"18446744073709551615TiB\"",
    "\"\\u0000\"",
    "[]",
    "[[\"x\"], {}]",
    "1979-05-27",
];

/// For tests and the fuzzer: whether a configuration file with this text is taken. Panics where what was taken says something else when
/// it is written and read again, and where it is not said what is wrong.
pub fn check_text<S: Settings>(text: &str) -> bool {
    let (keys, path) = (keys(S::EXAMPLE), Path::new("made-up.toml"));
    let read = |text: &str| load_given::<S>(&keys, &from_text(text, path, &keys)?);
    match read(text) {
        Ok(Loaded { settings, .. }) => {
            let shown = toml::to_string(&settings).expect("what was read can be written");
            let again = read(&shown).unwrap_or_else(|reason| panic!("{reason}: {shown}")).settings;
            assert_eq!(shown, toml::to_string(&again).expect("what was read can be written"));
            true
        }
        Err(reason) => {
            assert!(!matches!(reason, SettingsError::Defaults(_)), "{reason}");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        address::Peer,
        units::{ByteSize, Pause},
    };
    use clap::{Args, FromArgMatches};
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        data_dir: PathBuf,
        key_file: PathBuf,
        draining: bool,
        size: ByteSize,
        #[serde(default)]
        peers: Vec<Peer>,
        limits: Limits,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Limits {
        at_once: std::num::NonZeroUsize,
        pause: Pause,
    }

    impl Settings for Sample {
        const PROGRAM: &'static str = "arion-sample";
        const EXAMPLE: &'static str = r#"# A sample.

# Where things lie.
data_dir = "/var/lib/sample"
# The key. Default: node.key in data_dir.
# key_file = "/var/lib/sample/node.key"
# Whether to
# drain.
draining = false
# How large.
size = "1KiB"
# Whom to ask.
# peers = ["0000000000000000000000000000000000000000000000000000000000000001@h:1"]

# Bounds.
[limits]
# How many.
at_once = 4
# How often.
pause = "3s"
"#;
        const KEYS: &'static [(KeyKind, &'static str)] = &[(KeyKind::Node, "key_file")];
    }

    fn flags(args: &[&str]) -> Flags<Sample> {
        let command = Flags::<Sample>::augment_args(clap::Command::new("sample"));
        let matches = command.try_get_matches_from([&["sample"], args].concat()).unwrap();
        Flags::from_arg_matches(&matches).unwrap()
    }

    fn refused(args: &[&str]) -> String {
        flags(args).settings().unwrap_err().to_string()
    }

    #[test]
    fn default_then_file_then_flag() {
        check_example::<Sample>(Sample::EXAMPLE);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sample.toml");
        std::fs::write(&path, "size = \"2KiB\"\ndraining = true\n[limits]\nat_once = 5\n").unwrap();
        let file = path.display().to_string();
        let settings = flags(&["--config", &file, "--limits-at-once", "6"]).settings().unwrap();
        assert_eq!((settings.size, settings.draining), (ByteSize(2_048), true));
        assert_eq!((settings.limits.at_once.get(), settings.limits.pause.0.as_secs()), (6, 3));
        assert!(!flags(&["-c", &file, "--draining=false"]).settings().unwrap().draining);
        let peer = format!("{}@h:1", "1".repeat(64));
        let settings = flags(&["--peers", &peer, "--peers", &peer, "--draining"]).settings().unwrap();
        assert_eq!((settings.peers.len(), settings.draining), (2, true));
        assert_eq!(settings.key_file, Path::new("/var/lib/sample/node.key"));
        let loaded = flags(&["--data-dir", "/d"]).load().unwrap();
        assert_eq!(loaded.keys, [(KeyKind::Node, PathBuf::from("/d/node.key"))]);
        assert_eq!(loaded.data_dir, Path::new("/d"));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sample.toml");
        let file = path.display().to_string();
        assert!(refused(&["--config", &file]).contains("--config"));
        for (text, named) in [
            ("colour = 1", "`colour`; known there are data_dir"),
            ("[colours]\nred = 1", "`colours`"),
            ("[limits]\ncolour = 1", "`limits.colour`; known there are at_once, pause"),
            ("limits = 1", "`limits`"),
            ("size = 1", "`size` in "),
            ("size = \"1 parsec\"", "is not a size"),
            ("limits.at_once = 0", "`limits.at_once` in "),
            ("limits.pause = \"0s\"", "at least"),
            ("size =", "is not TOML"),
        ] {
            std::fs::write(&path, text).unwrap();
            let refused = refused(&["--config", &file]);
            assert!(refused.contains(named) && refused.contains(&file), "{text}: {refused}");
        }
        assert!(refused(&["--limits-at-once", "x"]).starts_with("--limits-at-once: "));
        // A flag that corrects the file is not the file's error any more.
        std::fs::write(&path, "size = 1").unwrap();
        assert!(flags(&["--config", &file, "--size", "1B"]).settings().is_ok());
        let both = refused(&["--config", &file, "--size", "1B", "--peers", "x"]);
        assert!(both.starts_with("--peers: "), "{both}");
    }

    #[test]
    fn flags_are_filled_into_the_example() {
        let text = flags(&["--key-file", "/k", "--limits-pause", "5s"]).filled_in(Path::new("/d"));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sample.toml");
        std::fs::write(&path, &text).unwrap();
        let settings = flags(&["-c", &path.display().to_string()]).settings().unwrap();
        assert_eq!((settings.data_dir, settings.key_file), ("/d".into(), "/k".into()));
        assert_eq!(settings.limits.pause.0.as_secs(), 5);
        assert_eq!(text.lines().count(), Sample::EXAMPLE.lines().count());
    }

    #[test]
    fn help_teaches_what_the_example_does() {
        let mut command = Flags::<Sample>::augment_args(clap::Command::new("sample"));
        let help = command.render_help().to_string();
        for part in [
            "--limits-at-once <N>",
            "How many. [default: 4]",
            "--size <SIZE>",
            "limits:",
            "Whether to drain.",
        ] {
            assert!(help.contains(part), "{part}: {help}");
        }
        let mut command = Place::<Sample>::augment_args(clap::Command::new("sample"));
        let help = command.render_help().to_string();
        assert!(
            help.contains("--data-dir") && help.contains("--key-file") && !help.contains("--size"),
            "{help}"
        );
    }
}
