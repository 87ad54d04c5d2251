//! Three nodes of Garage on this machine, replication 3.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

use crate::{client::Endpoint, memory};

const NODES: usize = 3;
const REGION: &str = "garage";
const START: Duration = Duration::from_secs(30);

/// A running cluster, killed when dropped.
pub struct Garage {
    program: PathBuf,
    directory: PathBuf,
    nodes: Vec<Child>,
    pub endpoint: Endpoint,
}

impl Garage {
    /// Starts a new cluster in an empty directory and makes the bucket.
    pub async fn start(program: &Path, directory: &Path, fsync: bool, bucket: &str) -> anyhow::Result<Self> {
        let (access_key, secret_key) = (format!("GK{}", hex(12)), hex(32));
        let secret = hex(32);
        let ports: Vec<u16> = free_ports(2 * NODES)?;
        for node in 0..NODES {
            let home = directory.join(node.to_string());
            std::fs::create_dir_all(&home)?;
            let (rpc, s3) = (ports[2 * node], ports[2 * node + 1]);
            let config = format!(
                "metadata_dir = {:?}\ndata_dir = {:?}\ndb_engine = \"lmdb\"\nmetadata_fsync = {fsync}\ndata_fsync = {fsync}\n\
                 replication_factor = {NODES}\ncompression_level = \"none\"\nrpc_bind_addr = \"127.0.0.1:{rpc}\"\n\
                 rpc_public_addr = \"127.0.0.1:{rpc}\"\nrpc_secret = \"{secret}\"\n\n[s3_api]\ns3_region = \"{REGION}\"\n\
                 api_bind_addr = \"127.0.0.1:{s3}\"\nroot_domain = \".s3.garage\"\n",
                home.join("meta"),
                home.join("data"),
            );
            std::fs::write(home.join("garage.toml"), config)?;
        }
        let endpoint = Endpoint {
            url: format!("http://127.0.0.1:{}", ports[1]),
            access_key,
            secret_key,
            region: REGION.into(),
        };
        let mut cluster =
            Self { program: program.to_owned(), directory: directory.to_owned(), nodes: vec![], endpoint };
        for node in 0..NODES {
            let log = std::fs::File::create(directory.join(node.to_string()).join("log"))?;
            let child = cluster
                .command(node)
                .arg("server")
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log)
                .spawn()
                .with_context(|| format!("cannot run {}", program.display()))?;
            cluster.nodes.push(child);
        }
        cluster.join(&ports, bucket).await?;
        Ok(cluster)
    }

    async fn join(&self, ports: &[u16], bucket: &str) -> anyhow::Result<()> {
        let mut ids = Vec::new();
        for node in 0..NODES {
            let id = self.retry(node, &["node", "id", "--quiet"]).await?;
            ids.push(id.trim().split('@').next().unwrap_or_default().to_owned());
        }
        for (node, id) in ids.iter().enumerate() {
            let address = format!("{id}@127.0.0.1:{}", ports[2 * node]);
            self.retry(0, &["node", "connect", &address]).await?;
            self.retry(0, &["layout", "assign", "--zone", "one", "--capacity", "100G", id]).await?;
        }
        self.retry(0, &["layout", "apply", "--version", "1"]).await?;
        let Endpoint { access_key, secret_key, .. } = &self.endpoint;
        self.retry(0, &["key", "import", "--yes", "-n", "bench", access_key, secret_key]).await?;
        self.retry(0, &["bucket", "create", bucket]).await?;
        self.retry(0, &["bucket", "allow", "--read", "--write", "--owner", bucket, "--key", "bench"]).await?;
        Ok(())
    }

    /// Resident memory of all nodes, MiB.
    pub fn memory(&self) -> anyhow::Result<f64> {
        self.nodes.iter().map(|node| memory::resident_mib(node.id())).sum()
    }

    fn command(&self, node: usize) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(self.directory.join(node.to_string()).join("garage.toml"));
        command.env("RUST_LOG", "garage=warn");
        command
    }

    /// What a command prints, once it succeeds: nodes need a moment to find each other.
    async fn retry(&self, node: usize, arguments: &[&str]) -> anyhow::Result<String> {
        let begun = Instant::now();
        loop {
            let output = self.command(node).args(arguments).stdin(Stdio::null()).output()?;
            if output.status.success() {
                return Ok(String::from_utf8(output.stdout)?);
            }
            if begun.elapsed() > START {
                bail!("garage {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

impl Drop for Garage {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            let _ = node.kill();
            let _ = node.wait();
        }
    }
}

fn hex(bytes: usize) -> String {
    (0..bytes).map(|_| format!("{:02x}", rand::random::<u8>())).collect()
}

fn free_ports(count: usize) -> anyhow::Result<Vec<u16>> {
    let listeners: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    let ports: Vec<u16> =
        listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect::<std::io::Result<_>>()?;
    ensure!(ports.len() == count, "no free ports");
    Ok(ports)
}
