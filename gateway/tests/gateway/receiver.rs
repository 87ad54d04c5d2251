//! What takes webhooks: an HTTP server on loopback that keeps what it was told and answers as it is asked to.

#![allow(unreachable_pub, clippy::unwrap_used)]

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU16, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::Value;

/// A request.
#[derive(Clone, Debug)]
pub struct Told {
    pub path: String,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Told {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    /// Name of the event and key; of a test its bucket.
    pub fn what(&self) -> (String, String) {
        let body = self.json();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match &body["Event"] {
            Value::Null => {
                let record = &body["Records"][0];
                (text(&record["eventName"]), text(&record["s3"]["object"]["key"]))
            }
            test => (text(test), text(&body["Bucket"])),
        }
    }
}

#[derive(Default)]
struct State {
    told: Mutex<Vec<Told>>,
    /// 0 takes the connection and says nothing.
    status: AtomicU16,
    location: Mutex<Option<String>>,
    stopped: AtomicBool,
}

pub struct Receiver {
    address: SocketAddr,
    state: Arc<State>,
    accepting: Option<JoinHandle<()>>,
}

impl Receiver {
    /// Takes whatever it is told.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State { status: AtomicU16::new(200), ..State::default() });
        let shared = state.clone();
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let state = shared.clone();
                std::thread::spawn(move || serve(stream.unwrap(), &state));
            }
        });
        Self { address, state, accepting: Some(accepting) }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Answers this from now on; 0 for nothing at all.
    pub fn answer(&self, status: u16) {
        self.state.status.store(status, Ordering::SeqCst);
    }

    pub fn redirect(&self, to: String) {
        *self.state.location.lock().unwrap() = Some(to);
        self.answer(307);
    }

    pub fn told(&self) -> Vec<Told> {
        self.state.told.lock().unwrap().clone()
    }

    /// What it was told, as soon as that is enough.
    pub fn when(&self, what: &str, enough: impl Fn(&[Told]) -> bool) -> Vec<Told> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let told = self.told();
            if enough(&told) {
                return told;
            }
            assert!(
                Instant::now() < deadline,
                "{what}: {:?}",
                told.iter().map(Told::what).collect::<Vec<_>>()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn forget(&self) {
        self.state.told.lock().unwrap().clear();
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        let _ = self.accepting.take().map(JoinHandle::join);
    }
}

/// Requests of one connection.
fn serve(stream: TcpStream, state: &State) {
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    while let Some(told) = read(&mut reader) {
        state.told.lock().unwrap().push(told);
        let status = state.status.load(Ordering::SeqCst);
        if status == 0 {
            // Held until whoever asks gives up.
            let _ = reader.read(&mut [0]);
            return;
        }
        let location = state.location.lock().unwrap().clone();
        let location = location.map(|to| format!("location: {to}\r\n")).unwrap_or_default();
        let answer = format!("HTTP/1.1 {status} X\r\n{location}content-length: 2\r\n\r\nok");
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Told> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some(Told { path, headers, body })
}
