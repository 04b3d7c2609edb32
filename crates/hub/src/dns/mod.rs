//! Name resolution: what is known is answered at once, what is not is asked for on a thread of its own.
//!
//! This module and its files are all that names hickory and tokio. The hub's thread has the hosts file, the cache and who
//! waits for what ([`Dns`]); the other thread has the sockets ([`client::Client`]). A question that is new is handed to that
//! thread, which leaves the reply in a queue and uses the hub's [`Waker`]. Those who want to know the same meanwhile wait for
//! the same reply.
//!
//! Addresses of a host are looked for as getaddrinfo(3) does by default: an address answers itself, then comes the hosts
//! file, then (for `localhost`, RFC 6761) loopback, then DNS, with the search domains.

mod cache;
mod client;
mod error;
mod hosts;
mod names;
mod options;
mod records;
mod sort;
mod thread;
mod udp;

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

pub use error::DnsError;
pub use options::{CacheOptions, Nameserver, ResolverOptions, Transport};
pub use records::{Field, Record, RecordData, RecordKind};
pub use sort::Order;

use crate::clock::{Clock, StoppableClock, as_nanos};
use crate::poller::Waker;
use crate::slab::{Key, Slab};
use cache::Cache;
use client::{Client, Reply};
use hosts::{Hosts, LOOK_AGAIN};
pub use names::reversed;
use names::{Address, candidates, check, fold, literal, special, to_wire};
use options::Settings;
use thread::{Inbox, Thread, Ticket};

/// How many questions are on the wire at once; others queue. A name server's receive buffer holds few more packets.
const MOST_AT_ONCE: usize = 128;
/// After so long a question without an answer is no longer in anybody's buffer, and others may be asked beside it.
const PATIENCE: Duration = Duration::from_millis(500);

/// Which addresses are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// IPv4 and IPv6.
    #[default]
    Any,
    /// IPv4 only (A records).
    V4,
    /// IPv6 only (AAAA records).
    V6,
}

impl Family {
    fn has(self, ip: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::V4 => ip.is_ipv4(),
            Self::V6 => ip.is_ipv6(),
        }
    }
}

/// What is wanted to be known of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The addresses of a host.
    Addresses(Family, Order),
    /// The records of a name, from DNS only.
    Records(RecordKind),
}

impl Wanted {
    /// The questions that have to be asked for it.
    fn kinds(self) -> &'static [RecordKind] {
        match self {
            Self::Addresses(Family::Any, _) => &[RecordKind::A, RecordKind::Aaaa],
            Self::Addresses(Family::V4, _) => &[RecordKind::A],
            Self::Addresses(Family::V6, _) => &[RecordKind::Aaaa],
            Self::Records(kind) => kind.alone(),
        }
    }

    /// A number for it: that of the kind of record; or 128, 16 times the family, and the order.
    pub fn tag(self) -> u8 {
        match self {
            Self::Records(kind) => kind as u8,
            Self::Addresses(family, order) => 0x80 | (family as u8) << 4 | order as u8,
        }
    }

    /// What has this [`tag`](Self::tag).
    pub fn of_tag(tag: u8) -> Option<Self> {
        if tag < 0x80 {
            return RecordKind::of_number(tag).map(Self::Records);
        }
        let family = match tag >> 4 & 7 {
            0 => Family::Any,
            1 => Family::V4,
            2 => Family::V6,
            _ => return None,
        };
        let order = match tag & 15 {
            0 => Order::Sorted,
            1 => Order::Ipv4First,
            2 => Order::Ipv6First,
            3 => Order::Verbatim,
            _ => return None,
        };
        Some(Self::Addresses(family, order))
    }
}

/// The addresses of a host: at least one.
#[derive(Debug, PartialEq, Eq)]
pub struct Host {
    /// In the order in which they are to be tried; IPv6 addresses with their scope if they have one.
    pub addresses: Vec<Box<str>>,
    /// The name at the end of all aliases.
    pub canonical: String,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The addresses of a host.
    Addresses(Rc<Host>),
    /// The records of a name.
    Records {
        /// At least one.
        records: Arc<[Record]>,
        /// How long ago they came, in seconds.
        age: u32,
    },
}

