//! Asking name servers: one after another, again, by UDP, TCP or TLS.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::tcp::TcpClientStream;
use hickory_resolver::net::tls::tls_exchange;
use hickory_resolver::net::xfer::{DnsExchange, DnsHandle, FirstAnswer};
use hickory_resolver::proto::op::{
    DnsRequest, DnsRequestOptions, DnsResponse, Edns, Message, Query, ResponseCode,
};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use rustls::ClientConfig;
use tokio::time::timeout;

use super::error::DnsError;
use super::names::shown;
use super::options::{Nameserver, Settings, Transport};
use super::records::{Record, RecordKind, translate};
use super::udp::Udp;

/// How many aliases are followed over several answers. A chain within one answer may be longer.
const MOST_ALIASES: usize = 8;
/// How long a server that has failed is asked last.
const DISTRUST: Duration = Duration::from_secs(5);
/// The most bytes of an answer by UDP: what passes everywhere without being cut into pieces.
const UDP_PAYLOAD: u16 = 1232;
/// More than there can be at once.
const MOST_ON_A_STREAM: usize = 4096;

/// What is known of a question.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) found: Result<Arc<[Record]>, DnsError>,
    /// The name at the end of all aliases.
    pub(super) canonical: String,
    /// For how long it holds; `None` if it is not to be kept.
    pub(super) ttl: Option<Duration>,
}

impl Reply {
    pub(super) fn failed(error: DnsError) -> Self {
        Self { found: Err(error), canonical: String::new(), ttl: None }
    }
}

/// What asks the name servers of one resolver.
pub(super) struct Client {
    servers: Vec<Server>,
    timeout: Duration,
    tries: usize,
    rotate: bool,
    next: AtomicUsize,
}

impl Client {
    pub(super) fn new(settings: &Settings) -> Self {
        let provider = TokioRuntimeProvider::default();
        let server = |nameserver: &Nameserver| {
            let tls = settings.tls.clone().filter(|_| matches!(nameserver.transport, Transport::Tls(_)));
            Server::new(nameserver.clone(), settings.timeout, tls, provider.clone())
        };
        Self {
            servers: settings.nameservers.iter().map(server).collect(),
            timeout: settings.timeout,
            tries: settings.tries,
            rotate: settings.rotate,
            next: AtomicUsize::new(0),
        }
    }

    /// Asks for records, following aliases.
    pub(super) async fn resolve(&self, mut name: Name, kind: RecordKind) -> Reply {
        let kind = kind.to_wire();
        let mut ttl = u32::MAX;
        for _ in 0..MOST_ALIASES {
            let message = match self.ask(&name, kind).await {
                Ok(message) => message,
                Err(error) => return Reply::failed(error),
            };
            match read(message, name, kind, ttl) {
                Progress::Done(reply) => return reply,
                Progress::Alias(target, least) => (name, ttl) = (target, least),
            }
        }
        Reply::failed(DnsError::no_data())
    }

    /// Asks one server after another until one knows.
    async fn ask(&self, name: &Name, kind: RecordType) -> Result<Message, DnsError> {
        let mut failure: Option<DnsError> = None;
        for _ in 0..self.tries {
            for server in self.order() {
                let asking = timeout(self.timeout, server.ask(name, kind)).await;
                let outcome = asking.unwrap_or_else(|_| Err(DnsError::timeout()));
                server.note(outcome.as_ref().err());
                match outcome {
                    Ok(message) => return Ok(message),
                    Err(error) if failure.as_ref().is_none_or(|known| error.weight() >= known.weight()) => {
                        failure = Some(error);
                    }
                    Err(_) => {}
                }
            }
        }
        Err(failure.unwrap_or_else(DnsError::timeout))
    }

    /// Those that have failed lately come last.
    fn order(&self) -> Vec<&Server> {
        let mut servers = Vec::from_iter(&self.servers);
        if servers.len() > 1 {
            if self.rotate {
                let first = self.next.fetch_add(1, Ordering::Relaxed);
                servers.rotate_left(first % self.servers.len());
            }
            let now = Instant::now();
            servers.sort_by_cached_key(|server| server.is_distrusted(now));
        }
        servers
    }
}

struct Server {
    nameserver: Nameserver,
    timeout: Duration,
    udp: Udp,
    tls: Option<ClientConfig>,
    provider: TokioRuntimeProvider,
    /// Whoever holds the lock connects; the others wait for that.
    stream: tokio::sync::Mutex<Option<DnsExchange<TokioRuntimeProvider>>>,
    /// Whether the server does not understand EDNS (RFC 6891).
    is_old: AtomicBool,
    distrusted_until: Mutex<Option<Instant>>,
}

impl Server {
    fn new(
        nameserver: Nameserver,
        timeout: Duration,
        tls: Option<ClientConfig>,
        provider: TokioRuntimeProvider,
    ) -> Self {
        Self {
            udp: Udp::new(nameserver.address),
            nameserver,
            timeout,
            tls,
            provider,
            stream: tokio::sync::Mutex::default(),
            is_old: AtomicBool::new(false),
            distrusted_until: Mutex::default(),
        }
    }

    fn note(&self, failure: Option<&DnsError>) {
        let until = failure.map(|_| Instant::now() + DISTRUST);
        *self.distrusted_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
        // A stream may have died without anybody telling.
        if failure.is_some_and(|failure| failure.code == "ETIMEOUT")
            && let Ok(mut stream) = self.stream.try_lock()
        {
            stream.take();
        }
    }

