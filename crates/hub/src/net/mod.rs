//! The table of sockets: who they are, what they are ready for, and who waits for them.
//!
//! This file knows of readiness and of waiters, and nothing of protocols; what one can do with a kind of
//! socket stands in a file of its own. The rule for callers is: try the operation; if it would block, note the
//! stack as waiter and suspend it; once it runs again, for whatever reason, clear the note; try again.
//!
//! A socket is registered with the poller when somebody waits for it first: many are done before that. All are
//! sockets of the system here, of whatever family; on Windows the poller would want them sorted by kind.

mod address;
mod datagram;
mod options;
mod stream;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use socket2::{Domain, Socket as RawSocket, Type};

pub use address::Address;

use crate::error::{ParkError, bad_descriptor};
use crate::poller::{Poller, Readiness};
use crate::slab::{Key, Slab};

/// Names a stack that can park. What it means is up to the user of the hub.
pub type StackId = u32;

/// Who is told that a socket became ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiter {
    /// A parked stack, to be entered. It stays noted until it clears the note itself.
    Stack(StackId),
    /// A slot to be called, once: what waits without a stack.
    Slot(u32),
    /// A connection of a server of HTTP, to be seen to once.
    Connection(u32),
    /// A server of HTTP that accepts, to be seen to once.
    Listener(u32),
}

impl Waiter {
    /// Whether it is forgotten when it is told.
    const fn is_told_once(self) -> bool {
        !matches!(self, Self::Stack(_))
    }
}

/// One half of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Receiving and accepting.
    Read,
    /// Sending, and connecting.
    Write,
}

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

/// What a descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketFamily {
    /// IPv4.
    V4,
    /// IPv6, perhaps with IPv4 mapped into it.
    V6,
    /// Unix-domain.
    Unix,
}

/// What kind of socket an adopted descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketKind {
    /// Its family of addresses.
    pub family: SocketFamily,
    /// Whether it has datagrams, and no stream.
    pub datagram: bool,
    /// Whether it listens.
    pub listening: bool,
}

/// The sockets of one hub. No method blocks.
pub struct Sockets {
    slab: Slab<Socket>,
    waiting: usize,
}

struct Socket {
    raw: RawSocket,
    /// The other end, where it was told when the connection was made.
    peer: Option<Address>,
    /// Was received already, and goes before all that comes.
    unread: Vec<u8>,
    registered: bool,
    /// Whether others may have the descriptor too: then closing it does not end its registration.
    shared: bool,
    read: Direction,
    write: Direction,
}

impl Socket {
    fn deregister_from(&mut self, poller: &Poller) {
        if self.registered {
            // Fails only if the descriptor is broken, and then there are no events either.
            let _ = poller.deregister(self);
        }
    }

    fn direction(&mut self, side: Side) -> &mut Direction {
        match side {
            Side::Read => &mut self.read,
            Side::Write => &mut self.write,
        }
    }

    /// Runs a system call, unless it is known that it would block.
    fn attempt<T>(
        &mut self,
        side: Side,
        mut operation: impl FnMut(&RawSocket) -> io::Result<T>,
    ) -> io::Result<T> {
        let registered = self.registered;
        if !self.direction(side).ready {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        loop {
            match operation(&self.raw) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.direction(side).ready = !registered;
                    return Err(error);
                }
                result => return result,
            }
        }
    }

    /// As [`attempt`](Self::attempt), to move up to `wanted` bytes of a stream.
    ///
    /// Fewer bytes than wanted mean that the kernel has emptied or filled its buffer: whatever changes that
    /// later comes with an event, so the next try is spared.
    fn transfer(
        &mut self,
        side: Side,
        wanted: usize,
        operation: impl FnMut(&RawSocket) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if wanted == 0 {
            return Ok(0);
        }
        let moved = self.attempt(side, operation)?;
        if 0 < moved && moved < wanted && self.registered {
            let direction = self.direction(side);
            direction.ready = direction.hung_up;
        }
        Ok(moved)
    }
}

impl Source for Socket {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        SourceFd(&self.raw.as_raw_fd()).register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        SourceFd(&self.raw.as_raw_fd()).reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        SourceFd(&self.raw.as_raw_fd()).deregister(registry)
    }
}

