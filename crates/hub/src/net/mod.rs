//! The table of sockets: who they are, what they are ready for, and who is parked on them.
//!
//! This file knows of readiness and of parked stacks, and nothing of protocols; what one can do with a kind of
//! socket stands in a file of its own. The rule for callers is: try the operation; if it would block, note the
//! stack as reader or writer and suspend it; once it runs again, for whatever reason, clear the note; try again.

mod tcp;

use std::io;

use mio::event::Source;
use mio::net::TcpStream;

use crate::error::{ParkError, bad_descriptor};
use crate::poller::{Poller, Readiness};
use crate::slab::{Key, Slab};

/// Names a stack that can park. What it means is up to the user of the hub.
pub type StackId = u32;

/// Names a socket. The key of a closed socket is stale: it names nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketKey(Key);

// A key is the token its events carry.
const _: () = assert!(usize::BITS >= 64, "socket keys do not fit into tokens");

impl SocketKey {
    /// Returns the key as a number between 1 and 2⁵³, so that it can travel as a JavaScript number.
    pub const fn to_bits(self) -> u64 {
        self.0.to_bits()
    }

    /// Takes a number from [`SocketKey::to_bits`] back. Any other number makes a key that names nothing.
    pub const fn from_bits(bits: u64) -> Self {
        Self(Key::from_bits(bits))
    }
}

/// The sockets of one hub. No method blocks.
pub struct Sockets {
    slab: Slab<Socket>,
    waiting: usize,
}

struct Socket {
    kind: Kind,
    read: Direction,
    write: Direction,
}

/// The kinds of sockets.
enum Kind {
    Tcp(TcpStream),
}

impl Kind {
    fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(stream) => stream,
        }
    }
}

/// One half of a socket: reading, or writing.
#[derive(Default)]
struct Direction {
    /// Whether an operation is worth a system call. Edge-triggered: set by an event, cleared by the operation
    /// that found nothing (more) to do.
    ready: bool,
    /// Whether the end of this direction was seen; then it stays ready, as no event will announce it again.
    hung_up: bool,
    parked: Option<Parked>,
}

struct Parked {
    stack: StackId,
    /// Whether the stack was reported by an event already. It keeps its place until it cleared it.
    woken: bool,
}

impl Direction {
    const fn ready(ready: bool) -> Self {
        Self { ready, hung_up: false, parked: None }
    }

    /// Notes an event and returns whom to wake, once.
    fn on_event(&mut self, ready: bool, hung_up: bool) -> Option<StackId> {
        self.hung_up |= hung_up;
        if !ready && !hung_up {
            return None;
        }
        self.ready = true;
        self.wake()
    }

    fn wake(&mut self) -> Option<StackId> {
        let parked = self.parked.as_mut().filter(|parked| !parked.woken)?;
        parked.woken = true;
        Some(parked.stack)
    }

    /// Runs a system call that moves up to `wanted` bytes, unless it is known that it would block.
    ///
    /// Fewer bytes than wanted mean that the kernel has emptied or filled its buffer: whatever changes that
    /// later comes with an event, so the next try is spared.
    fn transfer(
        &mut self,
        wanted: usize,
        mut operation: impl FnMut() -> io::Result<usize>,
    ) -> io::Result<usize> {
        if wanted == 0 {
            return Ok(0);
        }
        if !self.ready {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        loop {
            match operation() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.ready = false;
                    return Err(error);
                }
                Ok(moved) => {
                    if 0 < moved && moved < wanted {
                        self.ready = self.hung_up;
                    }
                    return Ok(moved);
                }
                result => return result,
            }
        }
    }
}

impl Sockets {
    /// Creates an empty table.
    pub const fn new() -> Self {
        Self { slab: Slab::new(), waiting: 0 }
    }

    /// Returns how many sockets are open.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Returns whether no socket is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many stacks are noted as readers or writers.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Notes `stack` as the one reader of a socket, to be reported by the next event that lets it read.
    ///
    /// To be called after an operation would have blocked, and undone by [`clear_reader`](Self::clear_reader)
    /// when the stack runs again, whoever woke it. Until then, other stacks are refused.
    ///
    /// # Errors
    /// [`ParkError::Busy`] if another stack is the reader, [`ParkError::Closed`] if the key is stale.
    pub fn set_reader(&mut self, key: SocketKey, stack: StackId) -> Result<(), ParkError> {
        self.park(key, stack, |socket| &mut socket.read)
    }

