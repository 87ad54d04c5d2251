//! Every message has one committed frame in `golden/`, byte by byte: a frame that this version writes otherwise, or reads
//! as something else, is a break of the protocol.
//!
//! The fields are laid out by hand in `requests.rs` and `responses.rs`, apart from the encoder under test. A missing file is
//! written by `ARION_GOLDEN=write cargo test -p arion-protocol --test golden`; a file that exists is never written.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

mod layout;
mod requests;
mod responses;

use std::{collections::BTreeSet, fmt::Debug, fs, path::PathBuf};

use arion_protocol::{
    ErrorCode, Request, RequestHeader, Response, ResponseHeader, UnnamedQuestion,
    frame::{self, Header, PREFIX_BYTES},
};
use layout::{Golden, text};

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// The file of a request. No wildcard: a new variant does not compile until it has one.
fn request_file(request: &Request) -> &'static str {
    match request {
        Request::Ping => "request-ping",
        Request::Store(_) => "request-store",
        Request::Fetch { .. } => "request-fetch",
        Request::FetchRange { .. } => "request-fetch-range",
        Request::Stat { .. } => "request-stat",
        Request::List { .. } => "request-list",
        Request::Delete(_) => "request-delete",
        Request::Challenge { .. } => "request-challenge",
        Request::Heartbeat(_) => "request-heartbeat",
        Request::LedgerPage { .. } => "request-ledger-page",
        Request::Miners { .. } => "request-miners",
        Request::Attest => "request-attest",
        Request::Restore(_) => "request-restore",
        Request::Relocated { .. } => "request-relocated",
        Request::AttestShown => "request-attest-shown",
        Request::LedgerSince { .. } => "request-ledger-since",
        Request::Custody { .. } => "request-custody",
        Request::Durability => "request-durability",
        Request::LedgerFrom { .. } => "request-ledger-from",
        Request::Unnamed { .. } => "request-unnamed",
        Request::UnnamedByOthers { .. } => "request-unnamed-by-others",
        Request::Transitions { .. } => "request-transitions",
        Request::LedgerBase => "request-ledger-base",
    }
}

/// The file of a response.
fn response_file(response: &Response) -> &'static str {
    match response {
        Response::Error { .. } => "response-error",
        Response::Pong { .. } => "response-pong",
        Response::Stored(_) => "response-stored",
        Response::Shard { .. } => "response-shard",
        Response::Stats(_) => "response-stats",
        Response::Listing(_) => "response-listing",
        Response::Deleted { .. } => "response-deleted",
        Response::Proof { .. } => "response-proof",
        Response::HeartbeatAccepted { .. } => "response-heartbeat-accepted",
        Response::Ledger(_) => "response-ledger",
        Response::Miners(_) => "response-miners",
        Response::AttestationsQueued { .. } => "response-attestations-queued",
        Response::Restored { .. } => "response-restored",
        Response::Relocated { .. } => "response-relocated",
        Response::AttestationsKept { .. } => "response-attestations-kept",
        Response::LedgerLines(_) => "response-ledger-lines",
        Response::Custody(_) => "response-custody",
        Response::Durability(_) => "response-durability",
        Response::Unnamed(_) => "response-unnamed",
        Response::Transitions(_) => "response-transitions",
        Response::LedgerBase(_) => "response-ledger-base",
    }
}

/// Text of the file; where there is none, it is made if that was asked for.
fn committed(name: &str, rendered: &str) -> String {
    let path = directory().join(format!("{name}.hex"));
    if !path.exists() && std::env::var_os("ARION_GOLDEN").is_some_and(|value| value == "write") {
        fs::create_dir_all(directory()).unwrap();
        fs::write(&path, rendered).unwrap();
    }
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Bytes of a golden text: hex digits, spaces and line ends, comments from `#`.
fn bytes(text: &str) -> Vec<u8> {
    let digits: String = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default())
        .flat_map(|line| line.chars().filter(|character| !character.is_whitespace()))
        .collect();
    hex::decode(digits).unwrap()
}

