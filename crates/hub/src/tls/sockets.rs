//! Sessions on sockets: try an operation, and say whether it would block.
//!
//! What is received goes through memory that all sessions share, so an idle connection has no buffers. A session that has
//! failed shows as `EPROTO`; [`TlsSockets::failure`] tells why.

use std::io;
use std::net::Shutdown;

use super::config::{ClientConfig, ConfigError, ServerConfig};
use super::error::TlsError;
use super::session::{MAX_PLAINTEXT, Session, WIRE_SIZE};
use crate::error::bad_descriptor;
use crate::net::{SocketKey, Sockets};
use crate::slab::{Key, Slab};

const EPIPE: i32 = 32;
const EPROTO: i32 = 71;

/// The longest record.
const MAX_RECORD: usize = 5 + (1 << 14) + 2048;

/// Names a session on a socket, as [`SocketKey`] does a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TlsKey(Key);

impl TlsKey {
    /// Returns the key as a number between 1 and 2⁵³.
    pub const fn to_bits(self) -> u64 {
        self.0.to_bits()
    }

    /// Takes a number from [`TlsKey::to_bits`] back. Any other number makes a key that names nothing.
    pub const fn from_bits(bits: u64) -> Self {
        Self(Key::from_bits(bits))
    }
}

/// Names a config.
pub type ConfigKey = TlsKey;

/// What has to happen before a handshake can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// Nothing: it is done.
    Nothing,
    /// Something has to be received.
    Read,
    /// There has to be room to send.
    Write,
}

/// The sessions of one hub, and the configs that they are made from.
pub struct TlsSockets {
    entries: Slab<Entry>,
    configs: Slab<Config>,
    /// For what is received and for what is sent; empty until the first session.
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
}

enum Config {
    Client(ClientConfig),
    Server(ServerConfig),
}

struct Entry {
    socket: SocketKey,
    session: Session,
    /// The connection has ended where the session has not.
    truncated: bool,
}

impl TlsSockets {
    /// Makes an empty table.
    pub const fn new() -> Self {
        Self { entries: Slab::new(), configs: Slab::new(), incoming: Vec::new(), outgoing: Vec::new() }
    }

    /// Keeps a config for clients.
    pub fn add_client_config(&mut self, config: ClientConfig) -> ConfigKey {
        TlsKey(self.configs.insert(Config::Client(config)))
    }

    /// Keeps a config for servers.
    pub fn add_server_config(&mut self, config: ServerConfig) -> ConfigKey {
        TlsKey(self.configs.insert(Config::Server(config)))
    }

    /// Forgets a config; its sessions go on.
    pub fn remove_config(&mut self, key: ConfigKey) {
        self.configs.remove(key.0);
    }

    /// Takes the lines of a config's key log that were noted since the last time.
    pub fn take_key_log(&mut self, key: ConfigKey) -> String {
        self.configs.get(key.0).map_or_else(String::new, |config| match config {
            Config::Client(config) => config.take_key_log(),
            Config::Server(config) => config.take_key_log(),
        })
    }

    /// Makes a session. `name` is that of the server, for clients.
    ///
    /// # Errors
    /// The name cannot be one.
    pub fn session_for(&self, config: ConfigKey, name: &str) -> Result<Session, ConfigError> {
        match self.configs.get(config.0) {
            Some(Config::Client(config)) => Session::client(config, name),
            Some(Config::Server(config)) => Session::server(config),
            None => Err(ConfigError::new("secureContext", "is none")),
        }
    }

    /// Puts a session on a socket.
    pub fn open(&mut self, socket: SocketKey, session: Session) -> TlsKey {
        if self.incoming.is_empty() {
            self.incoming = vec![0; 2 * WIRE_SIZE];
            self.outgoing = vec![0; WIRE_SIZE];
        }
        TlsKey(self.entries.insert(Entry { socket, session, truncated: false }))
    }

    /// The socket of a session, if it is open.
    pub fn socket(&self, key: TlsKey) -> io::Result<SocketKey> {
        Ok(self.entries.get(key.0).ok_or_else(bad_descriptor)?.socket)
    }

    /// The session, if it is open.
    pub fn session(&self, key: TlsKey) -> Option<&Session> {
        Some(&self.entries.get(key.0)?.session)
    }

    /// Why an operation has failed with `EPROTO`.
    pub fn failure(&self, key: TlsKey) -> Option<TlsError> {
        let entry = self.entries.get(key.0)?;
        match entry.session.failure() {
            Some(failure) => Some(failure.clone()),
            None if !entry.truncated => None,
            None if entry.session.is_handshaking() => Some(TlsError::new(
                "ECONNRESET",
                "the peer has closed the connection before the handshake was done",
            )),
            None => Some(TlsError::new(
                "ERR_GREENSTACK_TLS_TRUNCATED",
                "the connection has ended without the peer having said that this was all",
            )),
        }
    }

