//! Name resolution against a scripted server on the loopback.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use greenstack_hub::{
    Answer, CacheOptions, Dns, Event, Family, Found, Order, Poller, RecordData, RecordKind, ResolverId,
    ResolverOptions, StoppableClock, Wanted,
};

const A: u16 = 1;
const AAAA: u16 = 28;

/// What the script says to a question: a response code and addresses, or nothing at all.
type Script = fn(name: &str, kind: u16) -> Option<(u8, Vec<IpAddr>)>;

/// A name server on UDP and TCP. Names that start with `big` are cut off on UDP.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Vec<u8>>>>,
    stopped: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    fn start(script: Script) -> Self {
        let (udp, tcp) = sockets();
        let address = udp.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let stopped = Arc::new(AtomicBool::new(false));
        let (log, stop) = (Arc::clone(&asked), Arc::clone(&stopped));
        let on_udp = thread::spawn(move || {
            let mut buffer = [0; 1500];
            loop {
                let (length, peer) = udp.recv_from(&mut buffer).unwrap();
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                log.lock().unwrap().push(buffer[..length].to_vec());
                if let Some(answer) = answer(&buffer[..length], script, true) {
                    udp.send_to(&answer, peer).unwrap();
                }
            }
        });
        let stop = Arc::clone(&stopped);
        let on_tcp = thread::spawn(move || {
            loop {
                let (mut stream, _) = tcp.accept().unwrap();
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let mut length = [0; 2];
                while stream.read_exact(&mut length).is_ok() {
                    let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
                    stream.read_exact(&mut query).unwrap();
                    let answer = answer(&query, script, false).unwrap();
                    let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                    stream.write_all(&[&length[..], &answer].concat()).unwrap();
                }
            }
        });
        Self { address, asked, stopped, threads: vec![on_udp, on_tcp] }
    }

    /// How many packets have come.
    fn packets(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// How many different queries have come: one that is sent again, as the server was slow, counts once.
    fn queries(&self) -> usize {
        let mut queries = self.asked.lock().unwrap().clone();
        queries.sort();
        queries.dedup();
        queries.len()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        let bell = UdpSocket::bind("127.0.0.1:0").unwrap();
        bell.send_to(b"stop", self.address).unwrap();
        drop(std::net::TcpStream::connect(self.address));
        for thread in self.threads.drain(..) {
            let result = thread.join();
            assert!(result.is_ok() || thread::panicking());
        }
    }
}

/// A UDP and a TCP socket with the same port.
fn sockets() -> (UdpSocket, TcpListener) {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
            return (udp, tcp);
        }
    }
}

/// Composes the answer to a query with one question.
fn answer(query: &[u8], script: Script, cut: bool) -> Option<Vec<u8>> {
    let mut name = String::new();
    let mut at = 12;
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        name += std::str::from_utf8(&query[at + 1..end]).unwrap();
        name.push('.');
        at = end;
    }
    let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    let (code, addresses) = script(&name, kind)?;
    let cut = cut && name.starts_with("big");
    let count = if cut { 0 } else { addresses.len() };
    let mut answer = query[..2].to_vec();
    answer.extend([0x81 | u8::from(cut) << 1, 0x80 | code, 0, 1, 0]);
    answer.push(u8::try_from(count).unwrap());
    answer.extend([0, 0, 0, 0]);
    answer.extend(&query[12..at + 5]);
    for address in addresses.iter().take(count) {
        let bytes = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let kind = if address.is_ipv4() { A } else { AAAA } as u8;
        answer.extend([0xC0, 12, 0, kind, 0, 1, 0, 0, 0, 60, 0]);
        answer.push(u8::try_from(bytes.len()).unwrap());
        answer.extend(bytes);
    }
    Some(answer)
}

/// The usual script: the first label says what happens.
fn usual(name: &str, kind: u16) -> Option<(u8, Vec<IpAddr>)> {
    let addresses = match (name.split('.').next()?, kind) {
        ("silent", _) => return None,
        ("formerr", _) => return Some((1, vec![])),
        ("servfail", _) => return Some((2, vec![])),
        ("missing" | "short" | "full", _) => return Some((3, vec![])),
        ("refused", _) => return Some((5, vec![])),
        ("six", A) | ("four", AAAA) | ("empty", _) => vec![],
        (_, A) => ips(&["192.0.2.2", "192.0.2.1"]),
        _ => ips(&["2001:db8::2", "2001:db8::1"]),
    };
    Some((0, addresses))
}

