//! A peer that keeps no rules: it shows whatever key it is told to, signs whatever it is told to, offers any versions, trusts
//! everybody, and puts any bytes on a stream.

use std::{net::SocketAddr, sync::Arc};

use arion_types::{NodeId, signing};
use ed25519_dalek::{Signer as _, SigningKey};
use quinn::{
    ClientConfig, Endpoint, ServerConfig,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use rustls::{
    DigitallySignedStruct, DistinguishedName, SignatureAlgorithm, SignatureScheme,
    client::{
        AlwaysResolvesClientRawPublicKeys, ResolvesClientCert,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::ring as provider,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        AlwaysResolvesServerRawPublicKeys, ClientHello, ResolvesServerCert,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::{CertifiedKey, Signer, SigningKey as TlsKey},
};

/// Any port of this machine.
pub fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// A key from its number.
pub fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

/// The node id of [`key`].
pub fn node(seed: u8) -> NodeId {
    signing::node_id(&key(seed))
}

/// How the handshake is signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signature {
    /// As it should be.
    Honest,
    /// Over the transcript of some other handshake.
    OtherTranscript,
    /// Over the transcript, under the name of another scheme.
    OtherScheme(SignatureScheme),
    /// 64 bytes of nothing.
    Zero,
}

/// What a peer shows in a handshake.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The key it holds.
    pub secret: SigningKey,
    /// The public key it says it has: anything.
    pub public: Vec<u8>,
    /// How it signs.
    pub signature: Signature,
    /// As a raw public key; otherwise as an X.509 certificate.
    pub raw: bool,
}

impl Shown {
    /// The honest key with this number.
    pub fn honest(seed: u8) -> Self {
        let public = arion_net::spki(&node(seed)).to_vec();
        Self { secret: key(seed), public, signature: Signature::Honest, raw: true }
    }

    fn certified(&self) -> Arc<CertifiedKey> {
        let key = Forger { secret: self.secret.clone(), signature: self.signature };
        Arc::new(CertifiedKey::new(vec![CertificateDer::from(self.public.clone())], Arc::new(key)))
    }
}

#[derive(Clone, Debug)]
struct Forger {
    secret: SigningKey,
    signature: Signature,
}

impl TlsKey for Forger {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(self.clone()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for Forger {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        Ok(match self.signature {
            Signature::Honest | Signature::OtherScheme(_) => self.secret.sign(message).to_vec(),
            Signature::OtherTranscript => {
                let mut other = message.to_vec();
                if let Some(last) = other.last_mut() {
                    *last ^= 1;
                }
                self.secret.sign(&other).to_vec()
            }
            Signature::Zero => vec![0; 64],
        })
    }

    fn scheme(&self) -> SignatureScheme {
        match self.signature {
            Signature::OtherScheme(scheme) => scheme,
            _ => SignatureScheme::ED25519,
        }
    }
}

/// Shows a certificate where a raw key is asked for, or nothing.
#[derive(Debug)]
struct Certificate(Option<Arc<CertifiedKey>>);

impl ResolvesClientCert for Certificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }
}

/// Takes every key and every signature.
#[derive(Debug)]
struct Trusting {
    raw: bool,
}

fn names(versions: &[&str]) -> Vec<Vec<u8>> {
    versions.iter().map(|name| name.as_bytes().to_vec()).collect()
}

fn no_quic() -> rustls::Error {
    rustls::Error::General("no initial cipher suite".into())
}

/// A client that shows this key, or none, and offers these versions.
pub fn client(shown: Option<&Shown>, versions: &[&str]) -> Result<ClientConfig, rustls::Error> {
    let raw = shown.is_none_or(|shown| shown.raw);
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting { raw: true }));
    let certified = shown.map(Shown::certified);
    let mut config = match certified {
        Some(certified) if raw => {
            builder.with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(certified)))
        }
        certified => builder.with_client_cert_resolver(Arc::new(Certificate(certified))),
    };
    config.alpn_protocols = names(versions);
    config.enable_sni = false;
    Ok(ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).map_err(|_| no_quic())?)))
}

/// A server that shows this key and takes these versions, the first best.
pub fn server(shown: &Shown, versions: &[&str]) -> Result<ServerConfig, rustls::Error> {
    let certified = shown.certified();
    let resolver: Arc<dyn ResolvesServerCert> = match shown.raw {
        true => Arc::new(AlwaysResolvesServerRawPublicKeys::new(certified)),
        false => Arc::new(Certificate(Some(certified))),
    };
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(Trusting { raw: true }))
        .with_cert_resolver(resolver);
    config.alpn_protocols = names(versions);
    Ok(ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(config).map_err(|_| no_quic())?)))
}

/// A connection as that client; the server has not judged its key yet.
pub async fn connect(server: SocketAddr, config: ClientConfig) -> Result<quinn::Connection, String> {
    let endpoint = Endpoint::client(loopback()).map_err(|error| error.to_string())?;
    let connecting = endpoint.connect_with(config, server, "arion").map_err(|error| error.to_string())?;
    connecting.await.map_err(|error| error.to_string())
}

/// Sends `bytes` on a stream of its own and returns all that comes back.
pub async fn exchange(connection: &quinn::Connection, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let (mut send, mut recv) = connection.open_bi().await.map_err(|error| error.to_string())?;
    // The server may have answered before it had read everything.
    let _ = send.write_all(bytes).await;
    let _ = send.finish();
    recv.read_to_end(2 << 20).await.map_err(|error| error.to_string())
}

impl ServerCertVerifier for Trusting {
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
        self.raw
    }
}

impl ClientCertVerifier for Trusting {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
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
        self.raw
    }
}