fn check<H: Header + PartialEq + Debug>(name: &str, header: &H, golden: &Golden) {
    let rendered = text(golden);
    assert_eq!(committed(name, &rendered), rendered, "{name}.hex is not what its fields say");
    let wire = bytes(&rendered);
    let mut sent = header.to_frame().unwrap();
    sent.extend_from_slice(&golden.body);
    assert_eq!(hex::encode(&sent), hex::encode(&wire), "{name} is written otherwise");

    let (prefix, rest) = wire.split_at(PREFIX_BYTES);
    let (read, body) = rest.split_at(frame::header_len(prefix.try_into().unwrap()).unwrap());
    let read = H::from_bytes(read).unwrap();
    assert_eq!(&read, header, "{name} is read otherwise");
    assert_eq!(body.len(), read.body_len() as usize, "{name}");
}

#[test]
fn every_request_is_frozen() {
    let mut seen = BTreeSet::new();
    for golden in requests::all() {
        let name = request_file(&golden.message);
        assert!(seen.insert(golden.kind), "{name} twice");
        let (body_len, request) = (golden.golden.body.len() as u32, golden.message);
        check(name, &RequestHeader { id: layout::ID, body_len, request }, &golden.golden);
    }
    assert_eq!(seen, (0..Request::KINDS).collect());
}

#[test]
fn every_response_is_frozen() {
    let mut seen = BTreeSet::new();
    for golden in responses::all() {
        let name = response_file(&golden.message);
        assert!(seen.insert(golden.kind), "{name} twice");
        let (body_len, response) = (golden.golden.body.len() as u32, golden.message);
        check(name, &ResponseHeader { id: layout::ID, body_len, response }, &golden.golden);
    }
    assert_eq!(seen, (0..Response::KINDS).collect());
}

/// A second implementer checks signatures with these files: they have to be good.
#[test]
fn what_is_signed_verifies() {
    use arion_types::signing;
    use codec::DecodeAll;
    for golden in requests::all() {
        match &golden.message {
            Request::Store(command) | Request::Delete(command) | Request::Restore(command) => {
                let target = signing::node_id(&layout::miner());
                assert_eq!(command.check(&layout::GENESIS, &target, layout::EXPIRES_AT - 1), Ok(()));
            }
            Request::Heartbeat(heartbeat) => assert!(heartbeat.verify(&layout::GENESIS)),
            Request::Attest => {
                let records =
                    Vec::<arion_types::AttestationRecord>::decode_all(&mut &golden.golden.body[..]).unwrap();
                assert!(!records.is_empty() && records.iter().all(|record| record.verify(&layout::GENESIS)));
            }
            Request::AttestShown => {
                let shown =
                    Vec::<arion_types::ShownAttestation>::decode_all(&mut &golden.golden.body[..]).unwrap();
                assert_eq!(shown.len(), 3);
                assert!(shown.iter().all(|shown| shown.record.verify(&layout::GENESIS)));
            }
            _ => {}
        }
    }
    for golden in responses::all() {
        if let Response::Unnamed(word) = &golden.message {
            let asked = [layout::shard(), arion_types::ShardHash(layout::STRIPE)];
            assert!(word.verify(&layout::GENESIS, UnnamedQuestion { shards: &asked, but: None }));
        }
    }
    assert!(layout::receipt().verify(&layout::GENESIS));
}

#[test]
fn there_is_no_file_too_many() {
    let known: BTreeSet<String> = requests::all()
        .iter()
        .map(|golden| request_file(&golden.message))
        .chain(responses::all().iter().map(|golden| response_file(&golden.message)))
        .map(|name| format!("{name}.hex"))
        .collect();
    let there: BTreeSet<String> = fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    assert_eq!(there, known);
}

/// The table in docs/spec/wire.md.
#[test]
fn error_codes_are_frozen() {
    let table = "Malformed Unsupported Unauthorized NotRegistered BadSignature Expired Replayed Misdirected NotFound \
                 Damaged HashMismatch NoSpace Busy Unavailable Conflict Misplaced TooEarly";
    let names: Vec<String> = ErrorCode::NAMED.iter().map(|code| format!("{code:?}")).collect();
    assert_eq!(names.join(" "), table);
    assert!(ErrorCode::NAMED.iter().zip(1u8..).all(|(code, number)| code.number() == number));
    let spec = fs::read_to_string(directory().join("../../../docs/spec/wire.md")).unwrap();
    for (name, number) in names.iter().zip(1..) {
        assert!(spec.contains(&format!("| {number} | `{name}` |")), "{name} is not in docs/spec/wire.md");
    }
}
