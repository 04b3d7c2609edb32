//! The table of servers and connections: accepting, waiting for heads, timeouts, and the ends of connections.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::time::Duration;

use super::connection::{Body, Connection, ConnectionKey, Response, State};
use super::date::CachedDate;
use super::head::{self, Head, HeadLimits, Refusal, Scan};
use super::streams::{Link, Streams};
use crate::clock::as_nanos;
use crate::error::bad_descriptor;
use crate::hub::Ready;
use crate::net::{SocketKey, Waiter};
use crate::slab::Slab;
use crate::tls::{ConfigKey, Wants};

/// The number of a server.
pub type ServerId = u32;

/// What a server is told.
#[derive(Clone, Copy, Debug)]
pub struct ServerOptions {
    /// How long heads may be.
    pub limits: HeadLimits,
    /// Bytes of a request's body.
    pub max_body: u64,
    /// Encrypts connections: by a config for servers.
    pub tls: Option<ConfigKey>,
    /// How long the two ends may take to agree on keys.
    pub handshake_timeout: Duration,
    /// How long a head may take, from its first byte on, or from the connection on.
    pub head_timeout: Duration,
    /// How long a connection may wait for its next request.
    pub idle_timeout: Duration,
    /// Requests on one connection.
    pub max_requests: u32,
    /// Requests that run at a time.
    pub max_active: u32,
    /// Connections at a time.
    pub max_connections: u32,
    /// Connections accepted before others have their turn; `None`: some, and as many as there are others.
    pub max_accept: Option<u32>,
    /// Whether requests beyond `max_active` are refused (503), rather than left to wait.
    pub refuses_overload: bool,
}

pub(crate) struct Server {
    listener: Link,
    pub(crate) options: ServerOptions,
    /// Whether it wants connections.
    accepts: bool,
    /// Whether it does not take any for now: it is full, or accepting has failed.
    pauses: bool,
    /// When accepting is tried again after a failure; 0: not because of one.
    retry: u64,
    retry_delay: Duration,
    /// Whether connections end with the request that they have.
    stops: bool,
    /// Whether it is forgotten with its last connection.
    retires: bool,
    active: u32,
    connections: u32,
    /// Those that may have a request, and no room to run it.
    waiting: VecDeque<u32>,
}

impl Server {
    fn is_full(&self) -> bool {
        self.active >= self.options.max_active
    }

    fn has_room(&self) -> bool {
        !self.is_full() && self.connections < self.options.max_connections
    }
}

/// A request to be run, or something else to be told, of a server.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// Whose it is.
    pub server: ServerId,
    /// On which connection; `None`: accepting has failed. With neither a head nor a refusal: its handshake has.
    pub connection: Option<ConnectionKey>,
    /// The socket of the connection.
    pub socket: Option<SocketKey>,
    /// What the head says; `None` if it is refused. Offsets are those of [`Serving::taken_bytes`].
    pub head: Option<Head>,
    /// Why it is refused. To be answered as if it were a request.
    pub refusal: Option<Refusal>,
    /// How many bytes of it are there for the log.
    pub shown: usize,
    /// Why accepting or the handshake has failed.
    pub errno: i32,
}

/// Bytes that are received at once.
const RECEIVED: usize = 64 * 1024;
/// Bytes in front of a response's body, for its head.
pub(crate) const RESERVED: usize = 4 * 1024;
/// Bytes of a body that are copied to be sent with their head, and units of a text.
pub(crate) const COPIED: usize = 64 * 1024;
/// Connections accepted before others have their turn: between these numbers, as many as there are others. A fixed number would
/// let new connections wait for many rounds of those that are busy.
const FEWEST_ACCEPTED: usize = 64;
const MOST_ACCEPTED: usize = 1000;
/// How long accepting pauses after a failure: doubled each time, up to a second.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LAST_DELAY: Duration = Duration::from_secs(1);
/// How long a connection lingers, and what it discards meanwhile.
const LINGERING: Duration = Duration::from_secs(2);
const MAX_LINGERING: u64 = 1 << 20;
/// What of a body the handler has not read is discarded to keep the connection.
pub(crate) const MAX_DRAINED: u64 = 256 * 1024;
/// How long discarding may take.
const DRAINING: Duration = Duration::from_secs(5);
/// Why a handshake is given up that takes too long.
pub(crate) const ETIMEDOUT: i32 = 110;
/// Buffers that are kept for the next.
const SPARE: usize = 64;
/// The smallest and the greatest distance of two looks at the deadlines.
const SHORTEST_SWEEP: Duration = Duration::from_millis(5);
const LONGEST_SWEEP: Duration = Duration::from_secs(1);