/// How a lookup ended.
pub type Answer = Result<Found, DnsError>;

/// The number of a resolver made by [`Dns::add_resolver`].
pub type ResolverId = u32;

/// Looks names up for one hub. Resolvers differ in whom they ask and how; they share the thread.
pub struct Dns {
    inbox: Arc<Inbox>,
    hosts: Hosts,
    permits: Arc<Semaphore>,
    /// Started when the first question is asked.
    thread: Option<Thread>,
    resolvers: Vec<Option<Resolver>>,
    flights: Slab<Flight>,
    requests: Slab<Request>,
    /// Where keys of the cache are composed.
    key: Vec<u8>,
}

struct Resolver {
    client: Arc<Client>,
    hosts: bool,
    search: Vec<Box<[u8]>>,
    ndots: usize,
    cache: Cache<Kept>,
    limits: CacheOptions,
    in_flight: HashMap<Box<[u8]>, Key>,
}

/// What the cache has.
enum Kept {
    /// The reply to a question.
    Reply(Rc<Reply>),
    /// The addresses of a host, under the name that was looked up.
    Addresses {
        answer: Answer,
        /// Of the hosts file, which may have the name since.
        generation: u32,
    },
}

/// A question on its way.
struct Flight {
    resolver: ResolverId,
    key: Box<[u8]>,
    /// Requests.
    waiting: Vec<Key>,
    task: Option<AbortHandle>,
}

/// A reply and between which times it holds, in nanoseconds. One that must not be kept has expired when it comes.
#[derive(Clone)]
struct Dated {
    reply: Rc<Reply>,
    stored: u64,
    expires: u64,
}

/// A lookup under way.
struct Request {
    /// Who is to be woken.
    token: u32,
    resolver: ResolverId,
    wanted: Wanted,
    /// Under which key the result is kept.
    key: Box<[u8]>,
    generation: u32,
    /// The names still to be tried, backwards, from the current one.
    names: Vec<Box<[u8]>>,
    /// Those for the current name, in the order of [`Wanted::kinds`].
    replies: [Option<Dated>; 2],
    flights: [Option<Key>; 2],
    /// The most telling failure of the names before.
    failure: Option<DnsError>,
    /// Until when all replies hold that were used.
    expires: u64,
    answer: Option<Answer>,
}

impl Dns {
    /// Creates the means to look names up. Starts nothing. Answers use `waker`.
    pub fn new(waker: Waker) -> Self {
        Self {
            inbox: Arc::new(Inbox::new(waker)),
            hosts: Hosts::of_the_system(),
            permits: Arc::new(Semaphore::new(MOST_AT_ONCE)),
            thread: None,
            resolvers: Vec::new(),
            flights: Slab::new(),
            requests: Slab::new(),
            key: Vec::new(),
        }
    }

    /// Makes a resolver.
    ///
    /// # Errors
    /// `InvalidInput` if a search domain is no name, or if there is no certificate to trust TLS name servers by.
    pub fn add_resolver(&mut self, options: &ResolverOptions) -> io::Result<ResolverId> {
        let settings = Settings::new(options)?;
        let resolver = Resolver {
            client: Arc::new(Client::new(&settings)),
            hosts: options.hosts,
            search: settings.search,
            ndots: settings.ndots,
            cache: Cache::new(options.cache.size),
            limits: options.cache,
            in_flight: HashMap::new(),
        };
        let free = self.resolvers.iter().position(Option::is_none);
        let index = free.unwrap_or_else(|| {
            self.resolvers.push(None);
            self.resolvers.len() - 1
        });
        self.resolvers[index] = Some(resolver);
        Ok(index as ResolverId)
    }

