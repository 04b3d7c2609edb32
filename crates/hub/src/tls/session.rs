//! One end of a connection, as a state machine: bytes of the wire on one side, plaintext on the other.

use std::mem;

use rustls::HandshakeKind;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};

use super::config::{ClientConfig, ConfigError, ServerConfig, server_name};
use super::der::now;
use super::error::TlsError;
use super::suites::{names_of, version_name};

/// The most plaintext that [`Session::encrypt`] takes at once: four records.
pub const MAX_PLAINTEXT: usize = 4 * 16 * 1024;

/// Room for [`MAX_PLAINTEXT`] on the wire, and for as much to be received at once.
pub const WIRE_SIZE: usize = MAX_PLAINTEXT + 4096;

/// The longest message of a handshake that rustls takes has 64 KiB; the headers of its records come to that.
const MAX_UNPROCESSED: usize = WIRE_SIZE;

/// What the two ends have agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// `TLSv1.3`
    pub protocol: &'static str,
    /// The cipher suite's name in OpenSSL.
    pub cipher: &'static str,
    /// The cipher suite's name in the standard.
    pub standard_cipher: &'static str,
    /// The protocol of the application; empty if none was agreed on.
    pub alpn_protocol: String,
    /// The name that the client has asked for; empty if it has not.
    pub server_name: String,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// Why the peer is not authorized, if it is not, and need not be.
    pub objection: Option<TlsError>,
}

/// One end of a TLS connection. It buffers the record that has not arrived to its end, plaintext that nobody has taken
/// (up to what was received at once), and what waits to be sent: a few records at the most.
pub struct Session {
    side: Side,
    /// Received and not processed: less than one record, or than one message of the handshake. After the end of the
    /// stream: whatever has come behind it.
    incoming: Vec<u8>,
    /// Decrypted and not taken, from `taken` on.
    plaintext: Vec<u8>,
    taken: usize,
    /// To be sent, from `sent` on.
    outgoing: Vec<u8>,
    sent: usize,
    /// Whether the peer has said that this was all.
    peer_closed: bool,
    /// Whether we have.
    closed: bool,
    failure: Option<TlsError>,
    objection: Option<TlsError>,
    /// Kept of a handshake that has failed.
    refused_chain: Vec<CertificateDer<'static>>,
}

enum Side {
    Client { connection: Box<UnbufferedClientConnection>, config: ClientConfig, name: ServerName<'static> },
    Server { connection: Box<UnbufferedServerConnection>, config: ServerConfig, name: String },
}

/// What is to be done as soon as it is possible to send.
enum Order<'a> {
    Encrypt(&'a [u8], &'a mut [u8]),
    CloseNotify(&'a mut [u8]),
}

/// Where the results of processing go.
struct Sink<'a> {
    into: &'a mut [u8],
    filled: usize,
    plaintext: &'a mut Vec<u8>,
    outgoing: &'a mut Vec<u8>,
    peer_closed: &'a mut bool,
    order: Option<Order<'a>>,
    /// What the order has put on the wire.
    ordered: Option<usize>,
}

impl Session {
    /// Makes the end of a client that asks for the server `name`, a DNS name or an IP address. An empty name stands for
    /// any server. Its first bytes are there to be sent.
    ///
    /// # Errors
    /// The name is neither.
    pub fn client(config: &ClientConfig, name: &str) -> Result<Self, ConfigError> {
        // An address is not told to the server.
        let name = server_name(if name.is_empty() { "0.0.0.0" } else { name })?;
        let connection = UnbufferedClientConnection::new(config.rustls.clone(), name.clone())
            .map_err(|error| ConfigError::new("servername", format!("cannot be used: {error}")))?;
        let config = config.clone();
        let mut session = Self::new(Side::Client { connection: Box::new(connection), config, name });
        let (_, _, result) = session.run_on_kept(None);
        // A failure is kept for the first operation.
        let _ = session.settle(true, result);
        Ok(session)
    }

    /// Makes the end of a server.
    ///
    /// # Errors
    /// The config cannot be used; all that is known about it was checked when it was made.
    pub fn server(config: &ServerConfig) -> Result<Self, ConfigError> {
        let connection = UnbufferedServerConnection::new(config.rustls.clone())
            .map_err(|error| ConfigError::new("cert", format!("cannot be used: {error}")))?;
        let config = config.clone();
        Ok(Self::new(Side::Server { connection: Box::new(connection), config, name: String::new() }))
    }

