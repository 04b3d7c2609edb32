//! Name resolution on a thread of its own: the one file that names hickory and tokio.
//!
//! The hub hands a lookup to the thread and goes on; the thread leaves the answer in a queue and uses the hub's
//! [`Waker`]. Resolvers differ in whom they ask and how; they share the thread and the queue.
//!
//! A name is looked for as getaddrinfo(3) does by default: an address answers itself, then comes the hosts file,
//! then (for `localhost`, RFC 6761) loopback, then DNS, whose answers are kept for as long as they allow.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError as AnsweredError, NetError, NoRecords};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, Record};
use hickory_resolver::system_conf::read_system_conf;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::AbortHandle;

use crate::poller::Waker;

/// How many lookups may have queries on the wire; others queue. Each takes up to two descriptors, and a name
/// server's receive buffer holds few more packets than these can be.
const MOST_AT_ONCE: usize = 128;

const HOSTS_FILE: &str = if cfg!(windows) { r"C:\Windows\System32\drivers\etc\hosts" } else { "/etc/hosts" };

/// Which addresses are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// IPv4 first, then IPv6.
    #[default]
    Any,
    /// IPv4 only (A records).
    V4,
    /// IPv6 only (AAAA records).
    V6,
}

impl Family {
    /// Takes the addresses of this family, IPv4 first, otherwise in the order given.
    fn select(self, addresses: impl IntoIterator<Item = IpAddr>) -> Vec<IpAddr> {
        let mut selected = Vec::from_iter(addresses.into_iter().filter(|address| match self {
            Self::Any => true,
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
        }));
        selected.sort_by_key(IpAddr::is_ipv6);
        selected
    }
}

/// Whom a [`Resolver`] asks, and how. What is `None` or empty is taken from resolv.conf(5), or its defaults.
#[derive(Clone, Debug)]
pub struct ResolverOptions {
    /// The name servers. If there are any, nothing else is taken from resolv.conf.
    pub nameservers: Vec<SocketAddr>,
    /// How long one try lasts.
    pub timeout: Option<Duration>,
    /// How often to try, at least once.
    pub tries: Option<usize>,
    /// Whether the hosts file is looked at first.
    pub hosts: bool,
    /// The domains in which to look for short names.
    pub search: Option<Vec<String>>,
    /// How many dots a name must have to be tried as it is before the search domains.
    pub ndots: Option<usize>,
}

impl Default for ResolverOptions {
    fn default() -> Self {
        Self { nameservers: Vec::new(), timeout: None, tries: None, hosts: true, search: None, ndots: None }
    }
}

/// Why a name was not resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsError {
    /// What Node calls it: `ENOTFOUND` (no such name), `ENODATA` (no such records), `ETIMEOUT`, `ESERVFAIL`,
    /// `EREFUSED`, `EFORMERR`, `ENOTIMP`, `EBADRESP`, `ECONNREFUSED` (no name server can be reached) or
    /// `ECANCELLED`.
    pub code: &'static str,
    /// The same in words.
    pub message: String,
}

impl DnsError {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// Creates the error of a lookup that was given up.
    pub fn cancelled() -> Self {
        Self::new("ECANCELLED", "the lookup was given up")
    }

    fn not_found() -> Self {
        Self::new("ENOTFOUND", "the name does not exist")
    }

    fn no_data() -> Self {
        Self::new("ENODATA", "the name has no addresses of the family")
    }
}

impl std::fmt::Display for DnsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for DnsError {}

impl From<NetError> for DnsError {
    fn from(error: NetError) -> Self {
        match error {
            NetError::Dns(
                AnsweredError::NoRecordsFound(NoRecords { response_code, .. })
                | AnsweredError::ResponseCode(response_code),
            ) => response_code.into(),
            NetError::Timeout | NetError::Busy => Self::new("ETIMEOUT", "no name server answered in time"),
            NetError::Io(_) | NetError::NoConnections => {
                Self::new("ECONNREFUSED", format!("no name server can be reached: {error}"))
            }
            error => Self::new("EBADRESP", format!("a name server answered nonsense: {error}")),
        }
    }
}

