//! A chain node that has nothing but a genesis hash.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha1::{Digest, Sha1};

/// RFC 6455, section 1.3.
const WEBSOCKET_GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const TEXT: u8 = 0x81;
const HEADER_BYTES_MAX: usize = 16 << 10;

/// JSON-RPC over WebSocket where every block has the same hash.
pub struct FakeNode {
    addr: SocketAddr,
}

impl FakeNode {
    /// Listens; serves until the process ends.
    pub fn start(addr: SocketAddr, genesis: [u8; 32]) -> Self {
        let listener = TcpListener::bind(addr).unwrap();
        let addr = listener.local_addr().unwrap();
        let hash: String = genesis.iter().map(|byte| format!("{byte:02x}")).collect();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let hash = format!("0x{hash}");
                thread::spawn(move || serve(stream, &hash));
            }
        });
        Self { addr }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("ws://{}", self.addr)
    }
}

fn serve(mut stream: TcpStream, hash: &str) -> io::Result<()> {
    let mut header = Vec::new();
    while !header.ends_with(b"\r\n\r\n") && header.len() < HEADER_BYTES_MAX {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        header.extend(byte);
    }
    let header = String::from_utf8_lossy(&header).into_owned();
    let mut fields = header.lines().filter_map(|line| line.split_once(": "));
    let key = fields.find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"));
    let accept = format!("{}{WEBSOCKET_GUID}", key.map_or("", |(_, key)| key.trim()));
    let accept = STANDARD.encode(Sha1::digest(accept));
    write!(
        stream,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )?;
    loop {
        let (opcode, request) = frame(&mut stream)?;
        let Ok(request) = serde_json::from_slice::<Value>(&request) else { continue };
        if opcode != TEXT {
            continue;
        }
        let answer = json!({ "jsonrpc": "2.0", "id": request["id"], "result": hash }).to_string();
        // Answers are short: their length fits the first form.
        stream.write_all(&[TEXT, answer.len() as u8])?;
        stream.write_all(answer.as_bytes())?;
    }
}

/// A frame of a client, which are masked.
fn frame(stream: &mut TcpStream) -> io::Result<(u8, Vec<u8>)> {
    let mut start = [0; 2];
    stream.read_exact(&mut start)?;
    let len = match start[1] & 0x7f {
        126 => {
            let mut len = [0; 2];
            stream.read_exact(&mut len)?;
            usize::from(u16::from_be_bytes(len))
        }
        127 => return Err(io::ErrorKind::InvalidData.into()),
        len => usize::from(len),
    };
    let mut mask = [0; 4];
    stream.read_exact(&mut mask)?;
    let mut payload = vec![0; len];
    stream.read_exact(&mut payload)?;
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Ok((start[0], payload))
}