    fn is_distrusted(&self, now: Instant) -> bool {
        let until = self.distrusted_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| now < until)
    }

    /// Asks for a message that says that there is something, or that there is nothing.
    async fn ask(&self, name: &Name, kind: RecordType) -> Result<Message, DnsError> {
        let is_old = self.is_old.load(Ordering::Relaxed);
        let mut message = self.exchange(name, kind, !is_old).await?;
        if message.metadata.response_code == ResponseCode::FormErr && !is_old {
            message = self.exchange(name, kind, false).await?;
            if message.metadata.response_code != ResponseCode::FormErr {
                self.is_old.store(true, Ordering::Relaxed);
            }
        }
        match message.metadata.response_code {
            ResponseCode::NoError | ResponseCode::NXDomain => Ok(message),
            code => Err(code.into()),
        }
    }

    async fn exchange(&self, name: &Name, kind: RecordType, edns: bool) -> Result<Message, DnsError> {
        let mut query = question(name, kind, edns);
        if self.nameserver.transport == Transport::Udp {
            let answer = self.udp.ask(&mut query).await?;
            let message = Message::from_vec(&answer).map_err(DnsError::nonsense)?;
            if !message.metadata.truncation {
                return Ok(message);
            }
        }
        // Rare and large: a task begins with being copied, all that it may ever need included.
        Box::pin(self.ask_by_stream(query)).await
    }

    async fn ask_by_stream(&self, query: Message) -> Result<Message, DnsError> {
        let request = DnsRequest::new(query, DnsRequestOptions::default());
        loop {
            let (stream, is_new) = self.stream().await?;
            match stream.send(request.clone()).first_answer().await {
                Ok(response) if !repeats(&response, &request) => {
                    return Err(DnsError::nonsense("the answer is to another question"));
                }
                Ok(response) if response.metadata.truncation => {
                    return Err(DnsError::nonsense("the answer is cut off where there is room"));
                }
                Ok(response) => return Ok(response.into_message()),
                Err(error) => {
                    self.stream.lock().await.take();
                    // The server closes streams that were idle.
                    if is_new {
                        return Err(error.into());
                    }
                }
            }
        }
    }

    /// Returns the stream to the server, and whether it was made for that.
    async fn stream(&self) -> Result<(DnsExchange<TokioRuntimeProvider>, bool), DnsError> {
        let mut stream = self.stream.lock().await;
        if let Some(stream) = &*stream {
            return Ok((stream.clone(), false));
        }
        let made = self.connect(self.nameserver.address).await?;
        Ok((stream.insert(made).clone(), true))
    }

    async fn connect(&self, address: SocketAddr) -> Result<DnsExchange<TokioRuntimeProvider>, DnsError> {
        let (timeout, most, provider) = (self.timeout, Some(MOST_ON_A_STREAM), self.provider.clone());
        let made = match (&self.nameserver.transport, &self.tls) {
            (Transport::Tls(name), Some(config)) => {
                tls_exchange(address, name.clone(), config.clone(), timeout, most, provider).await
            }
            _ => TcpClientStream::exchange(address, None, timeout, most, provider).await,
        };
        Ok(made?)
    }
}

fn question(name: &Name, kind: RecordType, edns: bool) -> Message {
    let mut message = Message::query();
    message.add_query(Query::query(name.clone(), kind));
    message.metadata.recursion_desired = true;
    if edns {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_PAYLOAD);
        message.set_edns(edns);
    }
    message
}

fn repeats(response: &DnsResponse, request: &DnsRequest) -> bool {
    let is_failure = response.metadata.response_code != ResponseCode::NoError;
    response.queries == request.queries || (is_failure && response.queries.is_empty())
}

enum Progress {
    Done(Reply),
    /// The answer ends with an alias of this name. It holds for so many seconds.
    Alias(Name, u32),
}

/// Says what an answer to the question for `name` means. `ttl` is how long the aliases hold that led to it, in seconds.
fn read(message: Message, name: Name, kind: RecordType, mut ttl: u32) -> Progress {
    let seconds = |ttl: u32| Duration::from_secs(ttl.into());
    let code = message.metadata.response_code;
    let negative_ttl = message.authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
        _ => None,
    });
    let mut answers = message.answers;
    let mut owner = name;
    if kind != RecordType::CNAME {
        let mut seen = HashSet::new();
        while let Some(record) =
            answers.iter().find(|record| record.name == owner && matches!(record.data, RData::CNAME(_)))
        {
            let RData::CNAME(target) = &record.data else { break };
            ttl = ttl.min(record.ttl);
            let target = target.0.clone();
            if !seen.insert(std::mem::replace(&mut owner, target)) {
                break;
            }
        }
        let is_elsewhere = !seen.is_empty() && !answers.iter().any(|record| record.name == owner);
        if is_elsewhere && code == ResponseCode::NoError && negative_ttl.is_none() {
            return Progress::Alias(owner, ttl);
        }
    }
    answers.retain(|record| record.name == owner && record.record_type() == kind);
    let records = Vec::from_iter(answers.into_iter().filter_map(|record| {
        ttl = ttl.min(record.ttl);
        Some(Record { ttl: record.ttl, data: translate(record.data)? })
    }));
    let canonical = shown(&owner);
    Progress::Done(if records.is_empty() {
        let ttl = negative_ttl.map(|negative| seconds(negative.min(ttl)));
        Reply { found: Err(code.into()), canonical, ttl }
    } else {
        Reply { found: Ok(records.into()), canonical, ttl: Some(seconds(ttl)) }
    })
}