impl From<ResponseCode> for DnsError {
    fn from(code: ResponseCode) -> Self {
        match code {
            ResponseCode::NXDomain => Self::not_found(),
            ResponseCode::NoError => Self::no_data(),
            ResponseCode::ServFail => Self::new("ESERVFAIL", "the name server failed"),
            ResponseCode::Refused => Self::new("EREFUSED", "the name server refused to answer"),
            ResponseCode::FormErr => Self::new("EFORMERR", "the name server did not understand the query"),
            ResponseCode::NotImp => Self::new("ENOTIMP", "the name server does not know such queries"),
            other => Self::new("EBADRESP", format!("the name server answered {other}")),
        }
    }
}

type Answer = Result<Vec<IpAddr>, DnsError>;

/// One way to resolve names, with a cache of its own. Cheap to clone. Belongs to the [`Dns`] that made it.
#[derive(Clone)]
pub struct Resolver {
    queries: TokioResolver,
    hosts: Option<Arc<HostsFile>>,
}

/// The lookups of one hub, in flight and answered.
///
/// Its thread starts with the first lookup that needs it and ends, within microseconds, when this is dropped,
/// whatever is in flight.
pub struct Dns {
    inbox: Arc<Inbox>,
    hosts: Arc<HostsFile>,
    permits: Arc<Semaphore>,
    thread: Option<Thread>,
    /// The lookups whose answers are still wanted.
    pending: HashMap<u64, Pending>,
    last_ticket: u64,
}

struct Pending {
    /// Tells the answer from that of an earlier lookup with the same request id.
    ticket: u64,
    task: Option<AbortHandle>,
}

impl Dns {
    /// Creates the means to look names up. Starts nothing. Answers use `waker`.
    pub fn new(waker: Waker) -> Self {
        Self {
            inbox: Arc::new(Inbox { answers: Mutex::default(), waker }),
            hosts: Arc::new(HostsFile::new(HOSTS_FILE.into())),
            permits: Arc::new(Semaphore::new(MOST_AT_ONCE)),
            thread: None,
            pending: HashMap::new(),
            last_ticket: 0,
        }
    }

    /// Creates a resolver. Reads resolv.conf unless name servers are given; if it cannot be read or names none,
    /// the name server is 127.0.0.1, as resolv.conf(5) says.
    ///
    /// # Errors
    /// `InvalidInput` if a search domain is not a name.
    pub fn resolver(&self, options: &ResolverOptions) -> io::Result<Resolver> {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        let (mut config, mut settings) = if options.nameservers.is_empty() {
            read_system_conf().unwrap_or_else(|_| {
                let local = (Ipv4Addr::LOCALHOST, 53).into();
                (servers(&[local]), ResolverOpts::default())
            })
        } else {
            (servers(&options.nameservers), ResolverOpts::default())
        };
        if let Some(search) = &options.search {
            let names = search.iter().map(Name::from_str_relaxed);
            config.domain = None;
            config.search = names.collect::<Result<_, _>>().map_err(invalid)?;
        }
        settings.timeout = options.timeout.unwrap_or(settings.timeout);
        // What hickory counts are the tries after the first; resolv.conf counts all.
        let tries = options.tries.unwrap_or(settings.attempts);
        settings.attempts = tries.saturating_sub(1);
        settings.ndots = options.ndots.unwrap_or(settings.ndots);
        settings.use_hosts_file = ResolveHosts::Never;
        settings.max_active_requests = 2 * MOST_AT_ONCE;
        let provider = TokioRuntimeProvider::default();
        let queries = TokioResolver::builder_with_config(config, provider)
            .with_options(settings)
            .build()
            .map_err(io::Error::other)?;
        Ok(Resolver { queries, hosts: options.hosts.then(|| Arc::clone(&self.hosts)) })
    }

