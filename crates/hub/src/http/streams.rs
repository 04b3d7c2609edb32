//! Where the bytes of connections come from and go to: the only file here that knows what carries them.

use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;

use crate::error::{ParkError, bad_descriptor};
use crate::hub::{Ready, Waiters};
use crate::net::{Side, SocketKey, Sockets, Waiter};
use crate::poller::Poller;
use crate::tls::{ConfigKey, Session, TlsKey, TlsSockets, Wants};

/// What carries a connection: a socket, and the session on it if it is encrypted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) socket: SocketKey,
    pub(crate) tls: Option<TlsKey>,
}

impl Link {
    /// A socket whose bytes are taken as they are.
    pub(crate) const fn plain(socket: SocketKey) -> Self {
        Self { socket, tls: None }
    }
}

/// The parts of the hub that connections need.
pub(crate) struct Streams<'a> {
    pub(crate) sockets: &'a mut Sockets,
    pub(crate) tls: &'a mut TlsSockets,
    pub(crate) poller: &'a Poller,
    pub(crate) ready: &'a mut VecDeque<Ready>,
    pub(crate) waiters: &'a mut Waiters,
    /// The time of timers.
    pub(crate) now: u64,
}

impl Streams<'_> {
    /// Puts the end of a server on a socket.
    ///
    /// # Errors
    /// `EPROTO` if the config is gone.
    pub(crate) fn encrypt(&mut self, socket: SocketKey, config: ConfigKey) -> io::Result<Link> {
        const EPROTO: i32 = 71;
        let session = self.tls.session_for(config, "").map_err(|_| io::Error::from_raw_os_error(EPROTO))?;
        Ok(Link { socket, tls: Some(self.tls.open(socket, session)) })
    }

    /// Goes on with a handshake.
    pub(crate) fn shake_hands(&mut self, link: Link) -> io::Result<Wants> {
        // Whatever has called for this, nobody waits for room to send now.
        self.sockets.clear(link.socket, Side::Write);
        link.tls.map_or(Ok(Wants::Nothing), |key| self.tls.try_handshake(self.sockets, key))
    }

    /// Receives; 0 is the end. `WouldBlock` if nothing has come.
    pub(crate) fn recv(&mut self, link: Link, into: &mut [u8]) -> io::Result<usize> {
        let Some(key) = link.tls else { return self.sockets.try_recv(link.socket, into) };
        match self.tls.try_recv(self.sockets, key, into) {
            // Where a request ends is told by itself, so it does not matter whether the client has announced its end.
            Err(_) if self.tls.is_truncated(key) => Ok(0),
            result => result,
        }
    }

    /// Receives what nobody looks at.
    pub(crate) fn discard(&mut self, link: Link, into: &mut [u8]) -> io::Result<usize> {
        self.sockets.try_recv(link.socket, into)
    }

    /// Sends what there is room for. What was taken of it may still have to be [flushed](Self::flush).
    pub(crate) fn send(&mut self, link: Link, data: &[u8]) -> io::Result<usize> {
        let Some(key) = link.tls else { return self.sockets.try_send(link.socket, data) };
        self.tls.try_flush(self.sockets, key)?;
        self.tls.encrypt(self.sockets, key, data)
    }

    /// Sends two pieces by one system call, as far as there is room; nothing if it is encrypted, which takes one piece.
    pub(crate) fn send_both(&mut self, link: Link, first: &[u8], second: &[u8]) -> io::Result<usize> {
        if link.tls.is_some() {
            return Ok(0);
        }
        self.sockets.try_send_both(link.socket, first, second)
    }

    /// Sends what was encrypted and not sent.
    ///
    /// # Errors
    /// `WouldBlock` if there is no room for all of it.
    pub(crate) fn flush(&mut self, link: Link) -> io::Result<()> {
        link.tls.map_or(Ok(()), |key| self.tls.try_flush(self.sockets, key))
    }

    /// How many bytes were encrypted and not sent.
    pub(crate) fn unflushed(&self, link: Link) -> usize {
        link.tls.map_or(0, |key| self.tls.unsent(key))
    }

    /// Says that nothing more will be sent.
    pub(crate) fn end(&mut self, link: Link) {
        // These fail if the peer has gone, who need not be told then.
        if let Some(key) = link.tls {
            let _ = self.tls.try_close_notify(self.sockets, key);
        }
        let _ = self.sockets.shutdown(link.socket, Shutdown::Write);
    }

    /// Closes it; whoever waits for it is told. The peer of a session is told that this was all, if it was.
    pub(crate) fn close(&mut self, link: Link, was_all: bool) {
        match link.tls {
            Some(key) if was_all => self.tls.close(self.sockets, key),
            Some(key) => self.tls.forget(key),
            None => {}
        }
        let told = self.sockets.close(self.poller, link.socket);
        for waiter in told.into_iter().flatten() {
            self.waiters.tell(self.ready, waiter);
        }
    }

    /// Whether there is something to receive, as far as that is known.
    pub(crate) fn is_known_readable(&mut self, link: Link) -> bool {
        self.sockets.is_known_ready(link.socket, Side::Read)
            || link.tls.is_some_and(|key| self.tls.has_plaintext(key))
    }

    /// Tells `waiter` when there is something to receive.
    pub(crate) fn await_readable(&mut self, socket: SocketKey, waiter: Waiter, referenced: bool) {
        // It fails if the socket is closed, and then nothing comes any more; others are not noted on ours.
        let _ = self.sockets.note(self.poller, socket, Side::Read, waiter, referenced);
    }

    /// Tells `waiter` when there is room to send.
    pub(crate) fn await_writable(&mut self, socket: SocketKey, waiter: Waiter) {
        let _ = self.sockets.note(self.poller, socket, Side::Write, waiter, false);
    }

    /// Waits no more, and lets the next attempt to receive ask the system.
    pub(crate) fn look_again(&mut self, link: Link) {
        self.forget(link);
        self.sockets.doubt(link.socket, Side::Read);
    }

    /// Waits no more.
    pub(crate) fn forget(&mut self, link: Link) -> bool {
        self.sockets.clear(link.socket, Side::Read)
    }

    /// Whether an event has told that the peer sends nothing more.
    pub(crate) fn has_ended(&mut self, link: Link) -> bool {
        let has_said_so = |key| self.tls.session(key).is_some_and(Session::peer_closed);
        link.tls.is_some_and(has_said_so) || self.sockets.has_hung_up(link.socket, Side::Read)
    }

    /// Calls a slot at the next event, which may be the end.
    pub(crate) fn watch(&mut self, link: Link, slot: u32) -> io::Result<()> {
        const EBUSY: i32 = 16;
        let noted = self.sockets.note(self.poller, link.socket, Side::Read, Waiter::Slot(slot), false);
        noted.map_err(|error| match error {
            ParkError::Busy => io::Error::from_raw_os_error(EBUSY),
            ParkError::Closed => bad_descriptor(),
            ParkError::System(error) => error,
        })
    }
}
