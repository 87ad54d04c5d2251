//! A NAT of Linux itself: two network namespaces, one that routes and translates, one behind it.

use std::net::Ipv4Addr;

use anyhow::{Context, bail};

/// This machine, as the NAT sees it, and the NAT's address there.
pub(super) const OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 213, 77, 1);
pub(super) const NAT: Ipv4Addr = Ipv4Addr::new(10, 213, 77, 2);
/// The NAT as the one behind it sees it, and that one.
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 213, 78, 1);
pub(super) const INSIDE: Ipv4Addr = Ipv4Addr::new(10, 213, 78, 2);

/// How a NAT chooses the port that others see (RFC 4787).
#[derive(Clone, Copy, Debug)]
pub(super) enum Mapping {
    /// The same towards everybody.
    EndpointIndependent,
    /// Another one towards everybody ("symmetric").
    Random,
}

/// The namespaces; gone when this is dropped.
pub(super) struct Nat {
    router: String,
    behind: String,
    link: String,
    /// What lets the health page through.
    http_port: u16,
}

impl Nat {
    /// Why this machine cannot have one, if it cannot.
    pub(super) fn impossible() -> Option<String> {
        for (program, arguments) in [("ip", ["-V"].as_slice()), ("nft", &["-v"])] {
            if let Err(error) = run(program, arguments) {
                return Some(format!("`{program}` does not run ({error:#}): install iproute2 and nftables"));
            }
        }
        let probe = format!("arion-probe-{}", std::process::id());
        if let Err(error) = run("ip", &["netns", "add", &probe]) {
            return Some(format!(
                "no network namespace can be made ({error:#}): run it as root on a machine that allows it"
            ));
        }
        let translates = run(
            "ip",
            &[
                "netns",
                "exec",
                &probe,
                "nft",
                "add table ip t; add chain ip t c { type nat hook postrouting priority 100; }; add rule ip t c masquerade",
            ],
        );
        let _ = run("ip", &["netns", "del", &probe]);
        translates.err().map(|error| format!("the kernel translates no addresses here: {error:#}"))
    }

    /// Both namespaces with their links, and the NAT in between. Nothing gets in from outside but answers, and TCP to
    /// `http_port`.
    pub(super) fn new(http_port: u16, mapping: Mapping) -> anyhow::Result<Self> {
        let id = std::process::id();
        let nat = Self {
            router: format!("arion-nat-{id}"),
            behind: format!("arion-in-{id}"),
            link: format!("an{id}"),
            http_port,
        };
        let Self { router, behind, link, .. } = &nat;
        let commands = [
            format!("netns add {router}"),
            format!("netns add {behind}"),
            format!("link add {link} type veth peer name out netns {router}"),
            format!("addr add {OUTSIDE}/30 dev {link}"),
            format!("link set {link} up"),
            format!("-n {router} addr add {NAT}/30 dev out"),
            format!("-n {router} link set out up"),
            format!("-n {router} link set lo up"),
            format!("-n {router} link add in type veth peer name out netns {behind}"),
            format!("-n {router} addr add {ROUTER}/30 dev in"),
            format!("-n {router} link set in up"),
            format!("-n {router} route add default via {OUTSIDE}"),
            format!("-n {behind} addr add {INSIDE}/30 dev out"),
            format!("-n {behind} link set out up"),
            format!("-n {behind} link set lo up"),
            format!("-n {behind} route add default via {ROUTER}"),
            format!("netns exec {router} sysctl -q -w net.ipv4.ip_forward=1"),
            format!("route add {INSIDE}/32 via {NAT}"),
        ];
        for command in commands {
            run("ip", &command.split(' ').collect::<Vec<_>>())?;
        }
        nat.translate(mapping)?;
        Ok(nat)
    }

    /// Name of the namespace behind it.
    pub(super) fn namespace(&self) -> &str {
        &self.behind
    }

    /// Replaces the rules. What was translated before goes on as it was.
    pub(super) fn translate(&self, mapping: Mapping) -> anyhow::Result<()> {
        let how = match mapping {
            Mapping::EndpointIndependent => "masquerade",
            Mapping::Random => "masquerade fully-random",
        };
        let port = self.http_port;
        let rules = format!(
            "flush ruleset
             table ip arion {{
               chain translate {{ type nat hook postrouting priority 100; oifname \"out\" {how}; }}
               chain pass {{
                 type filter hook forward priority 0; policy drop;
                 ct state established,related accept
                 iifname \"in\" accept
                 ip daddr {INSIDE} tcp dport {port} accept
               }}
               chain own {{
                 type filter hook input priority 0; policy drop;
                 ct state established,related accept
                 iifname \"lo\" accept
               }}
             }}"
        );
        run("ip", &["netns", "exec", &self.router, "nft", &rules])
    }
}

impl Drop for Nat {
    fn drop(&mut self) {
        // The link ends with the namespace at its other end, the route with the link.
        for command in
            [["netns", "del", &self.behind], ["netns", "del", &self.router], ["link", "del", &self.link]]
        {
            let _ = run("ip", &command);
        }
    }
}

fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let output = std::process::Command::new(program)
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        bail!("{program} {}: {said}", arguments.join(" "));
    }
    Ok(())
}