    /// Starts to look `host` up. Never blocks; the answer comes from [`take_answers`](Self::take_answers) under
    /// `request_id`, also if it is known at once. A lookup under the same id that is still in flight is dropped.
    ///
    /// An IP address answers itself, whatever the family.
    pub fn lookup(&mut self, resolver: &Resolver, request_id: u64, host: &str, family: Family) {
        self.cancel(request_id);
        self.last_ticket += 1;
        let ticket = Ticket { request_id, number: self.last_ticket, inbox: Some(Arc::clone(&self.inbox)) };
        let task = self.start(resolver, ticket, host, family);
        let pending = Pending { ticket: self.last_ticket, task };
        self.pending.insert(request_id, pending);
    }

    fn start(
        &mut self,
        resolver: &Resolver,
        ticket: Ticket,
        host: &str,
        family: Family,
    ) -> Option<AbortHandle> {
        if let Ok(address) = host.parse() {
            ticket.answer(Ok(vec![address]));
            return None;
        }
        let permits = Arc::clone(&self.permits);
        let handle = match self.thread() {
            Ok(handle) => handle,
            Err(error) => {
                let message = format!("the resolver's thread cannot start: {error}");
                ticket.answer(Err(DnsError::new("ECONNREFUSED", message)));
                return None;
            }
        };
        let resolver = resolver.clone();
        let host = host.to_owned();
        let task = handle.spawn(async move {
            ticket.answer(resolver.resolve(&host, family, &permits).await);
        });
        Some(task.abort_handle())
    }

    /// Drops a lookup: there will be no answer. Does nothing if there is no such lookup.
    pub fn cancel(&mut self, request_id: u64) {
        let pending = self.pending.remove(&request_id);
        if let Some(task) = pending.and_then(|pending| pending.task) {
            task.abort();
        }
    }

    /// Takes the answers that have come, in order of arrival. To be called whenever the poller was woken.
    pub fn take_answers(&mut self) -> impl Iterator<Item = (u64, Answer)> + use<'_> {
        let letters = std::mem::take(&mut *self.inbox.lock());
        letters.into_iter().filter_map(|letter| {
            let pending = self.pending.get(&letter.request_id)?;
            if pending.ticket != letter.ticket {
                return None;
            }
            self.pending.remove(&letter.request_id);
            Some((letter.request_id, letter.answer))
        })
    }

    /// Returns how many lookups have neither been answered (and taken) nor cancelled.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    fn thread(&mut self) -> io::Result<&Handle> {
        let thread = match self.thread.take() {
            Some(thread) => thread,
            None => Thread::start()?,
        };
        Ok(&self.thread.insert(thread).handle)
    }
}

impl Resolver {
    async fn resolve(&self, host: &str, family: Family, permits: &Semaphore) -> Answer {
        let name = parse_name(host)?;
        if let Some(hosts) = &self.hosts {
            let addresses = family.select(hosts.find(host));
            if !addresses.is_empty() {
                return Ok(addresses);
            }
        }
        if is_localhost(host) {
            let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            return Ok(family.select(loopback));
        }
        // The permits are never closed; should they be, to go on without one is right.
        let _permit = permits.acquire().await.ok();
        let records = match family {
            Family::Any => self.queries.lookup_ip(name).await?.into(),
            Family::V4 => self.queries.ipv4_lookup(name).await?,
            Family::V6 => self.queries.ipv6_lookup(name).await?,
        };
        let address = |record: &Record| record.data.ip_addr();
        let addresses = family.select(records.answers().iter().filter_map(address));
        if addresses.is_empty() {
            return Err(DnsError::no_data());
        }
        Ok(addresses)
    }
}