    /// Ends a resolver. Lookups still under way are answered with `ECANCELLED`; `wake` is called for each.
    pub fn remove_resolver(&mut self, id: ResolverId, mut wake: impl FnMut(u32)) {
        let Some(Some(resolver)) = self.resolvers.get_mut(id as usize).map(Option::take) else { return };
        for &flight in resolver.in_flight.values() {
            let Some(flight) = self.flights.remove(flight) else { continue };
            if let Some(task) = flight.task {
                task.abort();
            }
            for request in flight.waiting {
                if let Some(request) = self.requests.get_mut(request)
                    && request.answer.is_none()
                {
                    request.answer = Some(Err(DnsError::cancelled()));
                    wake(request.token);
                }
            }
        }
    }

    /// Answers from what is known: addresses, the hosts file, the cache. `None` if somebody has to be asked.
    pub fn known(
        &mut self,
        clock: &StoppableClock,
        id: ResolverId,
        host: &str,
        wanted: Wanted,
    ) -> Option<Answer> {
        let Some(Some(resolver)) = self.resolvers.get_mut(id as usize) else {
            return Some(Err(DnsError::new("ECANCELLED", "the resolver is closed")));
        };
        match wanted {
            Wanted::Records(_) => {
                compose(&mut self.key, wanted, &fold(host.as_bytes()));
                let dated = resolver.kept(&self.key, clock.now());
                let found = dated.map(|dated| dated.answer(clock.now()));
                found.or_else(|| refusal(&self.key[1..]).map(Err))
            }
            Wanted::Addresses(family, order) => {
                if let Some(address) = literal(host) {
                    let canonical = host.to_owned();
                    return Some(Ok(Found::Addresses(Rc::new(Host {
                        addresses: vec![address.text],
                        canonical,
                    }))));
                }
                compose(&mut self.key, wanted, host.as_bytes());
                self.key[1..].make_ascii_lowercase();
                let now = clock.now();
                let generation = if resolver.hosts { self.hosts.generation(clock.system_now()) } else { 0 };
                if let Some(hit) = resolver.cache.get(&self.key, now)
                    && let Kept::Addresses { answer, generation: then } = hit.value
                    && *then == generation
                {
                    return Some(answer.clone());
                }
                let folded = self.key[1..].strip_suffix(b".").unwrap_or(&self.key[1..]);
                let hosts = resolver.hosts.then_some(&self.hosts);
                let answer = local(hosts, folded, family, order)?;
                let kept = Kept::Addresses { answer: answer.clone(), generation };
                // The system's own addresses may change meanwhile, and with them the order.
                resolver.cache.put(&self.key, kept, now, LOOK_AGAIN);
                Some(answer)
            }
        }
    }

    /// Starts to look `host` up, which [`known`](Self::known) did not know. Never blocks. [`take_answers`](Self::take_answers)
    /// tells when it is done; it may also be done at once. Returns the number of the request, or `None` if there is no such
    /// resolver. It must be [finished](Self::finish).
    pub fn start(
        &mut self,
        clock: &StoppableClock,
        token: u32,
        id: ResolverId,
        host: &str,
        wanted: Wanted,
    ) -> Option<u64> {
        let resolver = self.resolvers.get(id as usize)?.as_ref()?;
        compose(&mut self.key, wanted, host.as_bytes());
        self.key[1..].make_ascii_lowercase();
        let strictly = matches!(wanted, Wanted::Addresses(..));
        let mut names = if strictly {
            candidates(host.as_bytes(), &resolver.search, resolver.ndots)
        } else {
            vec![fold(host.as_bytes()).into()]
        };
        // With a search domain, a name may be too long.
        names.retain(|name| check(name, strictly).is_ok());
        names.reverse();
        let request = Request {
            token,
            resolver: id,
            wanted,
            key: self.key.as_slice().into(),
            generation: if resolver.hosts { self.hosts.generation(clock.system_now()) } else { 0 },
            names,
            replies: [const { None }; 2],
            flights: [None; 2],
            failure: None,
            expires: u64::MAX,
            answer: None,
        };
        let request = self.requests.insert(request);
        self.proceed(request, clock.now());
        Some(request.to_bits())
    }

    /// Whether a request has been answered.
    pub fn is_answered(&self, request: u64) -> bool {
        self.requests.get(Key::from_bits(request)).is_none_or(|request| request.answer.is_some())
    }