/// The state of one [`Side`].
struct Direction {
    /// Whether an operation is worth a system call. Edge-triggered: set by an event, cleared by the operation
    /// that found nothing (more) to do. Without events, that is before the socket is registered, always set.
    ready: bool,
    /// Whether the end of this direction was seen; then it stays ready, as no event will announce it again.
    hung_up: bool,
    noted: Option<Noted>,
}

struct Noted {
    waiter: Waiter,
    /// Whether an event has reported it already.
    told: bool,
    /// Whether it keeps the process alive.
    referenced: bool,
}

impl Direction {
    const fn new() -> Self {
        Self { ready: true, hung_up: false, noted: None }
    }

    /// Notes an event and returns whom to tell, once.
    fn on_event(&mut self, ready: bool, hung_up: bool) -> Option<Noted> {
        self.hung_up |= hung_up;
        if !ready && !hung_up {
            return None;
        }
        self.ready = true;
        self.tell()
    }

    /// Who is to be told now. Only a stack stays noted.
    fn tell(&mut self) -> Option<Noted> {
        let noted = self.noted.as_mut().filter(|noted| !noted.told)?;
        if noted.waiter.is_told_once() {
            return self.noted.take();
        }
        noted.told = true;
        Some(Noted { ..*noted })
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

    /// Returns how many waiters are noted that keep the process alive: all stacks, and slots that are to.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    // ---- where sockets come from and go to

    /// Takes over a descriptor, which is made non-blocking. Nothing else may read, write or close it from now on.
    ///
    /// # Errors
    /// What fcntl(2) returned.
    pub fn adopt(&mut self, descriptor: OwnedFd) -> io::Result<SocketKey> {
        let raw = RawSocket::from(descriptor);
        raw.set_nonblocking(true)?;
        raw.set_cloexec(true)?;
        Ok(self.insert_shared(raw))
    }

    /// Watches a descriptor of any kind through a copy of it; only waiting is possible then.
    pub fn watch_copy(&mut self, copy: OwnedFd) -> SocketKey {
        self.insert_shared(RawSocket::from(copy))
    }

    /// Tells what kind of socket it is.
    ///
    /// # Errors
    /// `ENOTSOCK` if it is none; `EAFNOSUPPORT` for other families, `EPROTONOSUPPORT` for other types.
    pub fn kind(&self, key: SocketKey) -> io::Result<SocketKind> {
        const EPROTONOSUPPORT: i32 = 93;
        const EAFNOSUPPORT: i32 = 97;
        let raw = &self.get(key)?.raw;
        let datagram = match raw.r#type()? {
            Type::STREAM => false,
            Type::DGRAM => true,
            _ => return Err(io::Error::from_raw_os_error(EPROTONOSUPPORT)),
        };
        let family = match raw.domain()? {
            Domain::IPV4 => SocketFamily::V4,
            Domain::IPV6 => SocketFamily::V6,
            Domain::UNIX => SocketFamily::Unix,
            _ => return Err(io::Error::from_raw_os_error(EAFNOSUPPORT)),
        };
        Ok(SocketKind { family, datagram, listening: raw.is_listener()? })
    }

    /// Returns the descriptor, which stays the table's.
    ///
    /// # Errors
    /// `EBADF` if the socket is closed.
    pub fn descriptor(&self, key: SocketKey) -> io::Result<RawFd> {
        Ok(self.get(key)?.raw.as_raw_fd())
    }

    /// Forgets a socket without closing it. Returns its descriptor, non-blocking, and whom to tell.
    ///
    /// # Errors
    /// `EBADF` if the socket is closed, `EBUSY` if it keeps bytes that would be lost.
    pub fn detach(&mut self, poller: &Poller, key: SocketKey) -> io::Result<(OwnedFd, [Option<Waiter>; 2])> {
        const EBUSY: i32 = 16;
        if !self.get(key)?.unread.is_empty() {
            return Err(io::Error::from_raw_os_error(EBUSY));
        }
        let (socket, told) = self.take_out(poller, key)?;
        Ok((socket.raw.into(), told))
    }

    /// Gives a socket a new key: whoever has the old one finds it closed. Returns whom to tell.
    ///
    /// # Errors
    /// `EBADF` if the socket is closed.
    pub fn rename(
        &mut self,
        poller: &Poller,
        key: SocketKey,
    ) -> io::Result<(SocketKey, [Option<Waiter>; 2])> {
        let (mut socket, told) = self.take_out(poller, key)?;
        socket.registered = false;
        (socket.read, socket.write) = (Direction::new(), Direction::new());
        Ok((SocketKey(self.slab.insert(socket)), told))
    }