    /// Notes `stack` as the one writer of a socket (also while it connects); see [`set_reader`](Self::set_reader).
    ///
    /// # Errors
    /// [`ParkError::Busy`] if another stack is the writer, [`ParkError::Closed`] if the key is stale.
    pub fn set_writer(&mut self, key: SocketKey, stack: StackId) -> Result<(), ParkError> {
        self.park(key, stack, |socket| &mut socket.write)
    }

    /// Forgets the reader of a socket. Does nothing if there is none, or the key is stale.
    pub fn clear_reader(&mut self, key: SocketKey) {
        self.unpark(key, |socket| &mut socket.read);
    }

    /// Forgets the writer of a socket. Does nothing if there is none, or the key is stale.
    pub fn clear_writer(&mut self, key: SocketKey) {
        self.unpark(key, |socket| &mut socket.write);
    }

    /// Returns who is noted as the reader of a socket, woken or not.
    pub fn reader(&self, key: SocketKey) -> Option<StackId> {
        Some(self.slab.get(key.0)?.read.parked.as_ref()?.stack)
    }

    /// Returns who is noted as the writer of a socket, woken or not.
    pub fn writer(&self, key: SocketKey) -> Option<StackId> {
        Some(self.slab.get(key.0)?.write.parked.as_ref()?.stack)
    }

    /// Takes in an [`Event::Io`](crate::Event::Io) and returns the reader and the writer to wake.
    ///
    /// Each is reported once for each time it parked, and keeps its place until it cleared it. Events of sockets
    /// closed meanwhile wake nobody.
    pub fn on_event(&mut self, token: usize, readiness: Readiness) -> (Option<StackId>, Option<StackId>) {
        let key = Key::from_bits(token as u64);
        let Some(socket) = self.slab.get_mut(key) else {
            return (None, None);
        };
        let Readiness { readable, writable, read_closed, write_closed, error } = readiness;
        (
            socket.read.on_event(readable, read_closed || error),
            socket.write.on_event(writable, write_closed || error),
        )
    }

    /// Closes a socket and returns the reader and the writer to wake, who find it closed. Idempotent.
    pub fn close(&mut self, poller: &Poller, key: SocketKey) -> (Option<StackId>, Option<StackId>) {
        let Some(mut socket) = self.slab.remove(key.0) else {
            return (None, None);
        };
        // Closing the descriptor would do, if no child process held a copy of it. Failing changes nothing.
        let _ = poller.deregister(socket.kind.source());
        for direction in [&socket.read, &socket.write] {
            self.waiting -= usize::from(direction.parked.is_some());
        }
        (socket.read.wake(), socket.write.wake())
    }

    /// Registers a new socket; `ready` says whether it can be used at once.
    fn insert(&mut self, poller: &Poller, kind: Kind, ready: bool) -> io::Result<SocketKey> {
        let key =
            self.slab.insert(Socket { kind, read: Direction::ready(ready), write: Direction::ready(ready) });
        let socket = self.slab.get_mut(key).ok_or_else(bad_descriptor)?;
        if let Err(error) = poller.register(socket.kind.source(), key.to_bits() as usize) {
            self.slab.remove(key);
            return Err(error);
        }
        Ok(SocketKey(key))
    }

    fn get(&self, key: SocketKey) -> io::Result<&Socket> {
        self.slab.get(key.0).ok_or_else(bad_descriptor)
    }

    fn get_mut(&mut self, key: SocketKey) -> io::Result<&mut Socket> {
        self.slab.get_mut(key.0).ok_or_else(bad_descriptor)
    }

    fn park(
        &mut self,
        key: SocketKey,
        stack: StackId,
        direction: impl FnOnce(&mut Socket) -> &mut Direction,
    ) -> Result<(), ParkError> {
        let socket = self.slab.get_mut(key.0).ok_or(ParkError::Closed)?;
        let parked = &mut direction(socket).parked;
        match parked {
            Some(other) if other.stack != stack => return Err(ParkError::Busy),
            Some(_) => {}
            None => self.waiting += 1,
        }
        *parked = Some(Parked { stack, woken: false });
        Ok(())
    }

    fn unpark(&mut self, key: SocketKey, direction: impl FnOnce(&mut Socket) -> &mut Direction) {
        let socket = self.slab.get_mut(key.0);
        if socket.is_some_and(|socket| direction(socket).parked.take().is_some()) {
            self.waiting -= 1;
        }
    }
}

impl Default for Sockets {
    fn default() -> Self {
        Self::new()
    }
}