fn ips(addresses: &[&str]) -> Vec<IpAddr> {
    Vec::from_iter(addresses.iter().map(|address| address.parse().unwrap()))
}

/// What was found: addresses, or the code of a failure.
type Addresses = Result<Vec<IpAddr>, &'static str>;

/// A hub that does nothing but look names up.
struct Hub {
    poller: Poller,
    clock: StoppableClock,
    dns: Dns,
}

impl Hub {
    fn new() -> Self {
        let poller = Poller::new().unwrap();
        let dns = Dns::new(poller.waker());
        Self { poller, clock: StoppableClock::new(), dns }
    }

    fn resolver(&mut self, servers: &[&Server]) -> ResolverId {
        self.dns.add_resolver(&options(servers)).unwrap()
    }

    fn start(&mut self, token: u32, resolver: ResolverId, host: &str, family: Family) -> u64 {
        self.dns.start(&self.clock, token, resolver, host, verbatim(family)).unwrap()
    }

    /// Waits until some requests are answered: returns who was woken, in order.
    fn wait_for(&mut self, requests: &[u64]) -> Vec<u32> {
        let mut woken = Vec::new();
        self.dns.take_answers(&self.clock, |token| woken.push(token));
        while requests.iter().any(|request| !self.dns.is_answered(*request)) {
            self.poller.poll(None, |_, event| assert_eq!(event, Event::Woken)).unwrap();
            self.dns.take_answers(&self.clock, |token| woken.push(token));
        }
        woken
    }

    fn ask(&mut self, resolver: ResolverId, host: &str, wanted: Wanted) -> Answer {
        if let Some(answer) = self.dns.known(&self.clock, resolver, host, wanted) {
            return answer;
        }
        let request = self.dns.start(&self.clock, 1, resolver, host, wanted).unwrap();
        self.wait_for(&[request]);
        self.dns.finish(request).unwrap()
    }

    fn lookup(&mut self, resolver: ResolverId, host: &str, family: Family) -> Addresses {
        addresses(self.ask(resolver, host, verbatim(family)))
    }

    fn finish(&mut self, request: u64) -> Addresses {
        addresses(self.dns.finish(request).unwrap())
    }
}

fn verbatim(family: Family) -> Wanted {
    Wanted::Addresses(family, Order::Verbatim)
}

fn addresses(answer: Answer) -> Addresses {
    match answer.map_err(|error| error.code)? {
        Found::Addresses(host) => Ok(host.addresses.iter().map(|address| address.parse().unwrap()).collect()),
        Found::Records { .. } => panic!("these are no addresses"),
    }
}

fn options(servers: &[&Server]) -> ResolverOptions {
    ResolverOptions {
        nameservers: servers.iter().map(|server| server.address.into()).collect(),
        timeout: Some(Duration::from_secs(10)),
        tries: Some(2),
        hosts: false,
        ..ResolverOptions::default()
    }
}

fn code(answer: Addresses) -> &'static str {
    answer.unwrap_err()
}

#[test]
fn addresses_of_each_family_are_found_in_the_servers_order() {
    let server = Server::start(usual);
    let mut hub = Hub::new();
    let resolver = hub.resolver(&[&server]);
    let four = ips(&["192.0.2.2", "192.0.2.1"]);
    let six = ips(&["2001:db8::2", "2001:db8::1"]);
    let both = [four.clone(), six.clone()].concat();
    let mut lookup = |host: &str, family| hub.lookup(resolver, host, family).unwrap();
    assert_eq!(lookup("both.test", Family::V4), four);
    assert_eq!(lookup("both.test", Family::V6), six);
    assert_eq!(lookup("both.test.", Family::Any), both);
    assert_eq!(lookup("four.test", Family::Any), four);
    assert_eq!(lookup("six.test", Family::Any), six);
    assert_eq!(lookup("my_host.test", Family::V4), four);
}

