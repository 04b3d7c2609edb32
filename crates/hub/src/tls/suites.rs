//! The names of protocol versions and cipher suites.

use rustls::crypto::aws_lc_rs::cipher_suite as known;
use rustls::{CipherSuite, ProtocolVersion, SupportedCipherSuite};

/// Each suite with its name in OpenSSL, and thereby in Node, and its name in the standard.
const NAMES: &[(SupportedCipherSuite, &str, &str)] = &[
    (known::TLS13_AES_256_GCM_SHA384, "TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"),
    (known::TLS13_AES_128_GCM_SHA256, "TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"),
    (known::TLS13_CHACHA20_POLY1305_SHA256, "TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256"),
    (
        known::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    ),
    (
        known::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    ),
    (
        known::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    ),
    (
        known::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        "ECDHE-RSA-AES256-GCM-SHA384",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    ),
    (
        known::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        "ECDHE-RSA-AES128-GCM-SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    ),
    (
        known::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        "ECDHE-RSA-CHACHA20-POLY1305",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    ),
];

/// Finds a suite by either name.
pub(super) fn suite_named(name: &str) -> Option<SupportedCipherSuite> {
    NAMES
        .iter()
        .find(|(_, openssl, standard)| name == *openssl || name == *standard)
        .map(|(suite, ..)| *suite)
}

/// The name in OpenSSL, and the name in the standard.
pub(super) fn names_of(suite: CipherSuite) -> (&'static str, &'static str) {
    NAMES
        .iter()
        .find(|(known, ..)| known.suite() == suite)
        .map_or(("unknown", "unknown"), |(_, openssl, standard)| (openssl, standard))
}

/// The names of all suites in OpenSSL, for messages.
pub(super) fn all_names() -> String {
    NAMES.iter().map(|(_, openssl, _)| *openssl).collect::<Vec<_>>().join(", ")
}

/// As Node spells it.
pub(super) fn version_name(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::TLSv1_3 => "TLSv1.3",
        ProtocolVersion::TLSv1_2 => "TLSv1.2",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_of_the_provider_has_a_name() {
        for suite in rustls::crypto::aws_lc_rs::default_provider().cipher_suites {
            let (openssl, standard) = names_of(suite.suite());
            assert_ne!(openssl, "unknown");
            assert_eq!(suite_named(openssl), Some(suite));
            assert_eq!(suite_named(standard), Some(suite));
        }
    }
}
