//! TLS 1.3 with as little of it as the two agents need: one key exchange, one kind of signature, and bare
//! public keys (RFC 7250) instead of certificates. What nobody uses is not linked in.

use crate::error::{AgentError, Result};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::{cipher_suite, kx_group, sign};
use rustls::crypto::{
    CryptoProvider, GetRandomFailed, KeyProvider, SecureRandom, WebPkiSupportedAlgorithms,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};
use std::sync::Arc;

/// What stands before the 32 bytes of an Ed25519 key in its SubjectPublicKeyInfo (RFC 8410).
const ED25519_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

fn failed(error: impl std::fmt::Display) -> AgentError {
    AgentError::Broken(format!("the direct link: {error}"))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![kx_group::X25519],
        // For certificates, of which there are none.
        signature_verification_algorithms: WebPkiSupportedAlgorithms {
            all: &[],
            mapping: &[],
        },
        secure_random: &Own,
        key_provider: &Own,
    })
}

/// The kernel's random numbers, and keys of the one kind.
#[derive(Debug)]
struct Own;

impl SecureRandom for Own {
    fn fill(&self, buffer: &mut [u8]) -> std::result::Result<(), GetRandomFailed> {
        SystemRandom::new()
            .fill(buffer)
            .map_err(|_| GetRandomFailed)
    }
}

impl KeyProvider for Own {
    fn load_private_key(
        &self,
        key: PrivateKeyDer<'static>,
    ) -> std::result::Result<Arc<dyn SigningKey>, rustls::Error> {
        match key {
            PrivateKeyDer::Pkcs8(key) => sign::any_eddsa_type(&key),
            _ => Err(rustls::Error::General("no key of ours".into())),
        }
    }
}

/// Makes a key; with the fingerprint by which the other side knows it: BLAKE3 of its SubjectPublicKeyInfo.
pub(crate) fn server() -> Result<(Arc<ServerConfig>, String)> {
    let (key, public) = new_key()?;
    let fingerprint = blake3::hash(&public).to_string();
    Ok((showing(public, key)?, fingerprint))
}

fn new_key() -> Result<(Arc<dyn SigningKey>, Vec<u8>)> {
    let secret = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
        .map_err(|_| failed("no key could be made"))?;
    let key = sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(secret.as_ref())).map_err(failed)?;
    let public = key
        .public_key()
        .ok_or_else(|| failed("a key without its public half"))?
        .to_vec();
    Ok((key, public))
}

/// Shows that public key, and signs with that key.
fn showing(public: Vec<u8>, key: Arc<dyn SigningKey>) -> Result<Arc<ServerConfig>> {
    let shown = CertifiedKey::new(vec![CertificateDer::from(public)], key);
    let keys = AlwaysResolvesServerRawPublicKeys::new(Arc::new(shown));
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(failed)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(keys));
    Ok(Arc::new(config))
}

/// Takes the key with this fingerprint and no other.
pub(crate) fn client(fingerprint: &str) -> Result<Arc<ClientConfig>> {
    let verifier = Pinned {
        fingerprint: fingerprint.to_owned(),
    };
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct Pinned {
    fingerprint: String,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        key: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        if blake3::hash(key).to_string() == self.fingerprint {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::CertificateError::UnknownIssuer.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("only TLS 1.3 is spoken here".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        key.strip_prefix(&ED25519_PREFIX)
            .filter(|_| signature.scheme == SignatureScheme::ED25519)
            .and_then(|key| {
                UnparsedPublicKey::new(&ED25519, key)
                    .verify(message, signature.signature())
                    .ok()
            })
            .map(|()| HandshakeSignatureValid::assertion())
            .ok_or_else(|| rustls::CertificateError::BadSignature.into())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{ClientConnection, ServerConnection};

    /// Lets the two talk until both are through, or one refuses.
    fn meet(
        server: Arc<ServerConfig>,
        client: Arc<ClientConfig>,
    ) -> std::result::Result<(), rustls::Error> {
        let name = ServerName::try_from("transship").unwrap();
        let mut client = ClientConnection::new(client, name).unwrap();
        let mut server = ServerConnection::new(server).unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            let mut read = &wire[..];
            while !read.is_empty() {
                server.read_tls(&mut read).unwrap();
                server.process_new_packets()?;
            }
            let mut wire = Vec::new();
            server.write_tls(&mut wire).unwrap();
            let mut read = &wire[..];
            while !read.is_empty() {
                client.read_tls(&mut read).unwrap();
                client.process_new_packets()?;
            }
        }
        Ok(())
    }

    #[test]
    fn who_shows_a_key_must_have_it() {
        let (key, public) = new_key().unwrap();
        let fingerprint = blake3::hash(&public).to_string();
        let client = || client(&fingerprint).unwrap();
        meet(showing(public.clone(), key).unwrap(), client()).unwrap();
        let (other, its_public) = new_key().unwrap();
        // The public half is no secret: whoever saw it can show it, and sign with something else.
        let error = meet(showing(public, Arc::clone(&other)).unwrap(), client()).unwrap_err();
        assert_eq!(error, rustls::CertificateError::BadSignature.into());
        let error = meet(showing(its_public, other).unwrap(), client()).unwrap_err();
        assert_eq!(error, rustls::CertificateError::UnknownIssuer.into());
    }
}