    /// Whether the connection has ended without the peer having said that this was all.
    pub(crate) fn is_truncated(&self, key: TlsKey) -> bool {
        self.entries.get(key.0).is_some_and(|entry| entry.truncated && entry.session.failure().is_none())
    }

    /// Whether there is plaintext that nobody has received.
    pub(crate) fn has_plaintext(&self, key: TlsKey) -> bool {
        self.session(key).is_some_and(|session| session.readable() > 0)
    }

    /// How many bytes are to be [flushed](Self::try_flush).
    pub(crate) fn unsent(&self, key: TlsKey) -> usize {
        self.session(key).map_or(0, |session| session.outgoing().len())
    }

    fn get(&mut self, key: TlsKey) -> io::Result<(&mut Entry, &mut [u8], &mut [u8])> {
        let entry = self.entries.get_mut(key.0).ok_or_else(bad_descriptor)?;
        Ok((entry, &mut self.incoming, &mut self.outgoing))
    }

    /// Goes on with the handshake.
    ///
    /// # Errors
    /// `EPROTO`, or what the socket returned.
    pub fn try_handshake(&mut self, sockets: &mut Sockets, key: TlsKey) -> io::Result<Wants> {
        let (entry, incoming, _) = self.get(key)?;
        if entry.session.failure().is_some() || entry.truncated {
            return Err(failed());
        }
        loop {
            match entry.flush(sockets) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Wants::Write),
                // The peer may have said why before it has hung up.
                Err(error) => return Err(entry.last_words(sockets, incoming).unwrap_or(error)),
                Ok(()) => {}
            }
            if !entry.session.is_handshaking() {
                return Ok(Wants::Nothing);
            }
            match entry.receive(sockets, incoming, &mut []) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Wants::Read),
                result => result?,
            };
        }
    }

    /// Decrypts what has arrived into `into` and returns how many bytes that were; 0 is the end of the stream.
    ///
    /// # Errors
    /// `WouldBlock` if nothing has arrived, `EPROTO`, or what the socket returned.
    pub fn try_recv(&mut self, sockets: &mut Sockets, key: TlsKey, into: &mut [u8]) -> io::Result<usize> {
        let (entry, incoming, _) = self.get(key)?;
        loop {
            let count = entry.session.take_plaintext(into);
            if count > 0 {
                return Ok(count);
            }
            if entry.session.failure().is_some() || entry.truncated {
                return Err(failed());
            }
            if entry.session.peer_closed() {
                return Ok(0);
            }
            let count = entry.receive(sockets, incoming, into)?;
            if count > 0 {
                return Ok(count);
            }
        }
    }

    /// Whether [`try_recv`](Self::try_recv) would return something else than `WouldBlock`. What arrives without meaning
    /// anything to the user is taken in.
    pub fn has_input(&mut self, sockets: &mut Sockets, key: TlsKey) -> bool {
        let Ok((entry, incoming, _)) = self.get(key) else { return true };
        loop {
            let Entry { session, truncated, .. } = &*entry;
            if session.readable() > 0 || session.peer_closed() || session.failure().is_some() || *truncated {
                return true;
            }
            match entry.receive(sockets, incoming, &mut []) {
                Ok(_) => {}
                Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
            }
        }
    }

    /// Encrypts the beginning of `data` and returns how many bytes that were. All of them are the session's from then on:
    /// [`try_flush`](Self::try_flush) has to follow.
    ///
    /// # Errors
    /// `EPIPE` after [`try_shutdown`](Self::try_shutdown), `EPROTO`, or what the socket returned; then nothing was taken.
    /// Never `WouldBlock`.
    pub fn encrypt(&mut self, sockets: &mut Sockets, key: TlsKey, data: &[u8]) -> io::Result<usize> {
        let (entry, incoming, outgoing) = self.get(key)?;
        if entry.session.is_closed() {
            return Err(io::Error::from_raw_os_error(EPIPE));
        }
        let data = &data[..data.len().min(MAX_PLAINTEXT)];
        let (taken, made) = entry.session.encrypt(data, outgoing).map_err(|_| failed())?;
        match entry.put(sockets, &outgoing[..made]) {
            Ok(()) => Ok(taken),
            Err(error) => Err(entry.last_words(sockets, incoming).unwrap_or(error)),
        }
    }

    /// Sends what is ready to be sent.
    ///
    /// # Errors
    /// `WouldBlock` if there is no room for all of it, or what the socket returned.
    pub fn try_flush(&mut self, sockets: &mut Sockets, key: TlsKey) -> io::Result<()> {
        let (entry, incoming, _) = self.get(key)?;
        match entry.flush(sockets) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                Err(entry.last_words(sockets, incoming).unwrap_or(error))
            }
            result => result,
        }
    }

    /// Says that nothing follows.
    ///
    /// # Errors
    /// `WouldBlock` if there is no room to say it, `EPROTO`, or what the socket returned.
    pub fn try_close_notify(&mut self, sockets: &mut Sockets, key: TlsKey) -> io::Result<()> {
        let (entry, _, outgoing) = self.get(key)?;
        if !entry.session.is_closed() {
            let made = entry.session.close_notify(outgoing).map_err(|_| failed())?;
            entry.session.keep_outgoing(&outgoing[..made]);
        }
        entry.flush(sockets)
    }

    /// Says that nothing follows, and ends that direction of the connection.
    ///
    /// # Errors
    /// As [`try_close_notify`](Self::try_close_notify).
    pub fn try_shutdown(&mut self, sockets: &mut Sockets, key: TlsKey) -> io::Result<()> {
        self.try_close_notify(sockets, key)?;
        sockets.shutdown(self.socket(key)?, Shutdown::Write)
    }

    /// Receives the peer's word that nothing follows, after which the socket is free for something else. `false` if there
    /// is plaintext that nobody has taken.
    ///
    /// # Errors
    /// `WouldBlock` if it has not come, `EPROTO`, or what the socket returned.
    pub fn try_unwrap(&mut self, sockets: &mut Sockets, key: TlsKey) -> io::Result<bool> {
        let (entry, incoming, _) = self.get(key)?;
        loop {
            if entry.session.readable() > 0 {
                return Ok(false);
            }
            if entry.session.peer_closed() {
                break;
            }
            if entry.session.failure().is_some() || entry.truncated {
                return Err(failed());
            }
            entry.receive(sockets, incoming, &mut [])?;
        }
        let (socket, remainder) = (entry.socket, entry.session.take_remainder());
        self.entries.remove(key.0);
        sockets.unread(socket, remainder)?;
        Ok(true)
    }

    /// Forgets a session, after having said that nothing follows, as far as that is possible without waiting. The socket
    /// stays open.
    pub fn close(&mut self, sockets: &mut Sockets, key: TlsKey) {
        if let Ok((entry, ..)) = self.get(key)
            && !entry.session.is_handshaking()
        {
            // The session has failed, or the peer does not read: it will notice.
            let _ = self.try_close_notify(sockets, key);
        }
        self.entries.remove(key.0);
    }

    /// Forgets a session without a word, so that what was sent does not pass for all.
    pub(crate) fn forget(&mut self, key: TlsKey) {
        self.entries.remove(key.0);
    }
}

