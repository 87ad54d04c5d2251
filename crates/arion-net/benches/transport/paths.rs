//! Round trip time x loss: how long a series of shards takes for what one TCP stream moved in [`TCP_TIME`].

use std::time::Duration;

use crate::{
    KIB, MIB,
    child::Child,
    emulator::{Shape, line_mbit},
    lab::{ADDRS, Lab},
    load,
    table::Table,
};

/// The default comes first; the other one is shown beside it, without a target.
const CONTROLS: [&str; 2] = ["adaptive", "CUBIC"];
/// How long TCP sends, from the established connection on, slow start included.
pub(crate) const TCP_TIME: Duration = Duration::from_secs(4);
/// Calls under way at once: enough 1 MiB shards for the longest path, twice.
const IN_FLIGHT: usize = 32;
const TARGET: f64 = 0.7;
/// Shards are no smaller.
const SHARD_BYTES_MIN: usize = 4 * KIB;
const RTTS_MS: [u64; 3] = [1, 20, 100];
const LOSSES_PPM: [u64; 3] = [0, 1_000, 10_000];

pub(crate) fn run(table: &mut Table) {
    let lab = match Lab::new() {
        Ok(lab) => lab,
        Err(why) => {
            return table.unmeasured("paths", &why, RTTS_MS.len() * LOSSES_PPM.len() * 2);
        }
    };
    println!("paths: a line of {} Mbit/s; RTT, loss and size of shards vary", line_mbit());
    let mut servers = Vec::new();
    let bind = format!("{}:0", ADDRS[1]);
    for role in [&["tcp-serve", &bind][..], &["serve", &bind, CONTROLS[0]], &["serve", &bind, CONTROLS[1]]] {
        let mut server = Child::in_namespace(&lab.namespaces[1].0, role);
        let addr = server.line();
        servers.push((server, addr));
    }
    for rtt_ms in RTTS_MS {
        for loss_ppm in LOSSES_PPM {
            lab.path.set(Shape { delay: Duration::from_micros(rtt_ms * 500), loss_ppm });
            let (tcp, addr) = &mut servers[0];
            let mut client = Child::in_namespace(&lab.namespaces[0].0, &["tcp-load", addr]);
            let moved: usize = tcp.line().parse().unwrap();
            client.end();
            let size = (moved / IN_FLIGHT / 4).clamp(SHARD_BYTES_MIN, MIB);
            let count = moved.div_ceil(size);
            let mib = (count * size) as f64 / MIB as f64;
            let reference = moved as f64 / MIB as f64 / TCP_TIME.as_secs_f64();
            for kind in ["store", "fetch"] {
                for (control, (_, addr)) in CONTROLS.iter().zip(&servers[1..]) {
                    let what = format!(
                        "{kind}, {rtt_ms} ms, {} %, {} KiB, {control}",
                        loss_ppm as f64 / 1e4,
                        size / KIB
                    );
                    let arguments = load::arguments((addr, control), kind, size, count, IN_FLIGHT, "cold");
                    let seconds = Child::in_namespace(&lab.namespaces[0].0, &arguments).figures()[0];
                    let target = (*control == CONTROLS[0]).then_some(TARGET);
                    table.ratio(&what, "MiB/s", "TCP, one stream", reference, mib / seconds, target);
                }
            }
        }
    }
}