/// Says what name `host` is. A backslash would start an escape, which is for zone files only.
fn parse_name(host: &str) -> Result<Name, DnsError> {
    let name = Name::from_str_relaxed(host).ok();
    name.filter(|name| name.num_labels() > 0 && !host.contains('\\')).ok_or_else(DnsError::not_found)
}

/// Compares without regard to case and to the dot that marks a full name.
fn normalize(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

fn is_localhost(host: &str) -> bool {
    let host = normalize(host);
    host == "localhost" || host.ends_with(".localhost")
}

/// Makes hickory ask these servers: by UDP, and again by TCP if the answer was cut off.
fn servers(addresses: &[SocketAddr]) -> ResolverConfig {
    let server = |address: &SocketAddr| {
        let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
        for connection in &mut connections {
            connection.port = address.port();
        }
        NameServerConfig::new(address.ip(), true, connections)
    };
    ResolverConfig::from_name_servers(addresses.iter().map(server).collect())
}

/// Where answers wait for the hub.
struct Inbox {
    answers: Mutex<Vec<Letter>>,
    waker: Waker,
}

struct Letter {
    request_id: u64,
    ticket: u64,
    answer: Answer,
}

impl Inbox {
    /// A panic elsewhere cannot leave the queue half-changed.
    fn lock(&self) -> MutexGuard<'_, Vec<Letter>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, letter: Letter) {
        let mut answers = self.lock();
        answers.push(letter);
        if answers.len() == 1 {
            drop(answers);
            // Fails only if the poller's descriptor is broken, and then nobody waits any more.
            let _ = self.waker.wake();
        }
    }
}

/// The duty to answer a lookup, once: a task that ends without an answer (it panicked) has answered too.
struct Ticket {
    request_id: u64,
    number: u64,
    inbox: Option<Arc<Inbox>>,
}

impl Ticket {
    fn answer(mut self, answer: Answer) {
        self.deliver(answer);
    }

    fn deliver(&mut self, answer: Answer) {
        if let Some(inbox) = self.inbox.take() {
            inbox.put(Letter { request_id: self.request_id, ticket: self.number, answer });
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.deliver(Err(DnsError::cancelled()));
    }
}

/// The thread that runs the lookups. Dropping it drops them and waits for the thread, which does nothing long.
struct Thread {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Thread {
    fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("greenstack-dns".into()).spawn(move || {
            // Ends when the sender is dropped.
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Self { handle, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // It panicked, or it did not: it is gone.
            let _ = thread.join();
        }
    }
}

/// hosts(5), read again when it changes.
struct HostsFile {
    path: PathBuf,
    content: Mutex<HostsContent>,
}

#[derive(Default)]
struct HostsContent {
    /// The time and size of what was read; `None` if there was no file.
    version: Option<(SystemTime, u64)>,
    addresses: HashMap<String, Vec<IpAddr>>,
}

impl HostsFile {
    fn new(path: PathBuf) -> Self {
        Self { path, content: Mutex::default() }
    }

