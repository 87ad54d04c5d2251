//! Configuration files: the first byte says of which daemon.

#![no_main]

use arion_daemon::settings::check_text;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((daemon, text)) = bytes.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    match daemon {
        b'm' => check_text::<arion_miner::config::Config>(text),
        b'r' => check_text::<arion_relay::config::Config>(text),
        b's' => check_text::<arion_submitter::config::Config>(text),
        b'v' => check_text::<arion_validator::config::Config>(text),
        b'w' => check_text::<arion_warden::config::Config>(text),
        _ => check_text::<arion_gateway::config::Config>(text),
    };
});
