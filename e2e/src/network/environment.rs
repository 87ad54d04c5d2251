//! The environment in which `aws` and `arion` talk to the network.

use std::{io::Write, os::unix::fs::OpenOptionsExt, path::PathBuf};

use anyhow::Context;

use super::{Network, local};

impl Network {
    /// The shell file: `. FILE` and go.
    pub fn environment_file(&self) -> PathBuf {
        self.layout.of("environment.sh")
    }

    /// Writes the shell file, readable by its owner only, and the secret for `arion` beside it.
    pub(super) fn write_environment(&self) -> anyhow::Result<()> {
        let s3 = self.s3()?;
        let secret_file = self.directory("gateway").join("s3-secret");
        let mut services = Vec::new();
        for index in 0..self.options.validators {
            let node = self.node_id(&Self::validator_name(index))?;
            services.push(format!("{node}@{}", local(self.ports.validator_quic(index))));
        }
        let programs = std::env::current_exe()?;
        let programs = programs.parent().context("this program lies in no directory")?.display().to_string();
        let gateway_http = format!("http://{}", local(self.ports.gateway_http()));
        let secret_path = secret_file.display().to_string();
        let variables = [
            ("AWS_ENDPOINT_URL", s3.endpoint.as_str()),
            ("AWS_ACCESS_KEY_ID", &s3.access_key),
            ("AWS_SECRET_ACCESS_KEY", &s3.secret_key),
            ("AWS_DEFAULT_REGION", &s3.region),
            ("ARION_CHAIN_URL", &self.ws()),
            ("ARION_S3_ENDPOINT", &s3.endpoint),
            ("ARION_REGION", &s3.region),
            ("ARION_ACCESS_KEY", &s3.access_key),
            ("ARION_SECRET_KEY_FILE", &secret_path),
            ("ARION_GATEWAY_HTTP", &gateway_http),
            ("ARION_VALIDATORS", &services.join(",")),
        ];
        let mut text = String::new();
        for (name, value) in variables {
            text.push_str(&format!("export {name}={}\n", quoted(value)));
        }
        text.push_str(&format!("export PATH={}:\"$PATH\"\n", quoted(&programs)));
        replace(&secret_file, &format!("{}\n", s3.secret_key))?;
        replace(&self.environment_file(), &text)
    }
}

/// A word for the shell that stands for exactly this text.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn replace(path: &std::path::Path, text: &str) -> anyhow::Result<()> {
    let mut options = std::fs::File::options();
    options.create(true).write(true).truncate(true).mode(0o600);
    let written = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_programs_as_they_are() {
        for text in ["plain", "two words", "it's $HOME `id` \"x\" \\"] {
            let script = format!("printf %s {}", quoted(text));
            let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
        }
    }
}
