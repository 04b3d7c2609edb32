//! Where the bytes of connections come from and go to: the only file here that knows what carries them.

use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;

use crate::error::{ParkError, bad_descriptor};
use crate::hub::{Ready, Waiters};
use crate::net::{Side, SocketKey, Sockets, Waiter};
use crate::poller::Poller;

/// What carries a connection: a socket, whose bytes are taken as they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) socket: SocketKey,
}

/// The parts of the hub that connections need.
pub(crate) struct Streams<'a> {
    pub(crate) sockets: &'a mut Sockets,
    pub(crate) poller: &'a Poller,
    pub(crate) ready: &'a mut VecDeque<Ready>,
    pub(crate) waiters: &'a mut Waiters,
    /// The time of timers.
    pub(crate) now: u64,
}

impl Streams<'_> {
    /// Receives; 0 is the end. `WouldBlock` if nothing has come.
    pub(crate) fn recv(&mut self, link: Link, into: &mut [u8]) -> io::Result<usize> {
        self.sockets.try_recv(link.socket, into)
    }

    /// Sends what there is room for.
    pub(crate) fn send(&mut self, link: Link, data: &[u8]) -> io::Result<usize> {
        self.sockets.try_send(link.socket, data)
    }

    /// Sends two pieces by one system call, as far as there is room.
    pub(crate) fn send_both(&mut self, link: Link, first: &[u8], second: &[u8]) -> io::Result<usize> {
        self.sockets.try_send_both(link.socket, first, second)
    }

    /// Says that nothing more will be sent.
    pub(crate) fn end(&mut self, link: Link) {
        // Fails if the peer has gone, who need not be told then.
        let _ = self.sockets.shutdown(link.socket, Shutdown::Write);
    }

    /// Closes it; whoever waits for it is told.
    pub(crate) fn close(&mut self, link: Link) {
        let told = self.sockets.close(self.poller, link.socket);
        for waiter in told.into_iter().flatten() {
            self.waiters.tell(self.ready, waiter);
        }
    }

    /// Whether an event has told of something to receive.
    pub(crate) fn is_known_readable(&mut self, link: Link) -> bool {
        self.sockets.is_known_ready(link.socket, Side::Read)
    }

    /// Queues `entry` when there is something to receive.
    pub(crate) fn await_readable(&mut self, socket: SocketKey, waiter: Waiter, referenced: bool) {
        // It fails if the socket is closed, and then nothing comes any more; others are not noted on ours.
        let _ = self.sockets.note(self.poller, socket, Side::Read, waiter, referenced);
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
        self.sockets.has_hung_up(link.socket, Side::Read)
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
