//! Where objects are to be had that anybody can read: bundles of epochs, segments of ledgers.

use std::{
    convert::Infallible,
    fs, io,
    io::Read,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use anyhow::{Context, bail};
use ureq::Agent;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// A place where public objects are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PublicPlace {
    /// A URL in front of the names.
    Web(String),
    /// A directory with files of those names, or a file in it.
    Files(PathBuf),
}

impl FromStr for PublicPlace {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let is_url = text.starts_with("http://") || text.starts_with("https://");
        Ok(match is_url {
            true => Self::Web(text.trim_end_matches('/').to_owned()),
            false => Self::Files(text.into()),
        })
    }
}

impl std::fmt::Display for PublicPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Web(base) => f.write_str(base),
            Self::Files(path) => write!(f, "{}", path.display()),
        }
    }
}

impl PublicPlace {
    /// An object of at most so many bytes; `None` where it is not there, or not for everybody.
    pub fn object(&self, name: &str, bytes_max: usize) -> anyhow::Result<Option<Vec<u8>>> {
        match self {
            Self::Web(base) => fetch(&format!("{base}/{name}"), bytes_max),
            Self::Files(path) => {
                let directory = if path.is_file() { path.parent().unwrap_or(Path::new(".")) } else { path };
                read(&directory.join(name), bytes_max)
            }
        }
    }
}

/// A file of at most so many bytes; `None` where there is none.
pub(super) fn read(path: &Path, bytes_max: usize) -> anyhow::Result<Option<Vec<u8>>> {
    match fs::File::open(path) {
        Ok(file) => {
            bounded(file, bytes_max).map(Some).with_context(|| format!("cannot read {}", path.display()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn fetch(url: &str, bytes_max: usize) -> anyhow::Result<Option<Vec<u8>>> {
    let agent: Agent = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_recv_response(Some(ANSWER_TIMEOUT))
        .build()
        .into();
    let answer = agent.get(url).call().with_context(|| format!("cannot reach {url}"))?;
    match answer.status().as_u16() {
        200 => {
            let body = answer.into_body().into_reader();
            bounded(body, bytes_max).map(Some).with_context(|| format!("cannot read {url}"))
        }
        // What is not there is answered with 403 where names may not be listed.
        401 | 403 | 404 => Ok(None),
        status => bail!("{url} answers with HTTP status {status}"),
    }
}

/// One byte more is read than may be there: what is too long is told by its length.
fn bounded(reader: impl Read, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