    fn take_out(&mut self, poller: &Poller, key: SocketKey) -> io::Result<(Socket, [Option<Waiter>; 2])> {
        let (mut socket, told) = self.remove(key).ok_or_else(bad_descriptor)?;
        socket.deregister_from(poller);
        Ok((socket, told))
    }

    /// Returns the bytes that were put back, which are the caller's then.
    ///
    /// # Errors
    /// `EBADF` if the socket is closed.
    pub fn take_unread(&mut self, key: SocketKey) -> io::Result<Vec<u8>> {
        Ok(std::mem::take(&mut self.get_mut(key)?.unread))
    }

    /// Returns how many bytes were put back and not received again.
    pub fn unread_len(&self, key: SocketKey) -> usize {
        self.slab.get(key.0).map_or(0, |socket| socket.unread.len())
    }

    /// Puts back bytes that were received: they come before all others.
    ///
    /// # Errors
    /// `EBADF` if the socket is closed.
    pub fn unread(&mut self, key: SocketKey, bytes: Vec<u8>) -> io::Result<()> {
        self.get_mut(key)?.unread.splice(..0, bytes);
        Ok(())
    }

    /// Closes a socket and returns whom to tell, who find it closed. Idempotent.
    ///
    /// Closing ends its registration, unless a child process holds a copy; the events of that name a stale key.
    pub fn close(&mut self, poller: &Poller, key: SocketKey) -> [Option<Waiter>; 2] {
        let Some((mut socket, told)) = self.remove(key) else { return [None, None] };
        if socket.shared {
            socket.deregister_from(poller);
        }
        told
    }

    fn insert(&mut self, raw: RawSocket, peer: Option<Address>) -> SocketKey {
        let (read, write) = (Direction::new(), Direction::new());
        let unread = Vec::new();
        let socket = Socket { raw, peer, unread, registered: false, shared: false, read, write };
        SocketKey(self.slab.insert(socket))
    }

    fn insert_shared(&mut self, raw: RawSocket) -> SocketKey {
        let key = self.insert(raw, None);
        if let Some(socket) = self.slab.get_mut(key.0) {
            socket.shared = true;
        }
        key
    }

    fn remove(&mut self, key: SocketKey) -> Option<(Socket, [Option<Waiter>; 2])> {
        let mut socket = self.slab.remove(key.0)?;
        let told = [Side::Read, Side::Write].map(|side| {
            let direction = socket.direction(side);
            self.waiting -= usize::from(direction.noted.as_ref().is_some_and(|noted| noted.referenced));
            direction.tell().map(|noted| noted.waiter)
        });
        Some((socket, told))
    }

    // ---- who waits

    /// Notes the one waiter of a side, to be told by the next event on it.
    ///
    /// To be called after an operation would have blocked. A stack undoes it by [`clear`](Self::clear) when it
    /// runs again, whoever woke it. Until then, others are refused.
    ///
    /// # Errors
    /// [`ParkError::Busy`] if somebody else is noted, [`ParkError::Closed`] if the key is stale,
    /// [`ParkError::System`] if the poller refuses the descriptor: `EPERM` for files, which are always ready.
    pub fn note(
        &mut self,
        poller: &Poller,
        key: SocketKey,
        side: Side,
        waiter: Waiter,
        referenced: bool,
    ) -> Result<(), ParkError> {
        let socket = self.slab.get_mut(key.0).ok_or(ParkError::Closed)?;
        if socket.direction(side).noted.as_ref().is_some_and(|noted| noted.waiter != waiter) {
            return Err(ParkError::Busy);
        }
        if !socket.registered {
            poller.register(socket, key.to_bits() as usize).map_err(ParkError::System)?;
            socket.registered = true;
            // What they are ready for comes as an event.
            socket.read.ready = false;
            socket.write.ready = false;
        }
        let before = socket.direction(side).noted.replace(Noted { waiter, told: false, referenced });
        self.waiting -= usize::from(before.is_some_and(|noted| noted.referenced));
        self.waiting += usize::from(referenced);
        Ok(())
    }

