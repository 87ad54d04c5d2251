//! What happens to a stranger.

use std::{
    fs,
    net::{TcpListener, UdpSocket},
    os::unix::fs::PermissionsExt,
    process::Stdio,
};

use crate::{
    node::FakeNode,
    program::{Program, get, text},
};

impl Program {
    /// `init`, `key show`, `example-config` and `--help` do what they say, also when nobody reads on.
    pub fn sets_itself_up(&self) {
        let key = self.data().join("node.key");
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        let before = fs::read(&key).unwrap();
        let data = text(&self.data());
        assert!(self.refused(&["init", "--data-dir", &data]).contains("not overwritten"));
        let config = self.path("other.toml");
        let again = ["init", "--data-dir", &data, "--config", &text(&config), "--chain-poll", "7s"];
        let again = self.output(&again);
        assert!(again.status.success(), "{again:?}");
        assert_eq!(fs::read(&key).unwrap(), before, "a key was overwritten");
        let written = fs::read_to_string(&config).unwrap();
        assert!(
            written.contains("poll = \"7s\"") && written.contains(&format!("data_dir = {data:?}")),
            "{written}"
        );

        let shown = self.output(&["key", "show", "--config", &text(&config)]);
        let shown = String::from_utf8(shown.stdout).unwrap();
        let node_id = shown.lines().find_map(|line| line.strip_prefix("node id: ")).unwrap();
        assert_eq!(node_id.len(), 64, "{shown}");
        assert!(String::from_utf8(again.stdout).unwrap().contains(node_id));

        let help = String::from_utf8(self.output(&["--help"]).stdout).unwrap();
        assert!(help.contains("docs/operate/") && help.contains("example-config"), "{help}");
        let help = String::from_utf8(self.output(&["run", "--help"]).stdout).unwrap();
        // Where its lines break depends on the terminal.
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in
            ["--config", "--chain-url", "--http-addr", "--log-level", "[default: ws://127.0.0.1:9944]"]
        {
            assert!(help.contains(part), "{part}: {help}");
        }
        for args in [&["example-config"][..], &["key", "show", "--data-dir", &data], &["--help"]] {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            let mut command = self.command(args);
            command.stdout(Stdio::from(writer));
            let output = self.output_of(command);
            assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{args:?}");
        }
    }

    /// What cannot work is refused at once, whether or not there is a chain, in words that say what to do.
    pub fn explains_mistakes(&self) {
        let explains = |changes: &[(&str, &str)], parts: &[&str]| {
            let said = self.run_refused(changes);
            assert!(parts.iter().all(|part| said.contains(part)), "{changes:?}: {said}");
            assert_eq!(said.matches("error:").count(), 1, "{said}");
        };
        let config = self.path("mistake.toml");
        let with_config = |line: &str| {
            fs::write(&config, line).unwrap();
            text(&config)
        };
        explains(&[("--config", &with_config("colour = 1\n"))], &["`colour`", "data_dir", "example-config"]);
        explains(&[("--config", &with_config("[chain]\nnode = \"x\"\n"))], &["`chain.node`", "url"]);
        explains(&[("--config", &with_config("[http]\nallow_public = 1\n"))], &["`http.allow_public` in"]);
        explains(&[("--config", "/nowhere/x.toml")], &["/nowhere/x.toml", "--config"]);
        explains(&[("--chain-poll", "0s")], &["--chain-poll", "10ms"]);
        explains(&[("--chain-url", "127.0.0.1:9944")], &["--chain-url", "ws://"]);
        explains(&[("--chain-genesis", "0x12")], &["--chain-genesis", "64"]);
        explains(&[("--log-level", "loud")], &["--log-level", "`loud`", "debug"]);
        explains(&[("--http-addr", "0.0.0.0:0")], &["--http-allow-public"]);

        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = taken.local_addr().unwrap().to_string();
        explains(&[("--http-addr", &addr)], &[&addr, "in use", "--http-addr"]);
        let also = UdpSocket::bind(&addr).unwrap();
        for port in &self.ports {
            explains(&[(port, &addr)], &[&addr, "in use"]);
        }
        drop(also);

        explains(&[("--key-file", "/nowhere/node.key")], &["/nowhere/node.key", "`init`"]);
        let key = self.path("bad.key");
        fs::write(&key, "12\n").unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        explains(&[("--key-file", &text(&key))], &["0640", "chmod 600"]);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        explains(&[("--key-file", &text(&key))], &["64 hexadecimal digits"]);
    }

    /// A data directory that cannot hold data is refused; `key_flags` are the flags of the keys that `init` made.
    pub fn refuses_a_useless_directory(&self, key_flags: &[(&str, &str)]) {
        let file = self.path("file");
        fs::write(&file, "x").unwrap();
        let keys: Vec<_> =
            key_flags.iter().map(|(flag, name)| (*flag, text(&self.data().join(name)))).collect();
        // Not even root can write into the second.
        for directory in [text(&file.join("below")), "/proc/self".to_owned()] {
            let mut changes: Vec<_> = keys.iter().map(|(flag, path)| (*flag, path.as_str())).collect();
            changes.push(("--data-dir", &directory));
            let said = self.run_refused(&changes);
            assert!(said.contains("data directory") && said.contains(&directory), "{said}");
        }
    }

    /// A chain that is not there is waited for, aloud; a signal ends the wait, also in the first moment and with a node
    /// that takes the connection and says nothing.
    pub fn waits_for_the_chain(&self) {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = closed.local_addr().unwrap();
        drop(closed);
        let url = format!("ws://{addr}");
        let waiting = self.run(&[("--chain-url", &url)]);
        let http = waiting.http();
        assert!(waiting.line("waiting for the chain").contains(&url));
        let health = get(&http, "/health");
        assert!(health.starts_with("HTTP/1.1 503") && health.contains(&url), "{health}");
        assert!(get(&http, "/metrics").starts_with("HTTP/1.1 200"));
        waiting.stop();

        let early = self.run(&[("--chain-url", &url)]);
        early.http();
        early.stop();

        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let waiting = self.run(&[("--chain-url", &format!("ws://{}", silent.local_addr().unwrap()))]);
        waiting.line("waiting for the chain");
        waiting.stop();
    }

    /// Another chain than configured ends the daemon, also when its node comes up late.
    pub fn refuses_another_chain(&self) {
        let genesis = "ab".repeat(32);
        let closed = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = closed.local_addr().unwrap();
        drop(closed);
        let late = [("--chain-url", &*format!("ws://{addr}")), ("--chain-genesis", &*genesis)];
        let mut waiting = self.run(&late);
        waiting.line("waiting for the chain");
        let node = FakeNode::start(addr, [0xcd; 32]);
        assert!(waiting.line("is on the chain with genesis").contains(&genesis));
        assert!(!waiting.end().success());
        let said = self.run_refused(&[("--chain-url", &node.url()), ("--chain-genesis", &genesis)]);
        assert!(said.contains(&"cd".repeat(32)) && said.contains(&genesis), "{said}");
    }
}
