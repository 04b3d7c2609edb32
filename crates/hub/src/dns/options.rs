//! Whom a resolver asks, and how: its options, and what resolv.conf(5) says.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::{ResolverConfig, ResolverOpts};
use hickory_resolver::proto::rr::Name;
use hickory_resolver::system_conf::read_system_conf;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::names::{check, fold, shown};

/// How a name server is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// By UDP, and again by TCP if the answer was cut off.
    Udp,
    /// By TCP only.
    Tcp,
    /// By TLS (RFC 7858); the certificate must be for this name.
    Tls(ServerName<'static>),
}

/// A name server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nameserver {
    /// Where it is.
    pub address: SocketAddr,
    /// How it is asked.
    pub transport: Transport,
}

impl Nameserver {
    /// A name server that is asked by TLS. Its certificate must be for `name`, which may be an IP address.
    ///
    /// # Errors
    /// `InvalidInput` if that is neither a name nor an address.
    pub fn tls(address: SocketAddr, name: String) -> io::Result<Self> {
        let name = ServerName::try_from(name).map_err(invalid)?;
        Ok(Self { address, transport: Transport::Tls(name) })
    }
}

impl From<SocketAddr> for Nameserver {
    fn from(address: SocketAddr) -> Self {
        Self { address, transport: Transport::Udp }
    }
}

/// How long and how many answers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheOptions {
    /// The most entries; 0 keeps nothing.
    pub size: usize,
    /// The longest time, whatever an answer allows.
    pub max_ttl: Duration,
    /// The shortest time, whatever an answer allows.
    pub min_ttl: Duration,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self { size: 4096, max_ttl: Duration::from_secs(24 * 3600), min_ttl: Duration::ZERO }
    }
}

/// Negative answers are kept for three hours at the most: RFC 2308, section 5.
const LONGEST_NEGATIVE: Duration = Duration::from_secs(3 * 3600);

impl CacheOptions {
    /// For how long to keep an answer that allows `ttl`.
    pub(super) fn lifetime(&self, ttl: Duration, is_positive: bool) -> Duration {
        let most = if is_positive { self.max_ttl } else { self.max_ttl.min(LONGEST_NEGATIVE) };
        ttl.max(self.min_ttl).min(most)
    }
}

/// Whom a resolver asks, and how. What is `None` or empty is taken from resolv.conf(5), or its defaults.
#[derive(Clone, Debug)]
pub struct ResolverOptions {
    /// The name servers. If there are any, nothing else is taken from resolv.conf.
    pub nameservers: Vec<Nameserver>,
    /// How long one try lasts.
    pub timeout: Option<Duration>,
    /// How often to ask each name server, at least once.
    pub tries: Option<usize>,
    /// Whether each query begins with the next name server, rather than with the first that has not failed lately.
    pub rotate: bool,
    /// Whether the hosts file is looked at first.
    pub hosts: bool,
    /// The domains in which to look for short names.
    pub search: Option<Vec<String>>,
    /// How many dots a name must have to be tried as it is before the search domains.
    pub ndots: Option<usize>,
    /// What is kept.
    pub cache: CacheOptions,
    /// The certificates, in PEM, of the authorities by which TLS name servers are trusted.
    pub authorities: Vec<String>,
}

impl Default for ResolverOptions {
    fn default() -> Self {
        Self {
            nameservers: Vec::new(),
            timeout: None,
            tries: None,
            rotate: false,
            hosts: true,
            search: None,
            ndots: None,
            cache: CacheOptions::default(),
            authorities: Vec::new(),
        }
    }
}

/// The options with all that they leave to the system.
pub(super) struct Settings {
    pub(super) nameservers: Vec<Nameserver>,
    pub(super) timeout: Duration,
    pub(super) tries: usize,
    pub(super) rotate: bool,
    /// Folded.
    pub(super) search: Vec<Box<[u8]>>,
    pub(super) ndots: usize,
    /// Present if there is a name server that is asked by TLS.
    pub(super) tls: Option<ClientConfig>,
}

impl Settings {
    /// Reads resolv.conf unless name servers are given; if it cannot be read or names none, the name server is 127.0.0.1,
    /// as resolv.conf(5) says.
    pub(super) fn new(options: &ResolverOptions) -> io::Result<Self> {
        let (config, defaults) = if options.nameservers.is_empty() {
            read_system_conf().unwrap_or_default()
        } else {
            <(ResolverConfig, ResolverOpts)>::default()
        };
        let nameservers = match options.nameservers.as_slice() {
            [] => nameservers_of(&config),
            given => given.to_vec(),
        };
        let search = match &options.search {
            Some(domains) => domains.iter().map(|domain| search_domain(domain)).collect::<io::Result<_>>()?,
            None => search_of(&config),
        };
        let is_tls = |server: &Nameserver| matches!(server.transport, Transport::Tls(_));
        let tls = nameservers.iter().any(is_tls).then(|| client_config(&options.authorities)).transpose()?;
        Ok(Self {
            nameservers,
            timeout: options.timeout.unwrap_or(defaults.timeout),
            tries: options.tries.unwrap_or(defaults.attempts).max(1),
            rotate: options.rotate,
            search,
            ndots: options.ndots.unwrap_or(defaults.ndots),
            tls,
        })
    }
}

const DNS_PORT: u16 = 53;

fn nameservers_of(config: &ResolverConfig) -> Vec<Nameserver> {
    let addresses = config.name_servers().iter().map(|server| server.ip);
    let mut servers = Vec::from_iter(addresses.map(|ip| SocketAddr::new(ip, DNS_PORT).into()));
    if servers.is_empty() {
        servers.push(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), DNS_PORT).into());
    }
    servers
}

fn search_of(config: &ResolverConfig) -> Vec<Box<[u8]>> {
    let domains = match config.search.as_slice() {
        [] => config.domain.as_slice(),
        search => search,
    };
    let folded = |name: &Name| fold(shown(name).as_bytes()).into();
    domains.iter().filter(|name| !name.is_root()).map(folded).collect()
}

fn search_domain(domain: &str) -> io::Result<Box<[u8]>> {
    let folded = fold(domain.as_bytes());
    let no_domain = || invalid(format!("'{domain}' is no domain"));
    check(&folded, false).map_err(|_| no_domain()).map(|()| folded.into())
}

fn client_config(authorities: &[String]) -> io::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for pem in authorities {
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            roots.add(certificate.map_err(invalid)?).map_err(invalid)?;
        }
    }
    if roots.is_empty() {
        return Err(invalid("there is no certificate of an authority"));
    }
    let versions = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(invalid)?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}