    fn new(side: Side) -> Self {
        Self {
            side,
            incoming: Vec::new(),
            plaintext: Vec::new(),
            taken: 0,
            outgoing: Vec::new(),
            sent: 0,
            peer_closed: false,
            closed: false,
            failure: None,
            objection: None,
            refused_chain: Vec::new(),
        }
    }

    /// Takes in `received` bytes, which lie in `wire` behind [`unprocessed`](Self::unprocessed) free ones, puts what they
    /// mean into `into`, as far as there is room, and returns how many bytes that were. `wire` is overwritten.
    ///
    /// The rest of the plaintext is kept for [`take_plaintext`](Self::take_plaintext), and all of it if some was kept
    /// before.
    ///
    /// # Errors
    /// The session has failed. An alert may be there to be sent.
    pub fn process(&mut self, wire: &mut [u8], received: usize, into: &mut [u8]) -> Result<usize, TlsError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let was_handshaking = self.is_handshaking();
        let mut kept = mem::take(&mut self.incoming);
        wire[..kept.len()].copy_from_slice(&kept);
        let wire = &mut wire[..kept.len() + received];
        let (processed, filled, _, result) = self.run(wire, into, None);
        if processed < wire.len() {
            kept.clear();
            kept.extend_from_slice(&wire[processed..]);
            self.incoming = kept;
        }
        self.settle(was_handshaking, result)?;
        if self.incoming.len() > MAX_UNPROCESSED {
            return Err(self.fail(TlsError::new("EPROTO", "the peer has sent a message that is too long")));
        }
        Ok(filled)
    }

    /// Runs rustls until it needs more bytes or, with an order, can send. Returns how many bytes of `wire` it is done with,
    /// how many bytes it has put into `into`, and how many bytes the order has made.
    fn run(
        &mut self,
        wire: &mut [u8],
        into: &mut [u8],
        order: Option<Order<'_>>,
    ) -> (usize, usize, Option<usize>, Result<(), rustls::Error>) {
        let mut sink = Sink {
            into,
            filled: 0,
            plaintext: &mut self.plaintext,
            outgoing: &mut self.outgoing,
            peer_closed: &mut self.peer_closed,
            order,
            ordered: None,
        };
        let mut processed = 0;
        let mut result = Ok(());
        loop {
            let (count, step) = self.side.step(&mut wire[processed..], &mut sink);
            processed += count;
            match step {
                Ok(true) => {}
                Ok(false) => break,
                // After the first error, what is left is the alert that tells the peer.
                Err(error) => result = result.and(Err(error)),
            }
            if result.is_err() && !self.side.wants_write() {
                break;
            }
        }
        (processed, sink.filled, sink.ordered, result)
    }

    /// As [`run`](Self::run), with nothing new.
    fn run_on_kept(&mut self, order: Option<Order<'_>>) -> (usize, Option<usize>, Result<(), rustls::Error>) {
        let mut kept = mem::take(&mut self.incoming);
        let (processed, filled, ordered, result) = self.run(&mut kept, &mut [], order);
        kept.drain(..processed);
        self.incoming = kept;
        (filled, ordered, result)
    }

    /// Notes what has come of running.
    fn settle(&mut self, was_handshaking: bool, result: Result<(), rustls::Error>) -> Result<(), TlsError> {
        if was_handshaking {
            self.take_notes();
        }
        if let Err(error) = result {
            let failure = self.failure.take().unwrap_or_else(|| TlsError::of(&error));
            return Err(self.fail(failure));
        }
        if was_handshaking && !self.is_handshaking() {
            self.objection = self.find_objection();
        }
        Ok(())
    }

    /// Takes what the callbacks of the config have noted for this session.
    fn take_notes(&mut self) {
        let notes = match &self.side {
            Side::Client { config, .. } => &config.notes,
            Side::Server { config, .. } => &config.notes,
        };
        let mut pending = notes.pending();
        if let Some(refusal) = pending.refusal.take() {
            self.failure = Some(refusal);
            self.refused_chain = mem::take(&mut pending.refused_chain);
        }
        let asked = pending.server_name.take();
        drop(pending);
        if let (Side::Server { name, .. }, Some(asked)) = (&mut self.side, asked) {
            *name = asked;
        }
    }

    fn find_objection(&self) -> Option<TlsError> {
        let chain = self.peer_certificates();
        match &self.side {
            Side::Client { config, name, .. } if !config.rejects => {
                config.judge.objection(chain, name, now())
            }
            Side::Server { config, .. } if !config.rejects => match &config.judge {
                Some(_) if chain.is_empty() => {
                    Some(TlsError::new("UNABLE_TO_GET_ISSUER_CERT", "the client has sent no certificate"))
                }
                Some(judge) => judge.objection(chain, now()),
                None => None,
            },
            _ => None,
        }
    }

    fn fail(&mut self, failure: TlsError) -> TlsError {
        self.failure = Some(failure.clone());
        failure
    }

    /// How many bytes must be free in front of those that are received.
    pub fn unprocessed(&self) -> usize {
        self.incoming.len()
    }

    /// Takes plaintext that was decrypted before.
    pub fn take_plaintext(&mut self, into: &mut [u8]) -> usize {
        let rest = &self.plaintext[self.taken..];
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        self.taken += count;
        if self.taken == self.plaintext.len() {
            self.plaintext = Vec::new();
            self.taken = 0;
        }
        count
    }

    /// How much plaintext can be taken.
    pub fn readable(&self) -> usize {
        self.plaintext.len() - self.taken
    }

    /// Encrypts up to [`MAX_PLAINTEXT`] bytes into `wire`, which has [`WIRE_SIZE`], and returns how many bytes of
    /// plaintext that were, and how many they are on the wire. What is in [`outgoing`](Self::outgoing) goes first.
    ///
    /// # Errors
    /// The session has failed, or its keys are used up.
    pub fn encrypt(&mut self, plaintext: &[u8], wire: &mut [u8]) -> Result<(usize, usize), TlsError> {
        let plaintext = &plaintext[..plaintext.len().min(MAX_PLAINTEXT)];
        let count = self.carry_out(Order::Encrypt(plaintext, wire))?;
        Ok((plaintext.len(), count))
    }

    /// Says that nothing follows, once. What is in [`outgoing`](Self::outgoing) goes first; how many bytes are behind it
    /// in `wire` is returned.
    ///
    /// # Errors
    /// The session has failed.
    pub fn close_notify(&mut self, wire: &mut [u8]) -> Result<usize, TlsError> {
        if mem::replace(&mut self.closed, true) {
            return Ok(0);
        }
        self.carry_out(Order::CloseNotify(wire))
    }

    fn carry_out(&mut self, order: Order<'_>) -> Result<usize, TlsError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let (_, ordered, result) = self.run_on_kept(Some(order));
        self.settle(false, result)?;
        ordered.ok_or_else(|| TlsError::new("EPROTO", "the session can send nothing more"))
    }

    /// What waits to be sent.
    pub fn outgoing(&self) -> &[u8] {
        &self.outgoing[self.sent..]
    }

    /// Notes that the first bytes of [`outgoing`](Self::outgoing) were sent.
    pub fn note_sent(&mut self, count: usize) {
        self.sent += count;
        if self.sent >= self.outgoing.len() {
            self.outgoing = Vec::new();
            self.sent = 0;
        }
    }

    /// Keeps bytes that were made for the wire and could not be sent yet.
    pub fn keep_outgoing(&mut self, wire: &[u8]) {
        self.outgoing.extend_from_slice(wire);
    }

    /// Whether application data cannot flow yet.
    pub fn is_handshaking(&self) -> bool {
        match &self.side {
            Side::Client { connection, .. } => connection.is_handshaking(),
            Side::Server { connection, .. } => connection.is_handshaking(),
        }
    }

    /// Whether the peer has said that nothing follows.
    pub fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// Whether [`close_notify`](Self::close_notify) was called.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Why the session has failed.
    pub fn failure(&self) -> Option<&TlsError> {
        self.failure.as_ref()
    }

    /// Takes what has come behind the end of the stream.
    pub fn take_remainder(&mut self) -> Vec<u8> {
        mem::take(&mut self.incoming)
    }

    /// The peer's certificate, followed by those that it has sent with it, each in DER. Empty if it has sent none.
    pub fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        let known = match &self.side {
            Side::Client { connection, .. } => connection.peer_certificates(),
            Side::Server { connection, .. } => connection.peer_certificates(),
        };
        known.unwrap_or(&self.refused_chain)
    }

    /// What the ends have agreed on; `None` before the end of the handshake.
    pub fn agreed(&self) -> Option<Agreed> {
        if self.is_handshaking() {
            return None;
        }
        let (version, suite, alpn, kind) = match &self.side {
            Side::Client { connection: common, .. } => (
                common.protocol_version(),
                common.negotiated_cipher_suite(),
                common.alpn_protocol(),
                common.handshake_kind(),
            ),
            Side::Server { connection: common, .. } => (
                common.protocol_version(),
                common.negotiated_cipher_suite(),
                common.alpn_protocol(),
                common.handshake_kind(),
            ),
        };
        let (cipher, standard_cipher) = names_of(suite?.suite());
        let server_name = match &self.side {
            Side::Client { name: ServerName::DnsName(name), .. } => name.as_ref().to_owned(),
            Side::Client { .. } => String::new(),
            Side::Server { name, .. } => name.clone(),
        };
        Some(Agreed {
            protocol: version_name(version?),
            cipher,
            standard_cipher,
            alpn_protocol: String::from_utf8_lossy(alpn.unwrap_or_default()).into_owned(),
            server_name,
            resumed: kind == Some(HandshakeKind::Resumed),
            objection: self.objection.clone(),
        })
    }
}