impl Default for TlsSockets {
    fn default() -> Self {
        Self::new()
    }
}

impl Entry {
    /// Sends what the session keeps.
    fn flush(&mut self, sockets: &mut Sockets) -> io::Result<()> {
        while !self.session.outgoing().is_empty() {
            let count = sockets.try_send(self.socket, self.session.outgoing())?;
            self.session.note_sent(count);
        }
        Ok(())
    }

    /// Sends `wire` behind what the session keeps. What there is no room for is kept.
    fn put(&mut self, sockets: &mut Sockets, mut wire: &[u8]) -> io::Result<()> {
        let mut blocked = !self.session.outgoing().is_empty();
        while !blocked && !wire.is_empty() {
            match sockets.try_send(self.socket, wire) {
                Ok(count) => wire = &wire[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => blocked = true,
                Err(error) => return Err(error),
            }
        }
        self.session.keep_outgoing(wire);
        Ok(())
    }

    /// Receives once, and returns how many bytes of plaintext have come of it.
    fn receive(&mut self, sockets: &mut Sockets, wire: &mut [u8], into: &mut [u8]) -> io::Result<usize> {
        let free = self.session.unprocessed();
        let wire = &mut wire[..free + into.len().clamp(MAX_RECORD, WIRE_SIZE)];
        let received = sockets.try_recv(self.socket, &mut wire[free..])?;
        if received == 0 {
            self.truncated = true;
            return Err(failed());
        }
        let processed = self.session.process(wire, received, into);
        // Alerts, and answers that keys have changed. If they cannot go now, they go with what is sent next.
        let _ = self.flush(sockets);
        processed.map_err(|_| failed())
    }

    /// After the peer has hung up: what it has said before, if that tells why.
    fn last_words(&mut self, sockets: &mut Sockets, wire: &mut [u8]) -> Option<io::Error> {
        while self.session.readable() == 0
            && !self.session.peer_closed()
            && self.receive(sockets, wire, &mut []).is_ok()
        {}
        self.session.failure().map(|_| failed())
    }
}

/// What a session that has failed returns.
fn failed() -> io::Error {
    io::Error::from_raw_os_error(EPROTO)
}