/// The servers of one hub. No operation blocks.
pub struct Http {
    pub(crate) servers: Slab<Server>,
    pub(crate) connections: Slab<Connection>,
    /// What was received last, and the head that was taken from it.
    pub(crate) received: Box<[u8]>,
    taken: Option<Taken>,
    /// Room for a head, and the body behind it.
    pub(crate) outgoing: Box<[u8]>,
    pub(crate) head: Vec<u8>,
    pub(crate) date: CachedDate,
    spare: Vec<Vec<u8>>,
}

impl Http {
    /// A table without servers.
    pub fn new() -> Self {
        Self {
            servers: Slab::new(),
            connections: Slab::new(),
            received: Box::default(),
            taken: None,
            outgoing: Box::default(),
            head: Vec::new(),
            date: CachedDate::new(),
            spare: Vec::new(),
        }
    }

    /// Whether connections are open.
    pub fn has_connections(&self) -> bool {
        self.connections.len() > 0
    }

    /// Keeps a buffer for whoever needs one next.
    pub(crate) fn give_back(spare: &mut Vec<Vec<u8>>, mut buffer: Vec<u8>) {
        buffer.clear();
        if buffer.capacity() > 0 && buffer.capacity() <= RECEIVED && spare.len() < SPARE {
            spare.push(buffer);
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self::new()
    }
}

/// The table, with the parts of the hub that it works on.
pub struct Serving<'a> {
    pub(crate) http: &'a mut Http,
    pub(crate) streams: Streams<'a>,
}

/// Whether a head is there.
enum Found {
    Head(Head),
    NotYet,
    Refused(Refusal),
}