#[test]
fn failures_have_their_codes() {
    let server = Server::start(usual);
    let mut hub = Hub::new();
    let resolver = hub.resolver(&[&server]);
    for family in [Family::Any, Family::V4, Family::V6] {
        let mut code = |host: &str| code(hub.lookup(resolver, host, family));
        assert_eq!(code("missing.test"), "ENOTFOUND");
        assert_eq!(code("servfail.test"), "ESERVFAIL");
        assert_eq!(code("refused.test"), "EREFUSED");
        assert_eq!(code("formerr.test"), "EFORMERR");
        assert_eq!(code("empty.test"), "ENODATA");
    }
    assert_eq!(code(hub.lookup(resolver, "six.test", Family::V4)), "ENODATA");
}

#[test]
fn silence_is_a_timeout_after_all_tries() {
    let server = Server::start(usual);
    let mut hub = Hub::new();
    let mut options = options(&[&server]);
    options.timeout = Some(Duration::from_millis(50));
    options.tries = Some(3);
    let resolver = hub.dns.add_resolver(&options).unwrap();
    let start = Instant::now();
    assert_eq!(code(hub.lookup(resolver, "silent.test", Family::V4)), "ETIMEOUT");
    assert!(start.elapsed() >= Duration::from_millis(150));
    assert_eq!(server.packets(), 3);
}

#[test]
fn one_try_is_one_try() {
    let server = Server::start(usual);
    let mut hub = Hub::new();
    for tries in [0, 1] {
        let mut options = options(&[&server]);
        options.timeout = Some(Duration::from_millis(50));
        options.tries = Some(tries);
        let resolver = hub.dns.add_resolver(&options).unwrap();
        let before = server.packets();
        assert_eq!(code(hub.lookup(resolver, "silent.test", Family::V4)), "ETIMEOUT");
        assert_eq!(server.packets() - before, 1);
    }
}

#[test]
fn a_server_that_answers_makes_up_for_a_silent_one_and_is_preferred_from_then_on() {
    let silent = Server::start(|_, _| None);
    let server = Server::start(usual);
    let mut hub = Hub::new();
    let mut options = options(&[&silent, &server]);
    options.timeout = Some(Duration::from_millis(100));
    let resolver = hub.dns.add_resolver(&options).unwrap();
    for host in ["a.test", "b.test", "c.test"] {
        let answer = hub.lookup(resolver, host, Family::V4);
        assert_eq!(answer.unwrap(), ips(&["192.0.2.2", "192.0.2.1"]));
    }
    assert_eq!(silent.packets(), 1);
}

#[test]
fn servers_take_turns_if_they_are_to() {
    let (first, second) = (Server::start(usual), Server::start(usual));
    let mut hub = Hub::new();
    let mut options = options(&[&first, &second]);
    options.rotate = true;
    let resolver = hub.dns.add_resolver(&options).unwrap();
    for host in ["a.test", "b.test", "c.test", "d.test"] {
        hub.lookup(resolver, host, Family::V4).unwrap();
    }
    assert_eq!((first.queries(), second.queries()), (2, 2));
}

#[test]
fn an_answer_that_was_cut_off_is_asked_for_by_tcp() {
    let server = Server::start(usual);
    let mut hub = Hub::new();
    let resolver = hub.resolver(&[&server]);
    let answer = hub.lookup(resolver, "big.test", Family::V4);
    assert_eq!(answer.unwrap(), ips(&["192.0.2.2", "192.0.2.1"]));
}

#[test]
fn answers_are_kept_as_long_as_they_allow() {
    let server = Server::start(usual);
    let mut hub = Hub::new();
    hub.clock.stop();
    let resolver = hub.resolver(&[&server]);
    for _ in 0..3 {
        hub.lookup(resolver, "a.test", Family::V4).unwrap();
    }
    assert_eq!(server.queries(), 1);
    let minute = 60_000_000_000;
    hub.clock.move_to(minute - 1);
    hub.lookup(resolver, "a.test", Family::V4).unwrap();
    assert_eq!(server.queries(), 1);
    hub.clock.move_to(minute);
    hub.lookup(resolver, "a.test", Family::V4).unwrap();
    assert_eq!(server.queries(), 2);
    let other = hub.resolver(&[&server]);
    hub.lookup(other, "a.test", Family::V4).unwrap();
    assert_eq!(server.queries(), 3, "each resolver has its own cache");
}