    /// Returns the addresses of `host`, none if it is not in the file or there is no file.
    fn find(&self, host: &str) -> Vec<IpAddr> {
        let version =
            fs::metadata(&self.path).and_then(|metadata| Ok((metadata.modified()?, metadata.len()))).ok();
        let mut content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        if content.version != version {
            let bytes = fs::read(&self.path).unwrap_or_default();
            *content = HostsContent { version, addresses: parse_hosts(&String::from_utf8_lossy(&bytes)) };
        }
        let addresses = content.addresses.get(&normalize(host));
        addresses.cloned().unwrap_or_default()
    }
}

fn parse_hosts(text: &str) -> HashMap<String, Vec<IpAddr>> {
    let mut hosts = HashMap::<_, Vec<_>>::new();
    for line in text.lines() {
        let line = line.split_once('#').map_or(line, |(before, _)| before);
        let mut words = line.split_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else {
            continue;
        };
        for name in words {
            let addresses = hosts.entry(normalize(name)).or_default();
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(addresses: &[&str]) -> Vec<IpAddr> {
        Vec::from_iter(addresses.iter().map(|address| address.parse().unwrap()))
    }

    #[test]
    fn families_are_selected_and_ordered() {
        let mixed = ips(&["::2", "192.0.2.2", "::1", "192.0.2.1"]);
        let select = |family: Family| family.select(mixed.iter().copied());
        let any = ips(&["192.0.2.2", "192.0.2.1", "::2", "::1"]);
        assert_eq!(select(Family::Any), any);
        assert_eq!(select(Family::V4), any[..2]);
        assert_eq!(select(Family::V6), any[2..]);
    }

    #[test]
    fn names_are_told_from_nonsense() {
        for name in ["a", "a.b.", "my_host.example", "xn--mnchen-3ya.de", "münchen.de", "1.2"] {
            assert!(parse_name(name).is_ok(), "{name}");
        }
        let (label, long) = ("a".repeat(64), "abc.".repeat(64));
        for name in ["", ".", "a..b", ".a", "a b", "a\0", r"a\.b", "a%b", &label, &long] {
            assert_eq!(parse_name(name), Err(DnsError::not_found()), "{name:?}");
        }
    }

    #[test]
    fn localhost_is_recognised() {
        for name in ["localhost", "LocalHost.", "a.b.localhost"] {
            assert!(is_localhost(name), "{name}");
        }
        for name in ["notlocalhost", "localhost.example", ""] {
            assert!(!is_localhost(name), "{name}");
        }
    }

    #[test]
    fn a_hosts_file_is_parsed() {
        let hosts = parse_hosts(
            "# comment\n127.0.0.1 localhost a # b\n\n::1\tlocalhost\n\
             192.0.2.1 A A.example. my_host\nnonsense x\nfe80::1%lo0 scoped\n192.0.2.9\n",
        );
        assert_eq!(hosts["localhost"], ips(&["127.0.0.1", "::1"]));
        assert_eq!(hosts["a"], ips(&["127.0.0.1", "192.0.2.1"]));
        assert_eq!(hosts["a.example"], ips(&["192.0.2.1"]));
        assert_eq!(hosts["my_host"], ips(&["192.0.2.1"]));
        assert_eq!(hosts.len(), 4);
    }

    #[test]
    fn a_hosts_file_is_read_again_when_it_changes() {
        let path = std::env::temp_dir().join(format!("greenstack-hosts-{}", std::process::id()));
        let hosts = HostsFile::new(path.clone());
        assert!(hosts.find("one").is_empty());
        fs::write(&path, "192.0.2.1 one").unwrap();
        assert_eq!(hosts.find("ONE."), ips(&["192.0.2.1"]));
        fs::write(&path, "192.0.2.22 one").unwrap();
        assert_eq!(hosts.find("one"), ips(&["192.0.2.22"]));
        fs::remove_file(&path).unwrap();
        assert!(hosts.find("one").is_empty());
    }

    #[test]
    fn response_codes_have_names() {
        let codes = [
            (ResponseCode::NXDomain, "ENOTFOUND"),
            (ResponseCode::NoError, "ENODATA"),
            (ResponseCode::ServFail, "ESERVFAIL"),
            (ResponseCode::Refused, "EREFUSED"),
            (ResponseCode::FormErr, "EFORMERR"),
            (ResponseCode::NotImp, "ENOTIMP"),
            (ResponseCode::NotAuth, "EBADRESP"),
        ];
        for (response, code) in codes {
            assert_eq!(DnsError::from(response).code, code);
        }
        assert_eq!(DnsError::from(NetError::Timeout).code, "ETIMEOUT");
        assert_eq!(DnsError::from(NetError::NoConnections).code, "ECONNREFUSED");
        assert_eq!(DnsError::from(NetError::Truncated).code, "EBADRESP");
    }
}