    /// Ends a request and returns its answer, if it has come.
    pub fn finish(&mut self, request: u64) -> Option<Answer> {
        let key = Key::from_bits(request);
        let request = self.requests.remove(key)?;
        for flight in request.flights.into_iter().flatten() {
            self.leave(flight, key);
        }
        request.answer
    }

    /// How many requests have not been finished.
    pub fn pending(&self) -> usize {
        self.requests.len()
    }

    /// How many questions are on their way.
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// Takes the replies that have come. Calls `wake` for each request that they answer, in order of arrival. To be called
    /// whenever the poller was woken.
    pub fn take_answers(&mut self, clock: &StoppableClock, mut wake: impl FnMut(u32)) {
        let now = clock.now();
        for letter in self.inbox.take() {
            let Some(flight) = self.flights.remove(letter.flight) else { continue };
            let Some(Some(resolver)) = self.resolvers.get_mut(flight.resolver as usize) else { continue };
            resolver.in_flight.remove(&flight.key);
            let dated = resolver.keep(&flight.key, Rc::new(letter.reply), now);
            for key in flight.waiting {
                let Some(request) = self.requests.get_mut(key) else { continue };
                let Some(place) = request.flights.iter().position(|one| *one == Some(letter.flight)) else {
                    continue;
                };
                request.flights[place] = None;
                request.replies[place] = Some(dated.clone());
                self.proceed(key, now);
                if let Some(request) = self.requests.get(key)
                    && request.answer.is_some()
                {
                    wake(request.token);
                }
            }
        }
    }

    /// Returns the names of an address in the hosts file, if the resolver looks there.
    pub fn names_of(&mut self, clock: &StoppableClock, id: ResolverId, ip: IpAddr) -> Option<Vec<String>> {
        let resolver = self.resolvers.get(id as usize)?.as_ref()?;
        if !resolver.hosts {
            return None;
        }
        self.hosts.generation(clock.system_now());
        self.hosts.names(ip).map(<[String]>::to_vec)
    }

    /// Goes on with a request for whose current name all replies have come, or none.
    fn proceed(&mut self, key: Key, now: u64) {
        loop {
            let Some(request) = self.requests.get_mut(key) else { return };
            let Some(Some(resolver)) = self.resolvers.get_mut(request.resolver as usize) else { return };
            let kinds = request.wanted.kinds();
            let Some(name) = request.names.last() else {
                request.answer =
                    Some(Err(request.failure.take().unwrap_or_else(|| request.wanted.no_name())));
                request.keep(resolver, now);
                return;
            };
            for (place, kind) in kinds.iter().enumerate() {
                if request.replies[place].is_none() {
                    compose(&mut self.key, Wanted::Records(*kind), name);
                    request.replies[place] = resolver.kept(&self.key, now);
                }
            }
            if request.flights.iter().any(Option::is_some) {
                return;
            }
            if request.replies[..kinds.len()].iter().all(Option::is_some) {
                if request.conclude(now) {
                    request.keep(resolver, now);
                    return;
                }
                continue;
            }
            let (id, name) = (request.resolver, name.clone());
            for (place, kind) in kinds.iter().enumerate() {
                let is_missing =
                    self.requests.get(key).is_some_and(|request| request.replies[place].is_none());
                if is_missing {
                    let flight = self.join_flight(id, *kind, &name, key);
                    if let Some(request) = self.requests.get_mut(key) {
                        request.flights[place] = flight;
                    }
                }
            }
            return;
        }
    }