#[test]
fn what_is_kept_can_be_limited() {
    let server = Server::start(usual);
    let mut hub = Hub::new();
    hub.clock.stop();
    let second = Duration::from_secs(1);
    let mut options = options(&[&server]);
    options.cache = CacheOptions { size: 2, max_ttl: second, ..CacheOptions::default() };
    let resolver = hub.dns.add_resolver(&options).unwrap();
    hub.ask(resolver, "a.test", Wanted::Records(RecordKind::A)).unwrap();
    hub.clock.move_to(second.as_nanos() as u64);
    hub.ask(resolver, "a.test", Wanted::Records(RecordKind::A)).unwrap();
    assert_eq!(server.queries(), 2);
    for host in ["b.test", "c.test", "a.test"] {
        hub.ask(resolver, host, Wanted::Records(RecordKind::A)).unwrap();
    }
    assert_eq!(server.queries(), 5, "only two are kept");
    options.cache.size = 0;
    let resolver = hub.dns.add_resolver(&options).unwrap();
    for _ in 0..2 {
        hub.lookup(resolver, "a.test", Family::V4).unwrap();
    }
    assert_eq!(server.queries(), 7);
}

#[test]
fn records_tell_their_age() {
    let server = Server::start(usual);
    let mut hub = Hub::new();
    hub.clock.stop();
    let resolver = hub.resolver(&[&server]);
    for seconds in [0, 1, 59] {
        hub.clock.move_to(seconds * 1_000_000_000 + 1);
        let answer = hub.ask(resolver, "a.test", Wanted::Records(RecordKind::A)).unwrap();
        let Found::Records { records, age } = answer else { panic!("these are no records") };
        assert_eq!((records[0].ttl, u64::from(age)), (60, seconds));
        assert_eq!(records[0].data, RecordData::Address("192.0.2.2".parse().unwrap()));
    }
    assert_eq!(server.queries(), 1);
}

#[test]
fn equal_questions_are_asked_once_and_one_that_ends_does_not_end_the_others() {
    let server = Server::start(usual);
    let mut hub = Hub::new();
    let resolver = hub.resolver(&[&server]);
    let requests = Vec::from_iter((0..10).map(|token| hub.start(token, resolver, "a.test", Family::V4)));
    let silent = [
        hub.start(10, resolver, "silent.test", Family::V4),
        hub.start(11, resolver, "SILENT.test", Family::V4),
    ];
    assert_eq!(hub.dns.in_flight(), 2);
    assert_eq!(hub.dns.finish(requests[0]), None);
    assert_eq!(hub.dns.finish(silent[0]), None);
    assert_eq!(hub.wait_for(&requests[1..]), Vec::from_iter(1..10));
    for request in &requests[1..] {
        assert_eq!(hub.finish(*request).unwrap().len(), 2);
    }
    assert_eq!(hub.dns.in_flight(), 1);
    assert_eq!(hub.dns.finish(silent[1]), None);
    assert_eq!((hub.dns.in_flight(), hub.dns.pending()), (0, 0));
}

#[test]
fn addresses_and_localhost_need_no_query() {
    let server = Server::start(usual);
    let mut hub = Hub::new();
    let resolver = hub.resolver(&[&server]);
    for literal in ["192.0.2.7", "::1", "2001:db8::7"] {
        for family in [Family::Any, Family::V4, Family::V6] {
            let answer = hub.lookup(resolver, literal, family);
            assert_eq!(answer.unwrap(), ips(&[literal]));
        }
    }
    for host in ["localhost", "LOCALHOST.", "x.localhost"] {
        let mut lookup = |family| hub.lookup(resolver, host, family).unwrap();
        assert_eq!(lookup(Family::Any), ips(&["::1", "127.0.0.1"]));
        assert_eq!(lookup(Family::V4), ips(&["127.0.0.1"]));
        assert_eq!(lookup(Family::V6), ips(&["::1"]));
    }
    for host in ["", ".", "a b", "a..b", "a.onion", "invalid"] {
        assert_eq!(code(hub.lookup(resolver, host, Family::Any)), "ENOTFOUND");
    }
    for (name, code) in [("a..b", "EBADNAME"), ("a.onion", "ENOTFOUND")] {
        let answer = hub.ask(resolver, name, Wanted::Records(RecordKind::Mx));
        assert_eq!(answer.unwrap_err().code, code);
    }
    assert_eq!(server.queries(), 0);
}