    /// Whether another stack than `own` is noted: also one that was told already, and has yet to go on.
    pub fn is_taken(&self, key: SocketKey, side: Side, own: Option<StackId>) -> bool {
        let Some(socket) = self.slab.get(key.0) else { return false };
        let direction = if side == Side::Read { &socket.read } else { &socket.write };
        matches!(direction.noted, Some(Noted { waiter: Waiter::Stack(stack), .. }) if Some(stack) != own)
    }

    /// Forgets the waiter of a side; `false` if there was none, or the key is stale.
    pub fn clear(&mut self, key: SocketKey, side: Side) -> bool {
        let Some(noted) = self.slab.get_mut(key.0).and_then(|socket| socket.direction(side).noted.take())
        else {
            return false;
        };
        self.waiting -= usize::from(noted.referenced);
        true
    }

    /// Returns whether an event has told that a side is ready, and no operation has found otherwise since.
    pub(crate) fn is_known_ready(&mut self, key: SocketKey, side: Side) -> bool {
        self.slab.get_mut(key.0).is_some_and(|socket| socket.registered && socket.direction(side).ready)
    }

    /// Whether an event has told the end of a side.
    pub(crate) fn has_hung_up(&mut self, key: SocketKey, side: Side) -> bool {
        self.slab.get_mut(key.0).is_some_and(|socket| socket.direction(side).hung_up)
    }

    /// Returns whether a side is ready, where an event has told so before and none may tell it again.
    pub(crate) fn is_still_ready(&mut self, key: SocketKey, side: Side) -> bool {
        if side == Side::Read && self.slab.get_mut(key.0).is_some_and(|socket| !socket.unread.is_empty()) {
            return true;
        }
        let known = |socket: &mut Socket| socket.registered && socket.direction(side).ready;
        if !self.slab.get_mut(key.0).is_some_and(known) {
            return false;
        }
        let (readable, writable) = self.poll_sides(key).unwrap_or((true, true));
        let ready = if side == Side::Read { readable } else { writable };
        if let Some(socket) = self.slab.get_mut(key.0) {
            socket.direction(side).ready = ready;
        }
        ready
    }

    /// Lets the next operation on a side ask the system, whatever events have told so far.
    pub(crate) fn doubt(&mut self, key: SocketKey, side: Side) {
        if let Some(socket) = self.slab.get_mut(key.0) {
            socket.direction(side).ready = true;
        }
    }

    /// Asks the system whether a socket can be read or written without blocking; an error or a hang-up counts as
    /// both.
    ///
    /// # Errors
    /// `EBADF` if the socket is closed, else what poll(2) returned.
    pub fn poll_sides(&self, key: SocketKey) -> io::Result<(bool, bool)> {
        let Socket { raw, unread, .. } = self.get(key)?;
        let mut descriptors = [PollFd::new(raw, PollFlags::IN | PollFlags::OUT)];
        // A signal ends it even if it need not wait.
        retry_on_intr(|| poll(&mut descriptors, Some(&Timespec::default())))?;
        let ready = descriptors[0].revents();
        let broken = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
        Ok((
            !unread.is_empty() || ready.intersects(PollFlags::IN | broken),
            ready.intersects(PollFlags::OUT | broken),
        ))
    }

    /// Takes in an [`Event::Io`](crate::Event::Io) and returns whom to tell: who reads and who writes.
    ///
    /// Each is reported once for each time it was noted. Events of sockets closed meanwhile concern nobody.
    pub fn on_event(&mut self, token: usize, readiness: Readiness) -> [Option<Waiter>; 2] {
        let key = Key::from_bits(token as u64);
        let Some(socket) = self.slab.get_mut(key) else {
            return [None, None];
        };
        let Readiness { readable, writable, read_closed, write_closed, error } = readiness;
        let told = [
            socket.read.on_event(readable, read_closed || error),
            socket.write.on_event(writable, write_closed || error),
        ];
        told.map(|noted| {
            let noted = noted?;
            self.waiting -= usize::from(noted.waiter.is_told_once() && noted.referenced);
            Some(noted.waiter)
        })
    }

    fn get(&self, key: SocketKey) -> io::Result<&Socket> {
        self.slab.get(key.0).ok_or_else(bad_descriptor)
    }

    fn get_mut(&mut self, key: SocketKey) -> io::Result<&mut Socket> {
        self.slab.get_mut(key.0).ok_or_else(bad_descriptor)
    }
}

impl Default for Sockets {
    fn default() -> Self {
        Self::new()
    }
}
