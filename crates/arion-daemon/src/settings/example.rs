//! What an `example.toml` says of each key, and the flag it becomes.

use std::{fmt::Write, net::SocketAddr};

use clap::{Arg, ArgAction};
use toml::{Table, Value};

use crate::{
    address::{HostPort, Peer},
    units::{ByteSize, HumanDuration},
};

/// A key of the example.
pub(super) struct Key {
    /// `[section]` it is in.
    pub(super) section: Option<&'static str>,
    pub(super) name: &'static str,
    pub(super) help: String,
    /// The default, or what a value looks like.
    pub(super) shown: Value,
    has_default: bool,
}

impl Key {
    pub(super) fn flag(&self) -> String {
        let section = self.section.map(|section| format!("{section}-")).unwrap_or_default();
        format!("{section}{}", self.name).replace('_', "-")
    }

    pub(super) fn set(&self, table: &mut Table, value: Value) {
        let table = match self.section {
            None => table,
            Some(section) => {
                let inner = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
                let Value::Table(inner) = inner else { return };
                inner
            }
        };
        table.insert(self.name.to_owned(), value);
    }

    pub(super) fn is_path(&self) -> bool {
        self.name.ends_with("_dir") || self.name.ends_with("_file")
    }

    /// Whether it says where something is: what the commands besides `run` need to know.
    pub(super) fn is_place(&self) -> bool {
        self.section == Some("chain") || self.is_path()
    }

    fn value_name(&self) -> &'static str {
        let text = match &self.shown {
            Value::Integer(_) | Value::Float(_) => return "N",
            Value::Boolean(_) => return "true|false",
            Value::Array(list) => list.first().and_then(Value::as_str).unwrap_or_default(),
            other => other.as_str().unwrap_or_default(),
        };
        match text {
            _ if text.starts_with("ws://") => "URL",
            _ if text.starts_with('/') => "PATH",
            _ if text.parse::<Peer>().is_ok() => "NODE_ID@HOST:PORT",
            _ if text.parse::<SocketAddr>().is_ok() => "IP:PORT",
            _ if text.parse::<HostPort>().is_ok() => "HOST:PORT",
            _ if text.parse::<HumanDuration>().is_ok() => "TIME",
            _ if text.parse::<ByteSize>().is_ok() => "SIZE",
            _ if text.len() == 66 => "HASH",
            _ => "TEXT",
        }
    }

    pub(super) fn arg(&self) -> Arg {
        // Once per key and process.
        let flag: &'static str = self.flag().leak();
        let mut help = self.help.clone();
        if self.has_default && !matches!(self.shown, Value::Boolean(_)) {
            let shown = self.shown.as_str().map_or_else(|| self.shown.to_string(), str::to_owned);
            let _ = write!(help, " [default: {shown}]");
        }
        let arg = Arg::new(flag).long(flag).help(help).value_name(self.value_name());
        let arg = match self.section {
            Some(section) => arg.help_heading(section),
            None => arg,
        };
        match self.shown {
            Value::Boolean(_) => {
                let values = ["true", "false"];
                let arg = arg.num_args(0..=1).require_equals(true).default_missing_value("true");
                arg.value_parser(values).action(ArgAction::Set)
            }
            Value::Array(_) => arg.action(ArgAction::Append),
            _ => arg.action(ArgAction::Set),
        }
    }

    /// The value that the texts of a flag stand for.
    pub(super) fn read(&self, mut texts: Vec<String>) -> Value {
        if self.shown.is_array() {
            return Value::Array(texts.into_iter().map(Value::String).collect());
        }
        let text = texts.pop().unwrap_or_default();
        let number = match self.shown {
            Value::Integer(_) => text.parse().ok().map(Value::Integer),
            Value::Boolean(_) => text.parse().ok().map(Value::Boolean),
            _ => None,
        };
        number.unwrap_or(Value::String(text))
    }
}

/// The keys of an example, in its order.
pub(super) fn keys(example: &'static str) -> Vec<Key> {
    let (mut keys, mut section, mut help) = (Vec::new(), None, Vec::new());
    for line in example.lines() {
        let (text, has_default) = line.strip_prefix("# ").map_or((line, true), |text| (text, false));
        if let Some((name, shown)) = assignment(text) {
            let help = std::mem::take(&mut help).join(" ");
            keys.push(Key { section, name, help, shown, has_default });
        } else if !has_default {
            help.push(text);
        } else {
            help.clear();
            section = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).or(section);
        }
    }
    keys
}

/// `name = value`, the only form that examples use.
pub(super) fn assignment(text: &'static str) -> Option<(&'static str, Value)> {
    let (name, _) = text.split_once(" = ")?;
    let is_name = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte.is_ascii_digit());
    let mut table = if is_name { text.parse::<Table>().ok()? } else { return None };
    Some((name, table.remove(name)?))
}