#[test]
fn short_names_are_looked_for_in_the_search_domains() {
    let server = Server::start(|name, kind| match name {
        "short.second.test." => Some((0, ips(&["192.0.2.5"]))),
        "dotted.name." => Some((0, ips(&["192.0.2.6"]))),
        _ => usual("missing", kind),
    });
    let mut hub = Hub::new();
    let mut options = options(&[&server]);
    options.search = Some(vec!["first.test".into(), "second.test".into()]);
    options.ndots = Some(1);
    let resolver = hub.dns.add_resolver(&options).unwrap();
    let mut lookup = |host: &str| hub.lookup(resolver, host, Family::V4);
    assert_eq!(lookup("short").unwrap(), ips(&["192.0.2.5"]));
    assert_eq!(server.queries(), 2);
    assert_eq!(lookup("dotted.name").unwrap(), ips(&["192.0.2.6"]));
    assert_eq!(code(lookup("short.")), "ENOTFOUND");
    assert_eq!(code(lookup("absent")), "ENOTFOUND");
}

#[test]
fn a_search_domain_that_is_no_name_is_refused() {
    let options = ResolverOptions { search: Some(vec!["a b".into()]), ..ResolverOptions::default() };
    let error = Hub::new().dns.add_resolver(&options).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}

#[test]
fn the_systems_configuration_can_be_used() {
    let mut hub = Hub::new();
    let resolver = hub.dns.add_resolver(&ResolverOptions::default()).unwrap();
    let answer = hub.lookup(resolver, "localhost", Family::V4).unwrap();
    assert!(answer.iter().all(IpAddr::is_loopback));
}

#[test]
fn a_thousand_names_at_once_are_each_answered() {
    let server = Server::start(|name, kind| {
        let number = name[1..].split('.').next()?.parse::<u16>().ok()?;
        let [high, low] = number.to_be_bytes();
        let address = IpAddr::from([10, kind as u8, high, low]);
        Some((0, if kind == A { vec![address] } else { vec![] }))
    });
    let mut hub = Hub::new();
    let resolver = hub.resolver(&[&server]);
    let requests = Vec::from_iter(
        (0..1_000).map(|number| hub.start(number, resolver, &format!("n{number}.test"), Family::Any)),
    );
    assert_eq!(hub.dns.pending(), 1_000);
    let mut woken = hub.wait_for(&requests);
    woken.sort_unstable();
    assert_eq!(woken, Vec::from_iter(0..1_000));
    for (number, request) in (0u16..).zip(requests) {
        let [high, low] = number.to_be_bytes();
        assert_eq!(hub.finish(request).unwrap(), [IpAddr::from([10, 1, high, low])]);
    }
}

#[test]
fn resolvers_ask_their_own_servers_and_can_be_removed() {
    let first = Server::start(|_, _| Some((0, ips(&["192.0.2.1"]))));
    let second = Server::start(|_, _| None);
    let mut hub = Hub::new();
    let (one, two) = (hub.resolver(&[&first]), hub.resolver(&[&second]));
    let requests = [hub.start(1, one, "a.test", Family::V4), hub.start(2, two, "a.test", Family::Any)];
    let mut woken = Vec::new();
    hub.dns.remove_resolver(two, |token| woken.push(token));
    assert_eq!(woken, [2]);
    assert_eq!(hub.finish(requests[1]), Err("ECANCELLED"));
    hub.wait_for(&requests[..1]);
    assert_eq!(hub.finish(requests[0]), Ok(ips(&["192.0.2.1"])));
    assert_eq!(hub.dns.start(&hub.clock, 1, two, "a.test", verbatim(Family::Any)), None);
    assert_eq!(hub.resolver(&[&first]), two);
}

#[test]
fn lookups_under_way_end_with_their_hub() {
    let server = Server::start(usual);
    let mut hub = Hub::new();
    let resolver = hub.resolver(&[&server]);
    for token in 0..100 {
        hub.start(token, resolver, &format!("silent.{token}.test"), Family::Any);
    }
    drop(hub);
}
