//! Reading a configuration file.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// Why a configuration is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {reason}; give its path with --config", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// Not TOML, an unknown field, or a value of the wrong kind.
    #[error("the configuration file {} is not valid; run `example-config` for one that is\n{reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Where and why.
        reason: Box<toml::de::Error>,
    },
}

/// The configuration in a file. `T` should refuse unknown fields (`#[serde(deny_unknown_fields)]`).
pub fn load_config<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|reason| ConfigError::Unreadable { path: path.to_owned(), reason })?;
    parse_config(&text)
        .map_err(|reason| ConfigError::Invalid { path: path.to_owned(), reason: Box::new(reason) })
}

/// The configuration in a text.
pub fn parse_config<T: DeserializeOwned>(text: &str) -> Result<T, toml::de::Error> {
    toml::from_str(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize, Debug, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        size: crate::ByteSize,
    }

    #[test]
    fn unknown_fields_and_missing_files_say_what_to_do() {
        assert_eq!(parse_config("size = \"2KiB\""), Ok(Sample { size: crate::ByteSize(2_048) }));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sample.toml");
        let missing = load_config::<Sample>(&path).unwrap_err().to_string();
        assert!(missing.contains("--config"), "{missing}");
        std::fs::write(&path, "size = \"1B\"\ncolour = 1\n").unwrap();
        let unknown = load_config::<Sample>(&path).unwrap_err().to_string();
        assert!(unknown.contains("colour") && unknown.contains("example-config"), "{unknown}");
    }
}