impl Serving<'_> {
    // ---- servers

    /// Serves the connections of a listening socket, which stays the caller's. It does not accept yet.
    pub fn add_server(&mut self, listener: SocketKey, options: ServerOptions) -> ServerId {
        let room = RECEIVED.max(options.limits.head + 16);
        if self.http.received.len() < room {
            self.http.received = vec![0; room].into();
        }
        if self.http.outgoing.is_empty() {
            self.http.outgoing = vec![0; RESERVED + 3 * COPIED + 1].into();
        }
        let server = Server {
            listener: Link::plain(listener),
            options,
            accepts: false,
            pauses: false,
            retry: 0,
            retry_delay: FIRST_DELAY,
            stops: false,
            retires: false,
            active: 0,
            connections: 0,
            waiting: VecDeque::new(),
        };
        self.http.servers.insert(server).index()
    }

    /// Lets a server accept connections, or not any more; those that are there stay.
    pub fn set_accepting(&mut self, id: ServerId, accepts: bool) {
        let Some(server) = self.server(id) else { return };
        let listener = server.listener;
        if mem::replace(&mut server.accepts, accepts) == accepts {
            return;
        }
        if accepts {
            server.pauses = false;
            self.streams.ready.push_back(Ready::Accept(id));
        } else {
            self.streams.forget(listener);
        }
    }

    /// Lets connections end with the request that they have: those that wait for one are closed now, unless it has come.
    pub fn begin_stop(&mut self, id: ServerId) {
        let Some(server) = self.server(id) else { return };
        server.stops = true;
        for index in self.of_server(id) {
            let Some(connection) = self.http.connections.at_mut(index) else { continue };
            if connection.state == State::Handshake {
                self.close(index);
            } else if connection.state == State::Idle && !connection.has_input() {
                // What has come is served, by the turn that this queues; else it is closed there.
                self.streams.look_again(connection.link);
                self.streams.ready.push_back(Ready::Connection(index));
            }
        }
    }

    /// How many requests are under way or wait for room.
    pub fn pending(&mut self, id: ServerId) -> usize {
        self.server(id).map_or(0, |server| server.active as usize + server.waiting.len())
    }

    /// Lets so many requests run at a time from now on.
    pub fn set_room(&mut self, id: ServerId, max_active: u32) {
        let Some(server) = self.server(id) else { return };
        server.options.max_active = max_active;
        self.admit_waiting(id, u32::MAX);
        self.resume(id);
    }

    /// Accepts no more; otherwise as [`begin_stop`](Self::begin_stop). The server is forgotten with its last connection.
    pub fn retire_server(&mut self, id: ServerId) {
        self.set_accepting(id, false);
        self.begin_stop(id);
        let Some(server) = self.server(id) else { return };
        server.retires = true;
        if server.connections == 0 {
            self.http.servers.remove_at(id);
        }
    }

    /// Forgets a server, and closes its connections, whatever they do.
    pub fn remove_server(&mut self, id: ServerId) {
        self.set_accepting(id, false);
        for index in self.of_server(id) {
            self.close(index);
        }
        self.http.servers.remove_at(id);
    }

    fn of_server(&self, id: ServerId) -> Vec<u32> {
        let connections = &self.http.connections;
        (0..connections.slots())
            .filter(|&index| connections.at(index).is_some_and(|connection| connection.server == id))
            .collect()
    }

    fn server(&mut self, id: ServerId) -> Option<&mut Server> {
        self.http.servers.at_mut(id)
    }

    // ---- accepting

    /// Accepts what has come, as far as there is room. `true`: that has failed, which is to be told.
    pub fn accept(&mut self, id: ServerId) -> bool {
        let others = self.streams.ready.len().clamp(FEWEST_ACCEPTED, MOST_ACCEPTED);
        let Some(server) = self.server(id) else { return false };
        for _ in 0..server.options.max_accept.map_or(others, |most| most as usize) {
            let now = self.streams.now;
            let Some(server) = self.http.servers.at_mut(id) else { return false };
            if !server.accepts || server.pauses {
                return false;
            }
            if !server.has_room() {
                server.pauses = true;
                return false;
            }
            let listener = server.listener.socket;
            match self.streams.sockets.try_accept(listener) {
                Ok(socket) => {
                    server.retry_delay = FIRST_DELAY;
                    server.connections += 1;
                    let ServerOptions { tls, head_timeout, handshake_timeout, .. } = server.options;
                    let (state, timeout) = match tls {
                        None => (State::Idle, head_timeout),
                        Some(_) => (State::Handshake, handshake_timeout),
                    };
                    let deadline = now + as_nanos(timeout);
                    let connection = Connection::new(Link::plain(socket), id, state, deadline);
                    let index = self.http.connections.insert(connection).index();
                    self.streams.await_readable(socket, Waiter::Connection(index), false);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.streams.await_readable(listener, Waiter::Listener(id), true);
                    return false;
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    server.pauses = true;
                    server.retry = now + as_nanos(server.retry_delay);
                    server.retry_delay = (2 * server.retry_delay).min(LAST_DELAY);
                    let errno = error.raw_os_error().unwrap_or(0);
                    self.http.taken = Some(Taken {
                        server: id,
                        connection: None,
                        socket: None,
                        head: None,
                        refusal: None,
                        shown: 0,
                        errno,
                    });
                    return true;
                }
            }
        }
        self.streams.ready.push_back(Ready::Accept(id));
        false
    }

    /// There is room again.
    fn resume(&mut self, id: ServerId) {
        let Some(server) = self.server(id) else { return };
        if server.pauses && server.retry == 0 && server.has_room() {
            server.pauses = false;
            self.streams.ready.push_back(Ready::Accept(id));
        }
    }

    // ---- waiting for requests

    /// Sees to a connection whose turn has come. `true`: there is something to [`take`](Self::take).
    pub fn serve(&mut self, index: u32) -> bool {
        let Some(connection) = self.http.connections.at_mut(index) else { return false };
        if let Some(refusal) = connection.refusal.take() {
            return self.refuse(index, refusal, 0);
        }
        match connection.state {
            State::Idle | State::Head => self.receive_head(index),
            State::Handshake => self.shake_hands(index),
            State::Failed(errno) => self.tell_failure(index, errno),
            State::Draining => {
                self.drain(index);
                false
            }
            State::Lingering => {
                self.linger(index);
                false
            }
            State::Waiting | State::Request => false,
        }
    }

    /// Goes on with a handshake, and then to the first head. As [`serve`](Self::serve).
    fn shake_hands(&mut self, index: u32) -> bool {
        let Http { servers, connections, .. } = &mut *self.http;
        let Some(connection) = connections.at_mut(index) else { return false };
        let Some(ServerOptions { tls: Some(config), head_timeout, .. }) =
            servers.at(connection.server).map(|server| server.options)
        else {
            return false;
        };
        let socket = connection.link.socket;
        // What waits for its first bytes has no session.
        let link = match connection.link.tls {
            None => self.streams.encrypt(socket, config),
            Some(_) => Ok(connection.link),
        };
        let wants = link.and_then(|link| {
            connection.link = link;
            self.streams.shake_hands(link)
        });
        match wants {
            Ok(Wants::Nothing) => {
                connection.state = State::Idle;
                connection.deadline = self.streams.now + as_nanos(head_timeout);
                return self.receive_head(index);
            }
            Ok(Wants::Read) => self.streams.await_readable(socket, Waiter::Connection(index), false),
            Ok(Wants::Write) => self.streams.await_writable(socket, Waiter::Connection(index)),
            Err(error) => return self.tell_failure(index, error.raw_os_error().unwrap_or(0)),
        }
        false
    }

    /// A handshake has failed. It is over when whoever was told [aborts](Self::abort) it.
    fn tell_failure(&mut self, index: u32, errno: i32) -> bool {
        let Http { connections, taken, .. } = &mut *self.http;
        let key = connections.key_at(index);
        let (Some(connection), Some(key)) = (connections.at_mut(index), key) else { return false };
        self.streams.forget(connection.link);
        connection.state = State::Failed(errno);
        connection.deadline = 0;
        *taken = Some(Taken {
            server: connection.server,
            connection: Some(ConnectionKey(key)),
            socket: Some(connection.link.socket),
            head: None,
            refusal: None,
            shown: 0,
            errno,
        });
        true
    }

    fn receive_head(&mut self, index: u32) -> bool {
        let Http { servers, connections, received, .. } = &mut *self.http;
        let Some(connection) = connections.at_mut(index) else { return false };
        let Some(server) = servers.at_mut(connection.server) else { return false };
        if server.is_full() && !server.options.refuses_overload {
            connection.state = State::Waiting;
            connection.deadline = 0;
            server.waiting.push_back(index);
            return false;
        }
        let limits = server.options.limits;
        if connection.has_input() && connection.state == State::Idle {
            let waiting = &connection.input[connection.used..];
            match find(waiting, &mut connection.scan, &limits) {
                Found::Head(head) => {
                    received[..head.end].copy_from_slice(&waiting[..head.end]);
                    connection.advance(head.end);
                    return self.begin(index, head);
                }
                Found::NotYet => self.await_rest_of_head(index),
                Found::Refused(refusal) => {
                    let shown = waiting.len().min(received.len());
                    received[..shown].copy_from_slice(&waiting[..shown]);
                    return self.refuse(index, refusal, shown);
                }
            }
        }
        loop {
            let Http { connections, received, spare, .. } = &mut *self.http;
            let Some(connection) = connections.at_mut(index) else { return false };
            let count = match self.streams.recv(connection.link, received) {
                Ok(count) if count > 0 => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.await_request(index);
                    return false;
                }
                _ => {
                    self.close(index);
                    return false;
                }
            };
            if !connection.has_input() {
                match find(&received[..count], &mut connection.scan, &limits) {
                    Found::Head(head) => {
                        if head.end < count {
                            if connection.input.capacity() == 0 {
                                connection.input = spare.pop().unwrap_or_default();
                            }
                            connection.keep(&received[head.end..count]);
                        }
                        return self.begin(index, head);
                    }
                    Found::NotYet => {
                        if connection.input.capacity() == 0 {
                            connection.input = spare.pop().unwrap_or_default();
                        }
                        connection.keep(&received[..count]);
                        self.await_rest_of_head(index);
                    }
                    Found::Refused(refusal) => return self.refuse(index, refusal, count),
                }
                continue;
            }
            connection.keep(&received[..count]);
            match find(&connection.input, &mut connection.scan, &limits) {
                Found::Head(head) => {
                    received[..head.end].copy_from_slice(&connection.input[..head.end]);
                    connection.advance(head.end);
                    return self.begin(index, head);
                }
                Found::NotYet => self.await_rest_of_head(index),
                Found::Refused(refusal) => {
                    let shown = connection.input.len().min(received.len());
                    received[..shown].copy_from_slice(&connection.input[..shown]);
                    return self.refuse(index, refusal, shown);
                }
            }
        }
    }

    /// A part of a head is there: from now on its time counts.
    fn await_rest_of_head(&mut self, index: u32) {
        let now = self.streams.now;
        let Http { servers, connections, .. } = &mut *self.http;
        let Some(connection) = connections.at_mut(index) else { return };
        if connection.state == State::Head {
            return;
        }
        connection.state = State::Head;
        if let Some(server) = servers.at(connection.server) {
            connection.deadline = now + as_nanos(server.options.head_timeout);
        }
    }

    /// Nothing (more) of a head has come.
    fn await_request(&mut self, index: u32) {
        let now = self.streams.now;
        let Http { servers, connections, spare, .. } = &mut *self.http;
        let Some(connection) = connections.at_mut(index) else { return };
        let Some(server) =
            servers.at(connection.server).filter(|server| !server.stops || connection.state == State::Head)
        else {
            self.close(index);
            return;
        };
        if connection.deadline == 0 {
            // It has waited for room, and there was nothing.
            connection.deadline = now + as_nanos(server.options.idle_timeout);
        }
        if !connection.has_input() {
            Http::give_back(spare, mem::take(&mut connection.input));
        }
        self.streams.await_readable(connection.link.socket, Waiter::Connection(index), false);
    }

    /// A head has come: its request is to be taken.
    fn begin(&mut self, index: u32, head: Head) -> bool {
        let Http { servers, connections, taken, .. } = &mut *self.http;
        let key = connections.key_at(index);
        let (Some(connection), Some(key)) = (connections.at_mut(index), key) else { return false };
        let Some(server) = servers.at_mut(connection.server) else { return false };
        connection.scan = Scan::default();
        connection.served += 1;
        connection.is_head = head.method == head::HEAD;
        connection.is_1_1 = head.is_1_1;
        if let head::Framing::Length(length) = head.framing
            && length > server.options.max_body
        {
            return self.refuse(index, Refusal::new(413, "the body is too long"), head.end);
        }
        if server.is_full() {
            return self.refuse(index, Refusal::new(503, "too many requests are under way"), head.end);
        }
        server.active += 1;
        connection.state = State::Request;
        connection.response = Response::Awaited;
        connection.deadline = 0;
        connection.keeps_alive = head.keeps_alive;
        connection.awaits_continue = head.expects_continue;
        connection.body = Body::new(head.framing);
        connection.received = 0;
        connection.unread.clear();
        connection.closes = false;
        *taken = Some(Taken {
            server: connection.server,
            connection: Some(ConnectionKey(key)),
            socket: Some(connection.link.socket),
            head: Some(head),
            refusal: None,
            shown: head.end,
            errno: 0,
        });
        true
    }

    /// The request is to be answered with an error; `shown` bytes of it are there for the log.
    fn refuse(&mut self, index: u32, refusal: Refusal, shown: usize) -> bool {
        let Http { servers, connections, taken, received, .. } = &mut *self.http;
        let key = connections.key_at(index);
        let (Some(connection), Some(key)) = (connections.at_mut(index), key) else { return false };
        if let Some(server) = servers.at_mut(connection.server) {
            server.active += 1;
        }
        self.streams.forget(connection.link);
        connection.state = State::Request;
        connection.response = Response::Awaited;
        connection.deadline = 0;
        connection.keeps_alive = false;
        connection.closes = true;
        connection.unread.clear();
        connection.awaits_continue = false;
        // What follows is not looked at: nobody knows where it belongs.
        connection.body = Body::Length(u64::MAX);
        let mut shown = shown;
        if shown == 0 && connection.has_input() {
            let waiting = &connection.input[connection.used..];
            shown = waiting.len().min(received.len());
            received[..shown].copy_from_slice(&waiting[..shown]);
        }
        *taken = Some(Taken {
            server: connection.server,
            connection: Some(ConnectionKey(key)),
            socket: Some(connection.link.socket),
            head: None,
            refusal: Some(refusal),
            shown,
            errno: 0,
        });
        true
    }

    /// Puts back what was to be taken: there is no stack to run it on.
    pub fn put_back(&mut self) {
        let Some(taken) = self.http.taken.take() else { return };
        let Http { servers, connections, received, .. } = &mut *self.http;
        let Some(key) = taken.connection else { return };
        let Some(connection) = connections.get_mut(key.0) else { return };
        if connection.state == State::Request {
            if let Some(server) = servers.at_mut(connection.server) {
                server.active -= 1;
            }
            connection.state = State::Idle;
        }
        if let Some(head) = taken.head {
            connection.served -= 1;
            let mut input = received[..head.end].to_vec();
            input.extend_from_slice(&connection.input[connection.used..]);
            connection.input = input;
            connection.used = 0;
            connection.scan = Scan::default();
        }
        connection.refusal = taken.refusal;
        self.streams.ready.push_front(Ready::Connection(key.0.index()));
    }

    /// Takes what [`serve`](Self::serve) or [`accept`](Self::accept) has found.
    pub fn take(&mut self) -> Option<Taken> {
        self.http.taken.take()
    }

    /// The first bytes of what was taken last.
    pub fn taken_bytes(&self, count: usize) -> &[u8] {
        &self.http.received[..count.min(self.http.received.len())]
    }

    // ---- the ends of requests and connections

    pub(crate) fn get(&mut self, key: ConnectionKey) -> io::Result<&mut Connection> {
        self.http.connections.get_mut(key.0).ok_or_else(bad_descriptor)
    }

    /// Whether the connection has to end with this response.
    pub(crate) fn has_to_close(&self, connection: &Connection) -> bool {
        let Some(server) = self.http.servers.at(connection.server) else { return true };
        let is_drainable = match &connection.body {
            Body::Length(left) => *left <= MAX_DRAINED,
            Body::Chunked(_) => true,
        };
        !connection.keeps_alive
            || connection.closes
            || server.stops
            || connection.served >= server.options.max_requests
            || !is_drainable
            // It may send the body or not: RFC 9110, 10.1.1.
            || (connection.awaits_continue && !connection.body.is_done())
    }

    /// All of the response is sent.
    pub(crate) fn finish(&mut self, index: u32) {
        self.leave_request(index);
        let Some(connection) = self.http.connections.at_mut(index) else { return };
        Http::give_back(&mut self.http.spare, mem::take(&mut connection.output));
        connection.sent = 0;
        if connection.closes {
            let unread = !connection.body.is_done() || connection.has_input();
            if unread || self.streams.is_known_readable(connection.link) {
                self.begin_to_linger(index);
            } else {
                self.close(index);
            }
        } else if connection.body.is_done() {
            self.rest(index);
        } else {
            connection.state = State::Draining;
            connection.unread.clear();
            connection.received = 0;
            connection.deadline = self.streams.now + as_nanos(DRAINING);
            self.streams.ready.push_back(Ready::Connection(index));
        }
    }

    /// The request is over: there is room for another.
    fn leave_request(&mut self, index: u32) {
        let Http { servers, connections, .. } = &mut *self.http;
        let Some(connection) = connections.at_mut(index) else { return };
        if connection.state != State::Request {
            return;
        }
        connection.state = State::Idle;
        let id = connection.server;
        if let Some(server) = servers.at_mut(id) {
            server.active -= 1;
        }
        self.admit_waiting(id, 1);
        self.resume(id);
    }

    /// Sees to those who have waited for room: to so many at the most.
    fn admit_waiting(&mut self, id: ServerId, most: u32) {
        let Http { servers, connections, .. } = &mut *self.http;
        let Some(server) = servers.at_mut(id) else { return };
        let mut room = server.options.max_active.saturating_sub(server.active).min(most);
        while room > 0
            && let Some(next) = server.waiting.pop_front()
        {
            let Some(waiting) = connections.at_mut(next).filter(|one| one.state == State::Waiting) else {
                continue;
            };
            waiting.state = State::Idle;
            self.streams.ready.push_back(Ready::Connection(next));
            room -= 1;
        }
    }

    /// Waits for the next request.
    fn rest(&mut self, index: u32) {
        let now = self.streams.now;
        let Http { servers, connections, spare, .. } = &mut *self.http;
        let Some(connection) = connections.at_mut(index) else { return };
        let Some(server) = servers.at(connection.server) else { return };
        connection.state = State::Idle;
        connection.deadline = now + as_nanos(server.options.idle_timeout);
        if connection.has_input() || self.streams.is_known_readable(connection.link) {
            self.streams.ready.push_back(Ready::Connection(index));
            return;
        }
        if server.stops {
            self.close(index);
            return;
        }
        Http::give_back(spare, mem::take(&mut connection.input));
        connection.used = 0;
        self.streams.await_readable(connection.link.socket, Waiter::Connection(index), false);
    }

    fn drain(&mut self, index: u32) {
        let mut discarded = [0; 4096];
        loop {
            let Some(key) = self.http.connections.key_at(index) else { return };
            match self.read_body(ConnectionKey(key), &mut discarded) {
                Ok(0) => return self.rest(index),
                Ok(_) => {
                    let Ok(connection) = self.get(ConnectionKey(key)) else { return };
                    if connection.received > MAX_DRAINED {
                        return self.begin_to_linger(index);
                    }
                }
                Err(error) if error.would_block() => {
                    let Ok(connection) = self.get(ConnectionKey(key)) else { return };
                    let socket = connection.link.socket;
                    return self.streams.await_readable(socket, Waiter::Connection(index), false);
                }
                Err(_) => return self.close(index),
            }
        }
    }

    pub(crate) fn begin_to_linger(&mut self, index: u32) {
        let deadline = self.streams.now + as_nanos(LINGERING);
        let Some(connection) = self.http.connections.at_mut(index) else { return };
        self.streams.end(connection.link);
        connection.state = State::Lingering;
        connection.received = 0;
        connection.deadline = deadline;
        connection.input = Vec::new();
        connection.used = 0;
        self.streams.ready.push_back(Ready::Connection(index));
    }

    fn linger(&mut self, index: u32) {
        loop {
            let Http { connections, received, .. } = &mut *self.http;
            let Some(connection) = connections.at_mut(index) else { return };
            match self.streams.discard(connection.link, received) {
                Ok(count) if count > 0 && connection.received < MAX_LINGERING => {
                    connection.received += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let socket = connection.link.socket;
                    return self.streams.await_readable(socket, Waiter::Connection(index), false);
                }
                _ => return self.close(index),
            }
        }
    }

    /// Closes a connection, whatever it does.
    pub(crate) fn close(&mut self, index: u32) {
        let was_all =
            self.http.connections.at(index).is_some_and(|connection| connection.state != State::Request);
        if let Some(connection) = self.remove(index) {
            self.streams.close(connection.link, was_all);
        }
    }

    /// Forgets a connection without closing its socket.
    pub(crate) fn remove(&mut self, index: u32) -> Option<Connection> {
        self.leave_request(index);
        let mut connection = self.http.connections.remove_at(index)?;
        self.streams.forget(connection.link);
        Http::give_back(&mut self.http.spare, mem::take(&mut connection.output));
        if let Some(server) = self.server(connection.server) {
            server.connections -= 1;
            if server.retires && server.connections == 0 {
                self.http.servers.remove_at(connection.server);
            }
        }
        self.resume(connection.server);
        Some(connection)
    }

    // ---- time

    /// How long until the deadlines should be looked at; `None` if there are none.
    pub(crate) fn until_sweep(&self) -> Option<Duration> {
        let servers = (0..self.http.servers.slots()).filter_map(|id| self.http.servers.at(id));
        let shortest = servers
            .filter(|server| server.connections > 0 || server.retry > 0)
            .map(|server| {
                let ServerOptions { head_timeout, idle_timeout, handshake_timeout, .. } = server.options;
                head_timeout.min(idle_timeout).min(handshake_timeout) / 8
            })
            .min()?;
        Some(shortest.clamp(SHORTEST_SWEEP, LONGEST_SWEEP))
    }

    /// Ends whatever has taken too long.
    pub(crate) fn sweep(&mut self) {
        let now = self.streams.now;
        for id in 0..self.http.servers.slots() {
            let Some(server) = self.server(id) else { continue };
            if server.retry != 0 && server.retry <= now {
                server.retry = 0;
                self.resume(id);
            }
        }
        for index in 0..self.http.connections.slots() {
            let Some(connection) = self.http.connections.at_mut(index) else { continue };
            if connection.deadline == 0 || connection.deadline > now {
                continue;
            }
            match connection.state {
                State::Head => {
                    connection.deadline = 0;
                    connection.refusal = Some(Refusal::new(408, "the head has not come in time"));
                    self.streams.ready.push_back(Ready::Connection(index));
                }
                State::Handshake => {
                    connection.deadline = 0;
                    connection.state = State::Failed(ETIMEDOUT);
                    self.streams.ready.push_back(Ready::Connection(index));
                }
                _ => self.close(index),
            }
        }
    }
}

fn find(bytes: &[u8], scan: &mut Scan, limits: &HeadLimits) -> Found {
    match head::parse(bytes, scan, limits) {
        Ok(Some(head)) => Found::Head(head),
        Ok(None) => Found::NotYet,
        Err(refusal) => Found::Refused(refusal),
    }
}
