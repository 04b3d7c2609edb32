//! Whom to trust: webpki's judgement, and what OpenSSL, and thereby Node, accepts beyond it.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};

use super::config::ConfigError;
use super::der::Facts;
use super::error::{Chain, TlsError, refusal};
use super::notes::Notes;

/// The certificates that are trusted.
#[derive(Debug)]
pub(super) struct Roots {
    store: Arc<RootCertStore>,
    /// As they were given: a certificate among them is trusted for itself.
    certificates: Vec<CertificateDer<'static>>,
}

impl Roots {
    pub(super) fn load(texts: &[&str]) -> Result<Self, ConfigError> {
        let mut store = RootCertStore::empty();
        let mut certificates = Vec::new();
        for text in texts {
            for certificate in super::identity::certificates("ca", text)? {
                store.add(certificate.clone()).map_err(|error| {
                    ConfigError::new("ca", format!("has a certificate that cannot be used: {error}"))
                })?;
                certificates.push(certificate);
            }
        }
        Ok(Self { store: Arc::new(store), certificates })
    }

    /// Judges a chain that webpki refuses: a self-signed certificate that was given as a root may also be shown by the
    /// peer itself, though it is marked as a root's.
    fn accept_root(
        &self,
        refused: Error,
        end_entity: &CertificateDer<'_>,
        name: Option<&ServerName<'_>>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let Some(facts) = Facts::of(end_entity).filter(Facts::is_self_issued) else { return Err(refused) };
        if !self.certificates.iter().any(|root| root == end_entity) {
            return Err(refused);
        }
        if now.as_secs() < facts.not_before {
            return Err(CertificateError::NotValidYet.into());
        }
        if now.as_secs() > facts.not_after {
            return Err(CertificateError::Expired.into());
        }
        name.map_or(Ok(()), |name| verify_server_name(&ParsedCertificate::try_from(end_entity)?, name))
    }
}

/// How strict a verifier is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strictness {
    /// Whether a chain that is not trusted ends the handshake.
    pub(super) reject: bool,
    /// Whether the name of a server must be one of its certificate's.
    pub(super) check_name: bool,
}

/// The judgement of clients about servers.
#[derive(Debug)]
pub(super) struct ServerJudge {
    webpki: Option<Arc<WebPkiServerVerifier>>,
    roots: Roots,
    strictness: Strictness,
    algorithms: WebPkiSupportedAlgorithms,
    notes: Arc<Notes>,
}

impl ServerJudge {
    pub(super) fn new(
        roots: Roots,
        strictness: Strictness,
        provider: &Arc<CryptoProvider>,
        notes: Arc<Notes>,
    ) -> Result<Self, ConfigError> {
        let store = Arc::clone(&roots.store);
        let webpki = if store.is_empty() {
            None
        } else {
            let builder = WebPkiServerVerifier::builder_with_provider(store, Arc::clone(provider));
            Some(builder.build().map_err(|error| ConfigError::new("ca", error.to_string()))?)
        };
        let algorithms = provider.signature_verification_algorithms;
        Ok(Self { webpki, roots, strictness, algorithms, notes })
    }

    fn judge(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<(), Error> {
        let judged = self.webpki.as_ref().map_or(Err(CertificateError::UnknownIssuer.into()), |webpki| {
            webpki.verify_server_cert(end_entity, intermediates, name, ocsp, now)
        });
        let Err(error) = judged else { return Ok(()) };
        // webpki looks at the name last.
        if is_about_name(&error) {
            return if self.strictness.check_name { Err(error) } else { Ok(()) };
        }
        self.roots.accept_root(error, end_entity, self.strictness.check_name.then_some(name), now)
    }

    /// Why a server is not authorized, although it was not rejected.
    pub(super) fn objection(
        &self,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Option<TlsError> {
        let (end_entity, intermediates) = chain.split_first()?;
        let error = self.judge(end_entity, intermediates, name, &[], now).err()?;
        Some(explain(&error, end_entity, intermediates, &name.to_str()))
    }
}

impl ServerCertVerifier for ServerJudge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.strictness.reject {
            self.judge(end_entity, intermediates, name, ocsp, now).inspect_err(|error| {
                note_refusal(&self.notes, error, end_entity, intermediates, &name.to_str());
            })?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The judgement of servers about clients.
#[derive(Debug)]
pub(super) struct ClientJudge {
    webpki: Option<Arc<dyn ClientCertVerifier>>,
    roots: Roots,
    reject: bool,
    /// Which roots to tell the client about.
    hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
    notes: Arc<Notes>,
}

impl ClientJudge {
    pub(super) fn new(
        roots: Roots,
        reject: bool,
        name_roots: bool,
        provider: &Arc<CryptoProvider>,
        notes: Arc<Notes>,
    ) -> Result<Self, ConfigError> {
        let store = Arc::clone(&roots.store);
        let hints = if name_roots { store.subjects() } else { Vec::new() };
        let webpki = if store.is_empty() {
            None
        } else {
            let builder = WebPkiClientVerifier::builder_with_provider(store, Arc::clone(provider));
            Some(builder.build().map_err(|error| ConfigError::new("ca", error.to_string()))?)
        };
        let algorithms = provider.signature_verification_algorithms;
        Ok(Self { webpki, roots, reject, hints, algorithms, notes })
    }

    fn judge(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let judged = self.webpki.as_ref().map_or(Err(CertificateError::UnknownIssuer.into()), |webpki| {
            webpki.verify_client_cert(end_entity, intermediates, now)
        });
        judged.map(drop).or_else(|error| self.roots.accept_root(error, end_entity, None, now))
    }

    /// Why a client is not authorized, although it was not rejected.
    pub(super) fn objection(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Option<TlsError> {
        let (end_entity, intermediates) = chain.split_first()?;
        let error = self.judge(end_entity, intermediates, now).err()?;
        Some(explain(&error, end_entity, intermediates, ""))
    }
}

impl ClientCertVerifier for ClientJudge {
    fn client_auth_mandatory(&self) -> bool {
        self.reject
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if self.reject {
            self.judge(end_entity, intermediates, now).inspect_err(|error| {
                note_refusal(&self.notes, error, end_entity, intermediates, "");
            })?;
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn is_about_name(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
        )
    )
}

fn note_refusal(
    notes: &Notes,
    error: &Error,
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    name: &str,
) {
    let mut pending = notes.pending();
    pending.refusal = Some(explain(error, end_entity, intermediates, name));
    pending.refused_chain = std::iter::once(end_entity)
        .chain(intermediates)
        .map(|certificate| certificate.clone().into_owned())
        .collect();
}

fn explain(
    error: &Error,
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    name: &str,
) -> TlsError {
    let Error::InvalidCertificate(error) = error else { return TlsError::of(error) };
    let is_self_signed =
        |certificate: &CertificateDer<'_>| Facts::of(certificate).is_some_and(|facts| facts.is_self_issued());
    let chain = match intermediates.last() {
        _ if is_self_signed(end_entity) => Chain::SelfSignedLeaf,
        Some(last) if is_self_signed(last) => Chain::SelfSignedRoot,
        None => Chain::LeafOnly,
        Some(_) => Chain::Longer,
    };
    refusal(error, chain, name)
}
