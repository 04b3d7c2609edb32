//! What sessions share: certificates, roots, versions, and the sessions that can be resumed.

use std::fmt;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::ServerName;
use rustls::server::NoServerSessionStorage;
use rustls::{Error, SupportedProtocolVersion, version};

use super::identity::{ClientIdentities, Identity, ServerIdentities};
use super::notes::Notes;
use super::suites::{all_names, suite_named};
use super::verify::{ClientJudge, Roots, ServerJudge, Strictness};

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// TLS 1.2
    Tls12,
    /// TLS 1.3
    Tls13,
}

/// What both sides choose.
#[derive(Clone, Debug)]
pub struct CommonOptions<'a> {
    /// The certificates to show, each with its key. Names matter to servers only.
    pub identities: &'a [Identity<'a>],
    /// PEM texts of the roots to trust.
    pub roots: &'a [&'a str],
    /// Whether a peer that is not trusted ends the handshake.
    pub reject_unauthorized: bool,
    /// Protocols of the application, best first; empty: ALPN is not spoken.
    pub alpn_protocols: &'a [&'a str],
    /// The cipher suites allowed, best first, by their names in OpenSSL or in the standard; empty: all, and servers leave the
    /// choice to the client.
    pub ciphers: &'a [&'a str],
    /// The lowest and the highest version allowed.
    pub versions: (Version, Version),
    /// Whether a peer that comes again may resume its session.
    pub resumption: bool,
    /// Whether the secrets of sessions are noted.
    pub log_keys: bool,
}

/// What clients choose.
#[derive(Clone, Debug)]
pub struct ClientOptions<'a> {
    /// What servers choose too.
    pub common: CommonOptions<'a>,
    /// Whether the name of the server must be one of its certificate's.
    pub check_name: bool,
}

/// What servers choose.
#[derive(Clone, Debug)]
pub struct ServerOptions<'a> {
    /// What clients choose too.
    pub common: CommonOptions<'a>,
    /// Whether clients are asked for a certificate.
    pub request_certificate: bool,
    /// Whether clients that are asked are told the names of the roots.
    pub name_roots: bool,
}

/// Which option cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// `cert`, `key`, `ca`, …
    pub argument: &'static str,
    /// The rest of a sentence that begins with the argument.
    pub problem: String,
}

impl ConfigError {
    pub(super) fn new(argument: &'static str, problem: impl Into<String>) -> Self {
        Self { argument, problem: problem.into() }
    }

    pub(crate) fn of_socket(error: &std::io::Error) -> Self {
        Self::new("socket", format!("cannot be used: {error}"))
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.argument, self.problem)
    }
}

impl std::error::Error for ConfigError {}

/// What the sessions of a client share.
#[derive(Clone)]
pub struct ClientConfig {
    pub(super) rustls: Arc<rustls::ClientConfig>,
    pub(super) judge: Arc<ServerJudge>,
    pub(super) rejects: bool,
    pub(super) notes: Arc<Notes>,
}

/// What the sessions of a server share.
#[derive(Clone)]
pub struct ServerConfig {
    pub(super) rustls: Arc<rustls::ServerConfig>,
    /// Who judges clients, if they are asked for a certificate.
    pub(super) judge: Option<Arc<ClientJudge>>,
    pub(super) rejects: bool,
    pub(super) notes: Arc<Notes>,
}

/// How many sessions a config keeps for resumption.
const SESSIONS_KEPT: usize = 256;