    /// Lets a request wait for the reply to a question, which is asked if it is not on its way yet.
    fn join_flight(&mut self, id: ResolverId, kind: RecordKind, name: &[u8], request: Key) -> Option<Key> {
        let resolver = self.resolvers.get_mut(id as usize)?.as_mut()?;
        compose(&mut self.key, Wanted::Records(kind), name);
        if let Some(&flight) = resolver.in_flight.get(self.key.as_slice()) {
            self.flights.get_mut(flight)?.waiting.push(request);
            return Some(flight);
        }
        let key: Box<[u8]> = self.key.as_slice().into();
        let flight = self.flights.insert(Flight {
            resolver: id,
            key: key.clone(),
            waiting: vec![request],
            task: None,
        });
        resolver.in_flight.insert(key, flight);
        let ticket = Ticket::new(flight, &self.inbox);
        let client = Arc::clone(&resolver.client);
        let permits = Arc::clone(&self.permits);
        let thread = match &mut self.thread {
            Some(thread) => thread,
            None => match Thread::start() {
                Ok(thread) => self.thread.insert(thread),
                Err(error) => {
                    let message = format!("the resolver's thread cannot start: {error}");
                    ticket.answer(Reply::failed(DnsError::new("ECONNREFUSED", message)));
                    return Some(flight);
                }
            },
        };
        let name = to_wire(name);
        let task = thread.spawn(async move {
            let reply = match name {
                Ok(name) => ask(&client, name, kind, &permits).await,
                Err(error) => Reply::failed(error),
            };
            ticket.answer(reply);
        });
        self.flights.get_mut(flight)?.task = Some(task);
        Some(flight)
    }

    /// Lets a request wait no longer; what nobody waits for is not asked any more.
    fn leave(&mut self, key: Key, request: Key) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        flight.waiting.retain(|waiting| *waiting != request);
        if !flight.waiting.is_empty() {
            return;
        }
        let Some(flight) = self.flights.remove(key) else { return };
        if let Some(task) = flight.task {
            task.abort();
        }
        if let Some(Some(resolver)) = self.resolvers.get_mut(flight.resolver as usize) {
            resolver.in_flight.remove(&flight.key);
        }
    }
}

/// Asks as soon as there is a permit.
async fn ask(
    client: &Client,
    name: hickory_resolver::proto::rr::Name,
    kind: RecordKind,
    permits: &Semaphore,
) -> Reply {
    // The permits are never closed; should they be, to go on without one is right.
    let mut permit = permits.acquire().await.ok();
    let mut resolving = std::pin::pin!(client.resolve(name, kind));
    if let Ok(reply) = tokio::time::timeout(PATIENCE, resolving.as_mut()).await {
        return reply;
    }
    permit.take();
    resolving.await
}

fn compose(key: &mut Vec<u8>, wanted: Wanted, name: &[u8]) {
    key.clear();
    key.push(wanted.tag());
    key.extend_from_slice(name);
}

/// Why a name is never asked for, if it is not.
fn refusal(folded: &[u8]) -> Option<DnsError> {
    check(folded, false).err().or_else(|| special(folded)?.err())
}

/// Answers without a name server, if that is right.
fn local(hosts: Option<&Hosts>, folded: &[u8], family: Family, order: Order) -> Option<Answer> {
    let found = |addresses: &mut dyn Iterator<Item = Address>, canonical: &str| {
        let mut addresses = Vec::from_iter(addresses.filter(|address| family.has(address.ip)));
        order.apply(&mut addresses);
        let addresses = Vec::from_iter(addresses.into_iter().map(|address| address.text));
        (!addresses.is_empty())
            .then(|| Ok(Found::Addresses(Rc::new(Host { addresses, canonical: canonical.to_owned() }))))
    };
    if let Some(host) = hosts.and_then(|hosts| hosts.find(folded))
        && let Some(answer) = found(&mut host.addresses.iter().cloned(), &host.canonical)
    {
        return Some(answer);
    }
    match special(folded) {
        Some(Ok(loopback)) => found(&mut loopback.into_iter().map(Address::from), "localhost"),
        Some(Err(error)) => Some(Err(error)),
        None => check(folded, true).err().map(|_| Err(DnsError::not_found())),
    }
}

impl Wanted {
    /// What a name fails with that can be none.
    fn no_name(self) -> DnsError {
        match self {
            Self::Addresses(..) => DnsError::not_found(),
            Self::Records(_) => DnsError::bad_name(),
        }
    }
}

impl Resolver {
    fn kept(&mut self, key: &[u8], now: u64) -> Option<Dated> {
        let hit = self.cache.get(key, now)?;
        let Kept::Reply(reply) = hit.value else { return None };
        Some(Dated { reply: Rc::clone(reply), stored: hit.stored, expires: hit.expires })
    }

