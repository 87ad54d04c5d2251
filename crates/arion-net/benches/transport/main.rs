//! The transport beside what it is built on and beside TCP, in the same run:
//!
//!     ./scripts/bench transport [bulk | requests | idle | paths]...
//!
//! - bulk: 1 MiB shards over loopback, beside quinn's own bulk exchange; one core for either side.
//! - requests: small ones, with their latency. Reported, without a target.
//! - idle: what a thousand connections without traffic cost.
//! - paths: round trip time x loss, beside one TCP stream (CUBIC) through the same emulated path. Needs root and TUN
//!   devices: two network namespaces, a packet emulator of ours between them. `ARION_BENCH_MBIT` is the rate of its line,
//!   1,000 if nothing is said: a busy machine cannot emulate that.
//!
//! Both sides of every exchange are processes of their own: this program again, in a role that it is told in its
//! environment.

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

mod child;
mod emulator;
mod lab;
mod load;
mod paths;
mod reference;
mod table;

use child::Child;
use table::Table;

const MIB: usize = 1 << 20;
const KIB: usize = 1 << 10;
/// Figures are the best of so many rounds taken in turns.
const ROUNDS: usize = 5;
/// What a round moves each way.
const BULK_BYTES: usize = 256 << 20;
/// Calls under way at once.
const IN_FLIGHT: usize = 16;
/// Requests of a round; a tenth where they come one after the other.
const REQUESTS: usize = 20_000;
const IDLE: usize = 1_000;
const IDLE_MIB_MAX: f64 = 50.0;

/// Shards stored and fetched, against one stream of the same bytes in the same direction.
fn bulk(table: &mut Table) {
    for (what, kind, direction) in
        [("store, 1 MiB shards", "store", "up"), ("fetch, 1 MiB shards", "fetch", "down")]
    {
        let (mut reference, mut ours) = (Rates::default(), Rates::default());
        for _ in 0..ROUNDS {
            let (mut server, addr) = Child::server(0, &["quinn-serve", "127.0.0.1:0"]);
            let role = ["quinn-load", &addr, direction, &BULK_BYTES.to_string()];
            reference.keep(&Child::on_core(1, &role).figures(), &server);
            server.end();

            let (mut server, addr) = Child::server(0, &["serve", "127.0.0.1:0", "default"]);
            let count = BULK_BYTES / MIB;
            let role = load::arguments((&addr, "default"), kind, MIB, count, IN_FLIGHT, "warm");
            ours.keep(&Child::on_core(1, &role).figures(), &server);
            server.end();
        }
        table.ratio(what, "MiB/s", "quinn, one stream", reference.wall, ours.wall, Some(0.8));
        let what = format!("{what}, of CPU time");
        table.ratio(&what, "MiB/s", "quinn, one stream", reference.busy, ours.busy, None);
    }
}

/// MiB per second of the clock, and of the time that the busier side was on its processor: the latter is what one core a side
/// can do at most, and does not depend on what else the machine does.
#[derive(Default)]
struct Rates {
    wall: f64,
    busy: f64,
}

impl Rates {
    /// The best so far; `figures` are the client's.
    fn keep(&mut self, figures: &[f64], server: &Child) {
        let mib = (BULK_BYTES / MIB) as f64;
        self.wall = self.wall.max(mib / figures[0]);
        let busy = figures[1].max(server.busy_seconds());
        self.busy = self.busy.max(mib * 17.0 / 16.0 / busy);
    }
}

fn requests(table: &mut Table) {
    for (what, kind) in [("fetch, 4 KiB", "fetch"), ("store, 4 KiB", "store")] {
        for in_flight in [1, 64] {
            let mut best = [0.0; 3];
            for _ in 0..ROUNDS {
                let (mut server, addr) = Child::server(0, &["serve", "127.0.0.1:0", "default"]);
                let count = REQUESTS.min(in_flight * REQUESTS / 10);
                let figures = Child::on_core(
                    1,
                    &load::arguments((&addr, "default"), kind, 4 * KIB, count, in_flight, "warm"),
                )
                .figures();
                server.end();
                let rate = count as f64 / figures[0];
                if rate > best[0] {
                    best = [rate, figures[2], figures[3]];
                }
            }
            let what = format!("{what}, {in_flight} at once");
            table.figure(&what, "1/s", best[0]);
            table.figure(&format!("{what}, p50"), "us", best[1]);
            table.figure(&format!("{what}, p99"), "us", best[2]);
        }
    }
}

/// Growth of both processes, by connections that have carried a request or shards.
fn idle(table: &mut Table) {
    for (what, bytes) in [("a request each", 0), ("128 KiB each way", 128 * KIB)] {
        let (mut server, addr) = Child::server(0, &["serve", "0.0.0.0:0", "default"]);
        let before = server.resident_mib();
        let port = addr.rsplit(':').next().unwrap().to_owned();
        let mut client = Child::on_core(1, &["idle", &port, &IDLE.to_string(), &bytes.to_string()]);
        let client_before: f64 = client.line().parse().unwrap();
        assert_eq!(client.line(), "open");
        let (server_mib, client_mib) =
            (server.resident_mib() - before, client.resident_mib() - client_before);
        table.limit(&format!("{IDLE} idle connections, {what}: server"), "MiB", IDLE_MIB_MAX, server_mib);
        table.limit(&format!("{IDLE} idle connections, {what}: client"), "MiB", IDLE_MIB_MAX, client_mib);
        client.end();
        server.end();
    }
}

fn main() {
    if let Some(role) = child::role() {
        let role: Vec<&str> = role.split(' ').collect();
        return match role.as_slice() {
            ["quinn-serve", bind] => reference::serve(bind),
            ["quinn-load", addr, direction, bytes] => reference::load(addr, direction, bytes),
            ["tcp-serve", bind] => reference::tcp_serve(bind),
            ["tcp-load", addr] => reference::tcp_load(addr),
            ["serve", bind, control] => load::serve(bind, control),
            ["idle", port, count, bytes] => load::idle(port, count, bytes),
            ["load", rest @ ..] => load::load(rest),
            other => panic!("no such role: {other:?}"),
        };
    }
    // cargo says --bench.
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |part: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == part);
    let mut table = Table::new();
    for (part, run) in
        [("bulk", bulk as fn(&mut Table)), ("requests", requests), ("idle", idle), ("paths", paths::run)]
    {
        if is_wanted(part) {
            run(&mut table);
        }
    }
    table.end("transport");
}