impl ClientConfig {
    /// Checks the options and makes a config of them.
    ///
    /// # Errors
    /// Which option cannot be used.
    pub fn new(options: &ClientOptions<'_>) -> Result<Self, ConfigError> {
        let common = &options.common;
        let provider = common.provider()?;
        let notes = Arc::new(Notes::new(common.log_keys));
        let strictness = Strictness { reject: common.reject_unauthorized, check_name: options.check_name };
        let roots = Roots::load(common.roots)?;
        let judge = Arc::new(ServerJudge::new(roots, strictness, &provider, Arc::clone(&notes))?);
        let identities = common.identities.iter().map(|identity| identity.load(&provider));
        let identities = ClientIdentities(identities.collect::<Result<_, _>>()?);
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&common.protocol_versions())
            .map_err(|error| no_suite(&error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::<ServerJudge>::clone(&judge))
            .with_client_cert_resolver(Arc::new(identities));
        config.alpn_protocols = common.alpn();
        config.key_log = Arc::<Notes>::clone(&notes);
        config.resumption = if common.resumption {
            Resumption::in_memory_sessions(SESSIONS_KEPT)
        } else {
            Resumption::disabled()
        };
        Ok(Self { rustls: Arc::new(config), judge, rejects: common.reject_unauthorized, notes })
    }

    /// Takes the lines of the key log that were noted since the last time.
    pub fn take_key_log(&self) -> String {
        std::mem::take(&mut self.notes.pending().key_log)
    }
}

impl ServerConfig {
    /// Checks the options and makes a config of them.
    ///
    /// # Errors
    /// Which option cannot be used.
    pub fn new(options: &ServerOptions<'_>) -> Result<Self, ConfigError> {
        let common = &options.common;
        let provider = common.provider()?;
        let notes = Arc::new(Notes::new(common.log_keys));
        let identities = ServerIdentities::load(common.identities, &provider, Arc::clone(&notes))?;
        let rejects = common.reject_unauthorized;
        let judge = if options.request_certificate {
            let roots = Roots::load(common.roots)?;
            let judge = ClientJudge::new(roots, rejects, options.name_roots, &provider, Arc::clone(&notes))?;
            Some(Arc::new(judge))
        } else {
            None
        };
        let builder = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&common.protocol_versions())
            .map_err(|error| no_suite(&error))?;
        let builder = match &judge {
            Some(judge) => builder.with_client_cert_verifier(Arc::<ClientJudge>::clone(judge)),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(identities));
        config.alpn_protocols = common.alpn();
        config.ignore_client_order = !common.ciphers.is_empty();
        config.key_log = Arc::<Notes>::clone(&notes);
        if common.resumption {
            config.ticketer = aws_lc_rs::Ticketer::new().map_err(|error| {
                ConfigError::new("sessionResumption", format!("is not possible: {error}"))
            })?;
        } else {
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Self { rustls: Arc::new(config), judge, rejects, notes })
    }

    /// Takes the lines of the key log that were noted since the last time.
    pub fn take_key_log(&self) -> String {
        std::mem::take(&mut self.notes.pending().key_log)
    }
}

impl CommonOptions<'_> {
    fn provider(&self) -> Result<Arc<CryptoProvider>, ConfigError> {
        let mut provider = aws_lc_rs::default_provider();
        if !self.ciphers.is_empty() {
            let named = |name: &&str| {
                suite_named(name).ok_or_else(|| {
                    ConfigError::new("ciphers", format!("names '{name}', which is none of {}", all_names()))
                })
            };
            provider.cipher_suites = self.ciphers.iter().map(named).collect::<Result<_, _>>()?;
        }
        Ok(Arc::new(provider))
    }

    fn protocol_versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        let (lowest, highest) = self.versions;
        [(Version::Tls13, &version::TLS13), (Version::Tls12, &version::TLS12)]
            .into_iter()
            .filter(|(version, _)| (lowest..=highest).contains(version))
            .map(|(_, supported)| supported)
            .collect()
    }

    fn alpn(&self) -> Vec<Vec<u8>> {
        self.alpn_protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect()
    }
}

fn no_suite(error: &Error) -> ConfigError {
    ConfigError::new("ciphers", format!("has none for the protocol versions that are allowed ({error})"))
}

/// The name by which a client asks for a server, and for which the server's certificate must be.
///
/// # Errors
/// The name is neither a DNS name nor an IP address.
pub(super) fn server_name(name: &str) -> Result<ServerName<'static>, ConfigError> {
    ServerName::try_from(name.to_owned()).map_err(|_| {
        ConfigError::new("servername", format!("must be a DNS name or an IP address, got '{name}'"))
    })
}