    /// Keeps the reply to a question as long as it allows.
    fn keep(&mut self, key: &[u8], reply: Rc<Reply>, now: u64) -> Dated {
        let lifetime = reply.ttl.map_or(Duration::ZERO, |ttl| self.limits.lifetime(ttl, reply.found.is_ok()));
        let lifetime = as_nanos(lifetime);
        self.cache.put(key, Kept::Reply(Rc::clone(&reply)), now, lifetime);
        Dated { reply, stored: now, expires: now.saturating_add(lifetime) }
    }
}

impl Dated {
    fn answer(&self, now: u64) -> Answer {
        const SECOND: u64 = 1_000_000_000;
        let age = now.saturating_sub(self.stored) / SECOND;
        let records = self.reply.found.clone()?;
        Ok(Found::Records { records, age: u32::try_from(age).unwrap_or(u32::MAX) })
    }
}

impl Request {
    /// Makes the answer from the replies for the current name, or goes on to the next one: then returns `false`.
    fn conclude(&mut self, now: u64) -> bool {
        self.names.pop();
        let replies = std::mem::take(&mut self.replies);
        let replies = Vec::from_iter(replies.into_iter().flatten());
        for dated in &replies {
            self.expires = self.expires.min(dated.expires);
        }
        let order = match self.wanted {
            Wanted::Addresses(_, order) => order,
            Wanted::Records(_) => {
                self.answer = replies.first().map(|dated| dated.answer(now));
                return true;
            }
        };
        let records =
            replies.iter().filter_map(|dated| dated.reply.found.as_ref().ok()).flat_map(|found| &**found);
        let mut addresses = Vec::from_iter(records.filter_map(|record| match record.data {
            RecordData::Address(ip) => Some(Address::from(ip)),
            RecordData::Fields(_) => None,
        }));
        if !addresses.is_empty() {
            order.apply(&mut addresses);
            let named = replies.iter().find(|dated| dated.reply.found.is_ok());
            let canonical = named.map_or_else(String::new, |dated| dated.reply.canonical.clone());
            let addresses = Vec::from_iter(addresses.into_iter().map(|address| address.text));
            self.answer = Some(Ok(Found::Addresses(Rc::new(Host { addresses, canonical }))));
            return true;
        }
        let failures = replies.iter().filter_map(|dated| dated.reply.found.as_ref().err());
        for failure in failures {
            // As the C library: a name server that fails for one name may know the next; one that is silent is not asked on.
            let is_final = !matches!(failure.code, "ENOTFOUND" | "ENODATA" | "ESERVFAIL");
            if is_final {
                self.answer = Some(Err(failure.clone()));
                return true;
            }
            if self.failure.as_ref().is_none_or(|known| tells_more(failure, known)) {
                self.failure = Some(failure.clone());
            }
        }
        false
    }

    /// Keeps the addresses as long as everything holds that they are made of.
    fn keep(&self, resolver: &mut Resolver, now: u64) {
        if let (Wanted::Addresses(..), Some(answer)) = (self.wanted, &self.answer) {
            let kept = Kept::Addresses { answer: answer.clone(), generation: self.generation };
            resolver.cache.put(&self.key, kept, now, self.expires.saturating_sub(now));
        }
    }
}

/// Of what is known of several names: that one exists tells more than that a server failed, and that more than nothing.
fn tells_more(failure: &DnsError, known: &DnsError) -> bool {
    let rank = |error: &DnsError| match error.code {
        "ENODATA" => 2,
        "ESERVFAIL" => 1,
        _ => 0,
    };
    rank(failure) > rank(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_stand_for_what_is_wanted() {
        let tags = Vec::from_iter((0..=u8::MAX).filter_map(|tag| Some((tag, Wanted::of_tag(tag)?))));
        assert_eq!(tags.len(), 11 + 3 * 4);
        for (tag, wanted) in tags {
            assert_eq!(wanted.tag(), tag);
        }
    }
}
