//! Why a session has failed, in the words of Node.

use std::fmt;

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

/// Why a session has failed. `code` is what Node calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError {
    /// `EPROTO`, `CERT_HAS_EXPIRED`, …
    pub code: &'static str,
    /// One sentence.
    pub message: String,
}

impl TlsError {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// What a failure of the protocol is to the user. Refused certificates are judged where their chain is known.
    pub(super) fn of(error: &Error) -> Self {
        let message = match error {
            Error::AlertReceived(alert) => {
                format!("the peer has sent the alert {} ({})", alert_name(*alert), u8::from(*alert))
            }
            Error::NoApplicationProtocol => "the client offers no protocol of alpnProtocols".into(),
            Error::NoCertificatesPresented => "the client has sent no certificate".into(),
            Error::PeerIncompatible(
                PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
                | PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::SupportedVersionsExtensionRequired,
            ) => "the peer supports no protocol version that is allowed here".into(),
            Error::InvalidMessage(_) => format!("what the peer has sent is not TLS ({error})"),
            other => other.to_string(),
        };
        Self::new("EPROTO", message)
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for TlsError {}

/// `handshake_failure`, as RFC 8446 spells it.
fn alert_name(alert: AlertDescription) -> String {
    let mut name = String::new();
    for letter in format!("{alert:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() && !name.ends_with('_') {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    // Where the crate's spelling has a capital letter in the middle of a word.
    name.replace("unknown_c_a", "unknown_ca")
        .replace("unknown_p_s_k", "unknown_psk")
        .replace("_p_s_k_", "_psk_")
}

/// What a refused certificate is to the user; `name` is that of the server.
pub(super) fn refusal(error: &CertificateError, chain: Chain, name: &str) -> TlsError {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            TlsError::new("CERT_HAS_EXPIRED", "certificate has expired")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            TlsError::new("CERT_NOT_YET_VALID", "certificate is not yet valid")
        }
        CertificateError::Revoked => TlsError::new("CERT_REVOKED", "certificate revoked"),
        CertificateError::NotValidForName => alternative_name(name, &[]),
        CertificateError::NotValidForNameContext { presented, .. } => alternative_name(name, presented),
        CertificateError::BadSignature => {
            TlsError::new("CERT_SIGNATURE_FAILURE", "certificate signature failure")
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            TlsError::new("INVALID_PURPOSE", "unsuitable certificate purpose")
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            TlsError::new("CERT_SIGNATURE_FAILURE", format!("certificate signature failure ({error})"))
        }
        CertificateError::BadEncoding | CertificateError::UnhandledCriticalExtension => {
            TlsError::new("CERT_UNTRUSTED", format!("certificate not trusted ({error})"))
        }
        // An unknown issuer, or a root that is no one's root here, which webpki refuses for being used as a leaf.
        _ => match chain {
            Chain::SelfSignedLeaf => TlsError::new("DEPTH_ZERO_SELF_SIGNED_CERT", "self-signed certificate"),
            Chain::SelfSignedRoot => {
                TlsError::new("SELF_SIGNED_CERT_IN_CHAIN", "self-signed certificate in certificate chain")
            }
            Chain::LeafOnly => {
                TlsError::new("UNABLE_TO_VERIFY_LEAF_SIGNATURE", "unable to verify the first certificate")
            }
            Chain::Longer => {
                TlsError::new("UNABLE_TO_GET_ISSUER_CERT_LOCALLY", "unable to get local issuer certificate")
            }
        },
    }
}

/// What a chain that leads to no root looks like.
#[derive(Clone, Copy)]
pub(super) enum Chain {
    SelfSignedLeaf,
    SelfSignedRoot,
    LeafOnly,
    Longer,
}

fn alternative_name(name: &str, presented: &[String]) -> TlsError {
    let kind = if name.parse::<std::net::IpAddr>().is_ok() { "IP" } else { "Host" };
    let names = presented.iter().map(|name| as_in_openssl(name)).collect::<Vec<_>>().join(", ");
    TlsError::new(
        "ERR_TLS_CERT_ALTNAME_INVALID",
        format!(
            "Hostname/IP does not match certificate's altnames: {kind}: {name} is not in the cert's altnames: {names}"
        ),
    )
}

/// `DnsName("a.example")`, as webpki spells it, is `DNS:a.example` in OpenSSL.
fn as_in_openssl(name: &str) -> String {
    for (theirs, ours) in [("DnsName(", "DNS:"), ("IpAddress(", "IP Address:"), ("DirectoryName", "DirName:")]
    {
        if let Some(rest) = name.strip_prefix(theirs) {
            return format!("{ours}{}", rest.trim_end_matches(')').trim_matches('"'));
        }
    }
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_have_their_names_of_the_standard() {
        for (alert, name) in [
            (AlertDescription::HandshakeFailure, "handshake_failure"),
            (AlertDescription::UnknownCA, "unknown_ca"),
            (AlertDescription::UnknownPSKIdentity, "unknown_psk_identity"),
            (AlertDescription::NoApplicationProtocol, "no_application_protocol"),
        ] {
            assert_eq!(alert_name(alert), name);
        }
    }
}
