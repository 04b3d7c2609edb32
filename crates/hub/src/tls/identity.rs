//! Certificates with their keys, and which one a server shows to whom.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, Error, InconsistentKeys, SignatureAlgorithm, SignatureScheme};

use super::config::ConfigError;
use super::notes::Notes;

/// A certificate chain with its key, as PEM texts.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// For which name: `a.example`, `*.example`, or empty for all others.
    pub name: &'a str,
    /// The certificate, followed by those that lead to the root.
    pub certificate: &'a str,
    /// The key of the first certificate: PKCS#8, PKCS#1 or SEC1.
    pub key: &'a str,
}

impl Identity<'_> {
    pub(super) fn load(&self, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, ConfigError> {
        let chain = certificates("cert", self.certificate)?;
        let key = private_key(self.key)?;
        CertifiedKey::from_der(chain, key, provider).map(Arc::new).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                ConfigError::new("key", "is not the key of the first certificate in cert")
            }
            Error::InvalidCertificate(error) => {
                ConfigError::new("cert", format!("begins with a certificate that cannot be used: {error}"))
            }
            _ => ConfigError::new(
                "key",
                "is of a kind that is not supported: RSA of 2048 bits or more, P-256, P-384, P-521 and Ed25519 are",
            ),
        })
    }
}

/// The certificates of a PEM text, at least one.
pub(super) fn certificates(
    argument: &'static str,
    text: &str,
) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let found = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| ConfigError::new(argument, pem_problem(&error)))?;
    if found.is_empty() {
        return Err(ConfigError::new(argument, "has no PEM section 'CERTIFICATE'"));
    }
    Ok(found)
}

fn private_key(text: &str) -> Result<PrivateKeyDer<'static>, ConfigError> {
    if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(ConfigError::new(
            "key",
            "is encrypted, which is not supported: decrypt it first, as \
             crypto.createPrivateKey({ key, passphrase }).export({ type: 'pkcs8', format: 'pem' }) does",
        ));
    }
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| match error {
        PemError::NoItemsFound => {
            ConfigError::new("key", "has no PEM section 'PRIVATE KEY', 'RSA PRIVATE KEY' or 'EC PRIVATE KEY'")
        }
        error => ConfigError::new("key", pem_problem(&error)),
    })
}

fn pem_problem(error: &PemError) -> String {
    match error {
        PemError::MissingSectionEnd { .. } => "is PEM that is cut off: a section has no end".into(),
        PemError::Base64Decode(_) => "is PEM with something in it that is not Base64".into(),
        other => format!("is not PEM: {other}"),
    }
}

/// The identities of a server. The client's wishes decide: the name first, then what it can verify.
#[derive(Debug)]
pub(super) struct ServerIdentities {
    by_name: HashMap<String, Vec<Arc<CertifiedKey>>>,
    others: Vec<Arc<CertifiedKey>>,
    notes: Arc<Notes>,
}

impl ServerIdentities {
    pub(super) fn load(
        identities: &[Identity<'_>],
        provider: &CryptoProvider,
        notes: Arc<Notes>,
    ) -> Result<Self, ConfigError> {
        let mut all = Self { by_name: HashMap::new(), others: Vec::new(), notes };
        for identity in identities {
            let loaded = identity.load(provider)?;
            let name = identity.name.to_ascii_lowercase();
            let place = if name.is_empty() { &mut all.others } else { all.by_name.entry(name).or_default() };
            place.push(loaded);
        }
        Ok(all)
    }

    fn of_name(&self, name: Option<&str>) -> &[Arc<CertifiedKey>] {
        let exact = name.and_then(|name| self.by_name.get(name));
        let wildcard = || {
            let (_, parent) = name?.split_once('.')?;
            self.by_name.get(&format!("*.{parent}"))
        };
        exact.or_else(wildcard).unwrap_or(&self.others)
    }
}

impl ResolvesServerCert for ServerIdentities {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let candidates = self.of_name(name.as_deref());
        let usable =
            |key: &&Arc<CertifiedKey>| is_usable(key, hello.signature_schemes(), hello.cipher_suites());
        // If none is, the first one makes rustls tell why.
        let chosen = candidates.iter().find(usable).or(candidates.first()).cloned();
        self.notes.pending().server_name = name;
        chosen
    }
}

/// Whether a client with these signature schemes and cipher suites can do anything with a key.
fn is_usable(key: &CertifiedKey, schemes: &[SignatureScheme], suites: &[CipherSuite]) -> bool {
    // Suites of TLS 1.3 go with any key; those of TLS 1.2 name a kind.
    let goes_with = |suite: &CipherSuite| {
        format!("{suite:?}").split_once("_WITH_").is_none_or(|(exchange, _)| {
            exchange.ends_with("_ECDSA") == (key.key.algorithm() != SignatureAlgorithm::RSA)
        })
    };
    key.key.choose_scheme(schemes).is_some() && suites.iter().any(goes_with)
}

/// The one identity of a client, shown to every server that asks.
#[derive(Debug)]
pub(super) struct ClientIdentities(pub(super) Vec<Arc<CertifiedKey>>);

impl ResolvesClientCert for ClientIdentities {
    fn resolve(&self, _issuers: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.iter().find(|key| key.key.choose_scheme(schemes).is_some()).cloned()
    }

    fn has_certs(&self) -> bool {
        !self.0.is_empty()
    }
}
