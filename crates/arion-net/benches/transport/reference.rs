//! What we are compared with: quinn's bulk exchange, and a TCP stream.
//!
//! quinn: the shape of the `bulk` benchmark of its repository: one bidirectional stream, one process and one
//! single-threaded runtime on either side, 1 MiB blocks that are sent without copying and read in order without being put
//! together, default settings but for acknowledgements after every tenth packet, AES-128, GSO on.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use quinn::{
    AckFrequencyConfig, ClientConfig, Endpoint, RecvStream, SendStream, ServerConfig, TransportConfig,
    VarInt,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use rustls::{
    DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
    server::AlwaysResolvesServerRawPublicKeys,
    sign::CertifiedKey,
};

use crate::{MIB, child, load::runtime, paths::TCP_TIME};

static BLOCK: [u8; MIB] = [0xab; MIB];

fn provider() -> Arc<CryptoProvider> {
    let cipher_suites = vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256];
    Arc::new(CryptoProvider { cipher_suites, ..ring::default_provider() })
}

fn transport() -> Arc<TransportConfig> {
    let mut acks = AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(VarInt::from_u32(10));
    let mut config = TransportConfig::default();
    config.ack_frequency_config(Some(acks));
    Arc::new(config)
}

/// The bench measures bytes, not identities.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

fn server_config() -> ServerConfig {
    let prefix =
        [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    let seed = ed25519_dalek::SigningKey::from_bytes(&[9; 32]);
    let secret = PrivatePkcs8KeyDer::from([&prefix[..], seed.as_bytes()].concat());
    let public = arion_net::spki(&arion_types::signing::node_id(&seed)).to_vec();
    let key = CertifiedKey::new(vec![public.into()], ring::sign::any_eddsa_type(&secret).unwrap());
    let tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(Arc::new(key))));
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
    config.transport_config(transport());
    config
}

fn client_config() -> ClientConfig {
    let tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    config.transport_config(transport());
    config
}

async fn send(stream: &mut SendStream, bytes: usize) {
    for _ in 0..bytes / MIB {
        stream.write_chunk(Bytes::from_static(&BLOCK)).await.unwrap();
    }
    stream.finish().unwrap();
    let _ = stream.stopped().await;
}

async fn drain(stream: &mut RecvStream) -> usize {
    let mut chunks: [Bytes; 32] = std::array::from_fn(|_| Bytes::new());
    let mut bytes = 0;
    while let Some(count) = stream.read_chunks(&mut chunks).await.unwrap() {
        bytes += chunks[..count].iter().map(Bytes::len).sum::<usize>();
    }
    bytes
}

/// Says where it listens. A request is the number of bytes wanted, then what the client sends.
pub(crate) fn serve(bind: &str) {
    let runtime = runtime();
    runtime.block_on(async {
        let endpoint = Endpoint::server(server_config(), bind.parse().unwrap()).unwrap();
        println!("{}", endpoint.local_addr().unwrap());
        let told = tokio::task::spawn_blocking(child::until_told);
        tokio::spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                let connection = incoming.await.unwrap();
                while let Ok((mut send_stream, mut recv)) = connection.accept_bi().await {
                    let mut wanted = [0; 8];
                    recv.read_exact(&mut wanted).await.unwrap();
                    drain(&mut recv).await;
                    send(&mut send_stream, u64::from_le_bytes(wanted) as usize).await;
                }
            }
        });
        told.await.unwrap();
    });
}

/// Prints the seconds that `bytes` took on one stream, and how many this process was on a processor for them and the
/// sixteenth that goes before.
pub(crate) fn load(addr: &str, direction: &str, bytes: &str) {
    let bytes: usize = bytes.parse().unwrap();
    let (up, down) = if direction == "up" { (bytes, 0) } else { (0, bytes) };
    runtime().block_on(async {
        let endpoint = Endpoint::client(([0, 0, 0, 0], 0).into()).unwrap();
        let connection =
            endpoint.connect_with(client_config(), addr.parse().unwrap(), "bench").unwrap().await.unwrap();
        // A sixteenth first, for both ends to have found the path's MTU and their windows.
        let mut seconds = 0.0;
        for part in [16, 1] {
            let begun = Instant::now();
            let (mut send_stream, mut recv) = connection.open_bi().await.unwrap();
            send_stream.write_all(&((down / part) as u64).to_le_bytes()).await.unwrap();
            send(&mut send_stream, up / part).await;
            assert_eq!(drain(&mut recv).await, down / part);
            seconds = begun.elapsed().as_secs_f64();
        }
        println!("{seconds} {}", child::busy_seconds("self"));
        connection.close(VarInt::from_u32(0), b"");
        endpoint.wait_idle().await;
    });
}

/// Reads from one connection at a time, from its start on for [`TCP_TIME`], and prints how many bytes came.
pub(crate) fn tcp_serve(bind: &str) {
    let listener = TcpListener::bind(bind).unwrap();
    println!("{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut buffer = vec![0; MIB];
        loop {
            let (mut stream, _) = listener.accept().unwrap();
            let begun = Instant::now();
            let mut bytes = 0;
            while begun.elapsed() < TCP_TIME {
                let left = TCP_TIME.saturating_sub(begun.elapsed()).max(Duration::from_millis(1));
                stream.set_read_timeout(Some(left)).unwrap();
                bytes += stream.read(&mut buffer).unwrap_or(0);
            }
            println!("{bytes}");
        }
    });
    child::until_told();
}

/// Sends with CUBIC until the other side has had enough.
pub(crate) fn tcp_load(addr: &str) {
    let mut stream = TcpStream::connect(addr).unwrap();
    socket2::SockRef::from(&stream).set_tcp_congestion(b"cubic").unwrap();
    while stream.write_all(&BLOCK).is_ok() {}
    println!("1");
}
