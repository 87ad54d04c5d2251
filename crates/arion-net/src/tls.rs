//! TLS 1.3 with raw public keys (RFC 7250) on both sides.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arion_protocol::ALPNS;
use arion_types::{NodeId, signing};
use ed25519_dalek::SigningKey;
use quinn::{Connecting, Connection, ConnectionError, VarInt};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved,
    ServerConfig, SignatureScheme,
    client::{
        AlwaysResolvesClientRawPublicKeys, ResolvesClientCert, Resumption, Tls12Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring as provider, verify_tls13_signature_with_raw_key},
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime},
    server::{
        AlwaysResolvesServerRawPublicKeys,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
    version::TLS13,
};

use tokio::sync::oneshot;

use crate::{
    identity::{node_id_from_spki, pkcs8, spki},
    resume::{Sessions, Ticket},
};

/// Our key, ready for handshakes.
#[derive(Clone, Debug)]
pub(crate) struct TlsIdentity {
    provider: Arc<CryptoProvider>,
    key: Arc<CertifiedKey>,
    /// One for all connections: sessions belong to it.
    shown_to_servers: Arc<dyn ResolvesClientCert>,
}

impl TlsIdentity {
    pub(crate) fn new(key: &SigningKey) -> Result<Self, Error> {
        let public = CertificateDer::from(spki(&signing::node_id(key)).to_vec());
        let secret = provider::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8(key.as_bytes())))?;
        let key = Arc::new(CertifiedKey::new(vec![public], secret));
        Ok(Self {
            provider: Arc::new(provider::default_provider()),
            shown_to_servers: Arc::new(AlwaysResolvesClientRawPublicKeys::new(key.clone())),
            key,
        })
    }

    /// What a client needs to reach the peer that `check` expects.
    pub(crate) fn client_config(&self, check: Arc<PeerCheck>) -> Result<ClientConfig, Error> {
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(check.clone())
            .with_client_cert_resolver(self.shown_to_servers.clone());
        config.alpn_protocols = alpns();
        config.enable_sni = false;
        config.resumption =
            Resumption::store(check.ticket.clone()).tls12_resumption(Tls12Resumption::Disabled);
        config.enable_early_data = true;
        Ok(config)
    }

    /// What a server needs; any proven Ed25519 key may connect, roles are looked up per request.
    pub(crate) fn server_config(&self) -> Result<ServerConfig, Error> {
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::new(AnyNode { provider: self.provider.clone() }))
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(self.key.clone())));
        config.alpn_protocols = alpns();
        // Kept here and used once, unlike tickets that carry their session with them.
        config.session_storage = Arc::new(Sessions::new());
        config.send_tls13_tickets = 1;
        // QUIC bounds early data by flow control; TLS has to say this number.
        config.max_early_data_size = u32::MAX;
        Ok(config)
    }

    pub(crate) fn peer_check(&self, expected: NodeId) -> Arc<PeerCheck> {
        Arc::new(PeerCheck {
            provider: self.provider.clone(),
            expected,
            ticket: Arc::default(),
            handshake: Mutex::default(),
        })
    }
}

fn alpns() -> Vec<Vec<u8>> {
    ALPNS.iter().map(|name| name.to_vec()).collect()
}

/// Accepts exactly one server key. Kept from one connection to the next, with the session that the next may take up; used by
/// one handshake at a time.
#[derive(Debug)]
pub(crate) struct PeerCheck {
    provider: Arc<CryptoProvider>,
    expected: NodeId,
    ticket: Arc<Ticket>,
    handshake: Mutex<Handshake>,
}

/// What is only of the handshake under way.
#[derive(Debug, Default)]
struct Handshake {
    presented: Option<NodeId>,
    early: Option<oneshot::Sender<Connection>>,
}

impl PeerCheck {
    fn handshake(&self) -> MutexGuard<'_, Handshake> {
        self.handshake.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the last handshake. `early` is handed the connection of the next one if that can carry early data, and
    /// dropped as soon as it is known that it cannot.
    pub(crate) fn begin(&self, early: Option<oneshot::Sender<Connection>>) {
        *self.handshake() = Handshake { presented: None, early };
    }

    /// The key that was presented, where it is not the expected one.
    pub(crate) fn impostor(&self) -> Option<NodeId> {
        self.handshake().presented.filter(|presented| *presented != self.expected)
    }

    /// Waits for the handshake of a client; who waits for early data is told first.
    pub(crate) async fn shake(&self, connecting: Connecting) -> Result<Connection, ConnectionError> {
        let early = self.handshake().early.take();
        let (connection, done) = match connecting.into_0rtt() {
            Ok(begun) => begun,
            Err(connecting) => {
                drop(early);
                return connecting.await;
            }
        };
        if let Some(early) = early {
            let _ = early.send(connection.clone());
        }
        // Who gives the handshake up gives up the requests, too, that went out with it.
        let mut given_up = CloseOnDrop(Some(connection.clone()));
        // Whether early data was taken is told to who sent it.
        done.await;
        given_up.0 = None;
        match connection.close_reason() {
            Some(error) => Err(error),
            None => Ok(connection),
        }
    }
}

/// Closes the connection of a handshake that nobody waits for any more.
struct CloseOnDrop(Option<Connection>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        if let Some(connection) = &self.0 {
            connection.close(VarInt::from_u32(0), b"handshake given up");
        }
    }
}

/// Accepts any Ed25519 client key.
#[derive(Debug)]
struct AnyNode {
    provider: Arc<CryptoProvider>,
}

fn parse(end_entity: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> Result<NodeId, Error> {
    if !intermediates.is_empty() {
        return Err(Error::InvalidCertificate(CertificateError::BadEncoding));
    }
    node_id_from_spki(end_entity).map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))
}

fn verify_tls13(
    provider: &CryptoProvider,
    message: &[u8],
    key: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    if signature.scheme != SignatureScheme::ED25519 {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    }
    let key = SubjectPublicKeyInfoDer::from(key.as_ref());
    verify_tls13_signature_with_raw_key(message, &key, signature, &provider.signature_verification_algorithms)
}

fn tls12_is_off() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::PeerIncompatible(rustls::PeerIncompatible::Tls12NotOfferedOrEnabled))
}

impl ServerCertVerifier for PeerCheck {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let presented = parse(end_entity, intermediates)?;
        self.handshake().presented = Some(presented);
        if presented != self.expected {
            return Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        tls12_is_off()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13(&self.provider, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for AnyNode {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        parse(end_entity, intermediates).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        tls12_is_off()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13(&self.provider, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