impl Side {
    fn step(&mut self, wire: &mut [u8], sink: &mut Sink<'_>) -> (usize, Result<bool, rustls::Error>) {
        match self {
            Self::Client { connection, .. } => sink.handle(connection.process_tls_records(wire)),
            Self::Server { connection, .. } => sink.handle(connection.process_tls_records(wire)),
        }
    }

    fn wants_write(&self) -> bool {
        match self {
            Self::Client { connection, .. } => connection.wants_write(),
            Self::Server { connection, .. } => connection.wants_write(),
        }
    }
}

impl Sink<'_> {
    /// Takes in one state of rustls. Returns how many bytes it is done with, and whether there is more to do.
    fn handle<Data>(
        &mut self,
        status: UnbufferedStatus<'_, '_, Data>,
    ) -> (usize, Result<bool, rustls::Error>) {
        let UnbufferedStatus { mut discard, state } = status;
        let state = match state {
            Ok(state) => state,
            Err(error) => return (discard, Err(error)),
        };
        let more = match state {
            ConnectionState::ReadTraffic(mut traffic) => {
                while let Some(record) = traffic.next_record() {
                    match record {
                        Ok(record) => {
                            discard += record.discard;
                            self.take(record.payload);
                        }
                        Err(error) => return (discard, Err(error)),
                    }
                }
                true
            }
            ConnectionState::EncodeTlsData(mut data) => {
                self.encode(|wire| {
                    data.encode(wire).map_err(|error| match error {
                        EncodeError::InsufficientSize(size) => size.required_size,
                        EncodeError::AlreadyEncoded => 0,
                    })
                });
                true
            }
            ConnectionState::TransmitTlsData(transmission) => {
                // It is queued, and goes before all that follows.
                transmission.done();
                true
            }
            ConnectionState::PeerClosed => {
                *self.peer_closed = true;
                true
            }
            ConnectionState::WriteTraffic(mut traffic) => {
                match self.order.take() {
                    Some(Order::Encrypt(plaintext, wire)) => {
                        self.ordered = traffic.encrypt(plaintext, wire).ok()
                    }
                    Some(Order::CloseNotify(wire)) => self.ordered = traffic.queue_close_notify(wire).ok(),
                    None => {}
                }
                false
            }
            _ => false,
        };
        (discard, Ok(more))
    }

    fn take(&mut self, payload: &[u8]) {
        let room = if self.plaintext.is_empty() { self.into.len() - self.filled } else { 0 };
        let count = payload.len().min(room);
        self.into[self.filled..self.filled + count].copy_from_slice(&payload[..count]);
        self.filled += count;
        self.plaintext.extend_from_slice(&payload[count..]);
    }

    /// Appends what `encode` writes, which says how much room it needs if there is too little.
    fn encode(&mut self, mut encode: impl FnMut(&mut [u8]) -> Result<usize, usize>) {
        let start = self.outgoing.len();
        let mut result = encode(&mut []);
        if let Err(size) = result {
            self.outgoing.resize(start + size, 0);
            result = encode(&mut self.outgoing[start..]);
        }
        self.outgoing.truncate(start + result.unwrap_or(0));
    }
}
