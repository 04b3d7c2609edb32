//! Native functions of sockets: try, park, retry.
//!
//! Counts and keys are returned as numbers from 0 on, system errors as negative `errno`, and the two ways in which
//! a wait ends early as [`TIMED_OUT`] and [`INTERRUPTED`]. A timeout is in ms; negative means none, 0 never waits.
//! An address is a text and a port: an IP address, or a path with the port −1.

use std::ffi::CString;
use std::io::{self, Cursor, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::Duration;

use greenstack_hub::{Address, Cause, ParkError, Side, SocketFamily, SocketKey, StackId, as_nanos};

use crate::call::{Arguments, Bytes, Returned, UNDEFINED};
use crate::core::{Core, SCRATCH_SIZE, SharedWord};
use crate::error::{Failure, negative_errno};
use crate::scheduling::milliseconds;

/// The timeout passed first.
pub(crate) const TIMED_OUT: f64 = -100_001.0;
/// An error is to be thrown in the greenlet.
pub(crate) const INTERRUPTED: f64 = -100_002.0;
/// Another greenlet waits for the same thing.
const BUSY: f64 = -100_003.0;
/// Connecting goes on.
const PENDING: f64 = -100_004.0;

/// Calls that succeed at once before the greenlet yields, so that a chatty peer starves nobody.
const IMMEDIATE_BUDGET: u32 = 128;
/// Calls that succeed at once between two looks at the clock, a power of two.
const IMMEDIATE_PER_CHECK: u32 = 16;

/// The bits of [`Side`] in numbers.
const READ: i32 = 1;
const WRITE: i32 = 2;

/// The port that says that an address is a path.
const NO_PORT: i32 = -1;

fn key(arguments: &Arguments) -> Result<SocketKey, Failure> {
    Ok(SocketKey::from_bits(arguments.double(0)? as u64))
}

/// How many bytes are to be received into the scratch memory at the most.
pub(crate) fn scratch_limit(arguments: &Arguments) -> Result<usize, Failure> {
    Ok((arguments.double(1)?.max(0.0) as usize).min(SCRATCH_SIZE))
}

fn side(bit: i32) -> Side {
    if bit == READ { Side::Read } else { Side::Write }
}

impl Core {
    /// Tries `operation` until it does something else than report `WouldBlock`, parking in between.
    ///
    /// `park_allowed` is false for a timeout of 0. The deadline must have been set by the caller. Who comes while another
    /// greenlet is in the middle of the same is refused, whether there is something to do at this moment or not.
    pub(crate) fn attempt(
        &self,
        key: SocketKey,
        side: Side,
        mut park_allowed: bool,
        mut operation: impl FnMut() -> Result<io::Result<usize>, Failure>,
    ) -> Result<f64, Failure> {
        let own = self.current.borrow().as_ref().map(|runner| runner.id);
        if self.hub().sockets.is_taken(key, side, own) {
            return Ok(BUSY);
        }
        let mut looked = false;
        loop {
            match operation()? {
                Ok(count) => return Ok(count as f64),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Ok(negative_errno(&error)),
                Err(_) if park_allowed => {}
                Err(_) if looked => return Ok(TIMED_OUT),
                Err(_) => {
                    // What has come since the hub last asked the system counts as being there.
                    self.hub().poll(Some(Duration::ZERO))?;
                    looked = true;
                    continue;
                }
            }
            match self.park_on(key, side)? {
                Ok(Cause::Woken) => {}
                // What has come by now counts, too: both may have happened while this thread stood still.
                Ok(Cause::Deadline) => park_allowed = false,
                Ok(Cause::Interrupted) => return Ok(INTERRUPTED),
                Err(code) => return Ok(code),
            }
        }
    }

    /// Notes the current greenlet as the one that waits for the socket, and parks it. The inner error is a code to
    /// return.
    fn park_on(&self, key: SocketKey, side: Side) -> Result<Result<Cause, f64>, Failure> {
        let stack = self.current()?.id;
        if let Err(code) = self.claim(key, side, stack) {
            return Ok(Err(code));
        }
        let cause = self.park()?;
        self.hub().sockets.clear(key, side);
        Ok(Ok(cause))
    }

    /// Notes who waits for a side of a socket, unless its time is up already; the error is a code to return.
    fn claim(&self, key: SocketKey, side: Side, stack: StackId) -> Result<(), f64> {
        let mut hub = self.hub();
        if hub.is_overdue(stack) {
            return Err(TIMED_OUT);
        }
        hub.await_socket(key, side, stack).map_err(|error| code_of(&error))
    }

    /// Runs `operation` with a deadline for the current greenlet.
    pub(crate) fn with_deadline(
        &self,
        timeout: f64,
        operation: impl FnOnce() -> Result<f64, Failure>,
    ) -> Result<f64, Failure> {
        if timeout <= 0.0 {
            return operation();
        }
        let stack = self.current()?.id;
        self.hub().set_deadline(stack, milliseconds(timeout), true);
        let result = operation();
        self.hub().clear_deadline(stack);
        result
    }

    /// Makes a call that counts as one that may succeed at once, within its timeout. `operation` returns a count or a
    /// negative code.
    pub(crate) fn spending(
        &self,
        timeout: f64,
        operation: impl FnOnce() -> Result<f64, Failure>,
    ) -> Returned {
        if !self.spend_immediate(timeout)? {
            return self.double_value(INTERRUPTED);
        }
        let result = self.with_deadline(timeout, operation)?;
        self.double_value(result)
    }

    /// Yields if the greenlet has used up its budget of calls that succeed at once. `false`: it was interrupted.
    ///
    /// Calls that must not wait are free: they may come from a callback of the hub, which cannot be left in the middle.
    pub(crate) fn spend_immediate(&self, timeout: f64) -> Result<bool, Failure> {
        if !self.has_spent(timeout) {
            return Ok(true);
        }
        let stack = self.current()?.id;
        self.hub().wake(stack, Cause::Woken);
        Ok(self.park()? != Cause::Interrupted)
    }

    /// As [`spend_immediate`](Self::spend_immediate), in the middle of an operation on a side of a socket: meanwhile others
    /// are refused there, as if the greenlet waited. Gives the code to return if it cannot go on.
    pub(crate) fn spend_within(
        &self,
        key: SocketKey,
        side: Side,
        timeout: f64,
    ) -> Result<Option<f64>, Failure> {
        if !self.has_spent(timeout) {
            return Ok(None);
        }
        let stack = self.current()?.id;
        if let Err(code) = self.claim(key, side, stack) {
            return Ok(Some(code));
        }
        self.hub().wake(stack, Cause::Woken);
        let cause = self.park()?;
        self.hub().sockets.clear(key, side);
        Ok((cause == Cause::Interrupted).then_some(INTERRUPTED))
    }

    /// Whether the current greenlet has used up its budget, of which this call is a part.
    fn has_spent(&self, timeout: f64) -> bool {
        if timeout == 0.0 {
            return false;
        }
        let count = self.immediate.get().wrapping_add(1);
        self.immediate.set(count);
        let over = count >= IMMEDIATE_BUDGET
            || (count.is_multiple_of(IMMEDIATE_PER_CHECK)
                && self.hub().now() - self.slice_start.get() >= as_nanos(self.switch_interval.get()));
        over && !self.on_main_stack()
    }

    /// A count, or a negative code for the error.
    fn io_value<T: Into<f64>>(&self, result: io::Result<T>) -> Returned {
        self.double_value(result.map_or_else(|error| negative_errno(&error), Into::into))
    }

    fn key_value(&self, result: io::Result<SocketKey>) -> Returned {
        self.io_value(result.map(|key| key.to_bits() as f64))
    }

    fn done_value(&self, result: io::Result<()>) -> Returned {
        self.io_value(result.map(|()| 0.0))
    }

    /// Notes who has sent a datagram, and gives its length.
    fn put_sender(&self, received: io::Result<(usize, Option<Address>)>) -> io::Result<usize> {
        let (length, from) = received?;
        self.put_address(from.as_ref());
        Ok(length)
    }

    /// Writes an address behind the bytes in the scratch memory: family (0: none), port, length, text.
    fn put_address(&self, address: Option<&Address>) {
        let mut scratch = self.scratch.borrow_mut();
        let place = &mut scratch[SCRATCH_SIZE..];
        let (head, text) = place.split_at_mut(8);
        let mut text = Cursor::new(text);
        let (family, port) = match address {
            None => (0, 0),
            Some(Address::Inet(SocketAddr::V4(address))) => {
                // The longest text is far shorter than the memory.
                let _ = write!(text, "{}", address.ip());
                (4, address.port())
            }
            Some(Address::Inet(SocketAddr::V6(address))) => {
                let _ = write!(text, "{}", address.ip());
                if address.scope_id() != 0 {
                    let _ = write!(text, "%{}", address.scope_id());
                }
                (6, address.port())
            }
            Some(Address::Unix(path)) => {
                let _ = text.write_all(path);
                (1, 0)
            }
        };
        head[0] = family;
        head[2..4].copy_from_slice(&port.to_le_bytes());
        head[4..6].copy_from_slice(&(text.position() as u16).to_le_bytes());
    }
}

fn code_of(error: &ParkError) -> f64 {
    match error {
        ParkError::Busy => BUSY,
        ParkError::Closed => -f64::from(libc::EBADF),
        ParkError::System(error) => negative_errno(error),
    }
}

fn address_of(arguments: &Arguments, index: usize) -> Result<Address, Failure> {
    let text = arguments.text(index)?;
    let port = arguments.int(index + 1)?;
    if port == NO_PORT {
        return Ok(Address::Unix(text.into_bytes().into()));
    }
    let port = u16::try_from(port).map_err(|_| Failure::internal("a port is a number up to 65535"))?;
    let (ip, scope) = text.split_once('%').unwrap_or((&text, "0"));
    let no_address = || Failure::internal(format!("'{text}' is not an IP address"));
    Ok(Address::Inet(match ip.parse().map_err(|_| no_address())? {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), port),
        IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, scope.parse().map_err(|_| no_address())?).into(),
    }))
}

/// A descriptor that the caller gives up.
fn owned(descriptor: RawFd) -> OwnedFd {
    // SAFETY: (protocol) TypeScript passes descriptors that it has checked to be open and hands their ownership over.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

/// A descriptor that stays open meanwhile.
fn borrowed<R>(descriptor: RawFd, operation: impl FnOnce(BorrowedFd<'_>) -> io::Result<R>) -> io::Result<R> {
    if descriptor < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: (local) not negative. Should nobody own it, system calls report that; nothing else runs meanwhile.
    operation(unsafe { BorrowedFd::borrow_raw(descriptor) })
}

/// `open(family, datagram)`: the new socket's key. A family is 4, 6, or 1 for Unix.
pub(crate) fn open(core: &'static Core, arguments: Arguments) -> Returned {
    let family = match arguments.int(0)? {
        4 => SocketFamily::V4,
        6 => SocketFamily::V6,
        _ => SocketFamily::Unix,
    };
    let opened = core.hub().sockets.open(family, arguments.bool(1)?);
    core.key_value(opened)
}

/// `openPair(datagram)`: the keys of two connected sockets, or a negative code.
pub(crate) fn open_pair(core: &'static Core, arguments: Arguments) -> Returned {
    let pair = core.hub().sockets.pair(arguments.bool(0)?);
    match pair {
        Ok(keys) => core.array_value(keys.map(|key| core.double_value(key.to_bits() as f64))),
        Err(error) => core.double_value(negative_errno(&error)),
    }
}

/// `adopt(descriptor)`: takes a descriptor over, whatever comes of it. The key.
pub(crate) fn adopt(core: &'static Core, arguments: Arguments) -> Returned {
    let adopted = core.hub().sockets.adopt(owned(arguments.int(0)?));
    core.key_value(adopted)
}

/// `watchCopy(descriptor)`: the key of a copy to wait on.
pub(crate) fn watch_copy(core: &'static Core, arguments: Arguments) -> Returned {
    let copy = borrowed(arguments.int(0)?, |descriptor| descriptor.try_clone_to_owned());
    let key = copy.map(|copy| core.hub().sockets.watch_copy(copy));
    core.key_value(key)
}

/// `duplicate(descriptor)`: another descriptor of the same thing.
pub(crate) fn duplicate(core: &'static Core, arguments: Arguments) -> Returned {
    let copy = borrowed(arguments.int(0)?, |descriptor| descriptor.try_clone_to_owned());
    core.io_value(copy.map(IntoRawFd::into_raw_fd))
}

/// `detach(key)`: the descriptor, which is the caller's from now on.
pub(crate) fn detach(core: &'static Core, arguments: Arguments) -> Returned {
    let detached = core.hub().detach_socket(key(&arguments)?);
    core.note_work();
    core.io_value(detached.map(IntoRawFd::into_raw_fd))
}

/// `rename(key)`: a new key for the socket; by the old one it is closed.
pub(crate) fn rename(core: &'static Core, arguments: Arguments) -> Returned {
    let renamed = core.hub().rename_socket(key(&arguments)?);
    core.note_work();
    core.key_value(renamed)
}

/// `descriptor(key)`
pub(crate) fn descriptor(core: &'static Core, arguments: Arguments) -> Returned {
    let descriptor = core.hub().sockets.descriptor(key(&arguments)?);
    core.io_value(descriptor)
}

/// `kind(key)`: the family, plus 16 for datagrams, plus 32 if it listens.
pub(crate) fn kind(core: &'static Core, arguments: Arguments) -> Returned {
    let kind = core.hub().sockets.kind(key(&arguments)?);
    core.io_value(kind.map(|kind| {
        let family = match kind.family {
            SocketFamily::V4 => 4,
            SocketFamily::V6 => 6,
            SocketFamily::Unix => 1,
        };
        family + 16 * i32::from(kind.datagram) + 32 * i32::from(kind.listening)
    }))
}

/// `bind(key, host, port)`
pub(crate) fn bind(core: &'static Core, arguments: Arguments) -> Returned {
    let bound = core.hub().sockets.bind(key(&arguments)?, &address_of(&arguments, 1)?);
    core.done_value(bound)
}

/// `listen(key, backlog)`
pub(crate) fn listen(core: &'static Core, arguments: Arguments) -> Returned {
    let listening = core.hub().sockets.listen(key(&arguments)?, arguments.int(1)?);
    core.done_value(listening)
}

/// `startConnect(key, host, port)`: 0 if it is connected, [`PENDING`] if that is not decided yet.
pub(crate) fn start_connect(core: &'static Core, arguments: Arguments) -> Returned {
    let started = core.hub().sockets.connect(key(&arguments)?, address_of(&arguments, 1)?);
    core.io_value(started.map(|connected| if connected { 0.0 } else { PENDING }))
}

/// `finishConnect(key, timeout)`: 0 once it is connected.
pub(crate) fn finish_connect(core: &'static Core, arguments: Arguments) -> Returned {
    let key = key(&arguments)?;
    let timeout = arguments.double(1)?;
    let result = core.with_deadline(timeout, || {
        core.attempt(key, Side::Write, timeout != 0.0, || {
            Ok(match core.hub().sockets.take_connect_error(key) {
                Ok(true) => Ok(0),
                Ok(false) => Err(io::ErrorKind::WouldBlock.into()),
                Err(error) => Err(error),
            })
        })
    })?;
    core.double_value(result)
}

/// `accept(key, timeout)`: the key of the connection.
pub(crate) fn accept(core: &'static Core, arguments: Arguments) -> Returned {
    let key = key(&arguments)?;
    let timeout = arguments.double(1)?;
    core.spending(timeout, || {
        core.attempt(key, Side::Read, timeout != 0.0, || {
            Ok(core.hub().sockets.try_accept(key).map(|accepted| accepted.to_bits() as usize))
        })
    })
}

/// `acceptNow(key)`: the key of a connection that is known to wait, without another look at what the system reports.
pub(crate) fn accept_now(core: &'static Core, arguments: Arguments) -> Returned {
    let accepted = core.hub().sockets.try_accept(key(&arguments)?);
    core.key_value(accepted)
}

/// `receive(key, limit, timeout)`: bytes put into the scratch memory.
pub(crate) fn receive(core: &'static Core, arguments: Arguments) -> Returned {
    let key = key(&arguments)?;
    let limit = scratch_limit(&arguments)?;
    let timeout = arguments.double(2)?;
    core.spending(timeout, || {
        core.attempt(key, Side::Read, timeout != 0.0, || {
            let mut scratch = core.scratch.borrow_mut();
            Ok(core.hub().sockets.try_recv(key, &mut scratch[..limit]))
        })
    })
}

/// `receiveInto(key, view, offset, length, timeout)`
pub(crate) fn receive_into(core: &'static Core, arguments: Arguments) -> Returned {
    let key = key(&arguments)?;
    let (offset, length) = (arguments.double(2)? as usize, arguments.double(3)? as usize);
    let timeout = arguments.double(4)?;
    core.spending(timeout, || {
        core.attempt(key, Side::Read, timeout != 0.0, || {
            let bytes = arguments.bytes(1, offset, length)?;
            Ok(bytes.with(|bytes| core.hub().sockets.try_recv(key, bytes)))
        })
    })
}

/// `send(key, view, offset, length, timeout, all)`: on failure the shared words tell what was sent.
pub(crate) fn send(core: &'static Core, arguments: Arguments) -> Returned {
    let key = key(&arguments)?;
    let (offset, length) = (arguments.double(2)? as usize, arguments.double(3)? as usize);
    let timeout = arguments.double(4)?;
    let all = arguments.bool(5)?;
    core.note_sent(0)?;
    if !core.spend_immediate(timeout)? {
        return core.double_value(INTERRUPTED);
    }
    let mut sent = 0;
    let result = core.with_deadline(timeout, || {
        loop {
            let count = core.attempt(key, Side::Write, timeout != 0.0, || {
                let bytes: Bytes = arguments.bytes(1, offset + sent, length - sent)?;
                Ok(bytes.with(|bytes| core.hub().sockets.try_send(key, bytes)))
            })?;
            if count < 0.0 {
                return Ok(count);
            }
            sent += count as usize;
            if !all || sent >= length {
                return Ok(sent as f64);
            }
        }
    })?;
    core.note_sent(sent)?;
    core.double_value(result)
}

/// `receiveFrom(key, limit, timeout)`: the length of the datagram, put into the scratch memory with its sender.
pub(crate) fn receive_from(core: &'static Core, arguments: Arguments) -> Returned {
    let key = key(&arguments)?;
    let limit = scratch_limit(&arguments)?;
    let timeout = arguments.double(2)?;
    core.spending(timeout, || {
        core.attempt(key, Side::Read, timeout != 0.0, || {
            let received = {
                let mut scratch = core.scratch.borrow_mut();
                core.hub().sockets.try_recv_from(key, &mut scratch[..limit])
            };
            Ok(core.put_sender(received))
        })
    })
}

/// `receiveFromInto(key, view, offset, length, timeout)`: the length of the datagram; its sender in the scratch memory.
pub(crate) fn receive_from_into(core: &'static Core, arguments: Arguments) -> Returned {
    let key = key(&arguments)?;
    let (offset, length) = (arguments.double(2)? as usize, arguments.double(3)? as usize);
    let timeout = arguments.double(4)?;
    core.spending(timeout, || {
        core.attempt(key, Side::Read, timeout != 0.0, || {
            let bytes = arguments.bytes(1, offset, length)?;
            let received = bytes.with(|bytes| core.hub().sockets.try_recv_from(key, bytes));
            Ok(core.put_sender(received))
        })
    })
}

/// `sendTo(key, view, offset, length, timeout, host, port)`: an empty host is where the socket is connected to.
pub(crate) fn send_to(core: &'static Core, arguments: Arguments) -> Returned {
    let key = key(&arguments)?;
    let (offset, length) = (arguments.double(2)? as usize, arguments.double(3)? as usize);
    let timeout = arguments.double(4)?;
    let address = if arguments.text(5)?.is_empty() { None } else { Some(address_of(&arguments, 5)?) };
    core.spending(timeout, || {
        core.attempt(key, Side::Write, timeout != 0.0, || {
            let bytes = arguments.bytes(1, offset, length)?;
            Ok(bytes.with(|bytes| core.hub().sockets.try_send_to(key, bytes, address.as_ref())))
        })
    })
}

/// `sendFile(key, descriptor, offset, count, timeout)`: the bytes sent, fewer than `count` at the end of the file. On
/// failure the shared words tell what was sent.
pub(crate) fn send_file(core: &'static Core, arguments: Arguments) -> Returned {
    /// What one call may send, so that others have their turn meanwhile.
    const MOST_AT_ONCE: usize = 1 << 20;
    let key = key(&arguments)?;
    let descriptor = arguments.int(1)?;
    let (offset, count) = (arguments.double(2)? as usize, arguments.double(3)? as usize);
    let timeout = arguments.double(4)?;
    core.note_sent(0)?;
    let mut sent = 0;
    let result = core.with_deadline(timeout, || {
        while sent < count {
            if let Some(code) = core.spend_within(key, Side::Write, timeout)? {
                return Ok(code);
            }
            let moved = core.attempt(key, Side::Write, timeout != 0.0, || {
                let wanted = (count - sent).min(MOST_AT_ONCE);
                Ok(borrowed(descriptor, |file| {
                    core.hub().sockets.try_send_file(key, &file.as_raw_fd(), offset + sent, wanted)
                }))
            })?;
            if moved <= 0.0 {
                return Ok(if moved == 0.0 { sent as f64 } else { moved });
            }
            sent += moved as usize;
        }
        Ok(sent as f64)
    })?;
    core.note_sent(sent)?;
    core.double_value(result)
}

/// `unread(key, view)`: puts bytes back, before all that comes. 0 or a negative code.
pub(crate) fn unread(core: &'static Core, arguments: Arguments) -> Returned {
    let bytes = arguments.all_bytes(1)?.with(|bytes| bytes.to_vec());
    let result = core.hub().sockets.unread(key(&arguments)?, bytes);
    core.done_value(result)
}

/// `takeUnread(key)`: a Buffer of the bytes that were put back, or a negative code.
pub(crate) fn take_unread(core: &'static Core, arguments: Arguments) -> Returned {
    let taken = core.hub().sockets.take_unread(key(&arguments)?);
    match taken {
        Ok(bytes) => core.bytes_value(&bytes),
        Err(error) => core.double_value(negative_errno(&error)),
    }
}

/// `unreadLength(key)`: how many bytes were put back and not received again.
pub(crate) fn unread_length(core: &'static Core, arguments: Arguments) -> Returned {
    let length = core.hub().sockets.unread_len(key(&arguments)?);
    core.double_value(length as f64)
}

/// `shutdown(key, how)`: 1 reading, 2 writing, 3 both. 0 or a negative code.
pub(crate) fn shutdown(core: &'static Core, arguments: Arguments) -> Returned {
    let how = match arguments.int(1)? {
        READ => Shutdown::Read,
        WRITE => Shutdown::Write,
        _ => Shutdown::Both,
    };
    let result = core.hub().sockets.shutdown(key(&arguments)?, how);
    core.done_value(result)
}

/// `close(key)`: whoever waits for the socket is told and finds it closed.
pub(crate) fn close(core: &'static Core, arguments: Arguments) -> Returned {
    core.hub().close_socket(key(&arguments)?);
    core.note_work();
    Ok(UNDEFINED)
}

/// `address(key, remote)`: puts the address into the scratch memory. 0 or a negative code.
pub(crate) fn address(core: &'static Core, arguments: Arguments) -> Returned {
    let key = key(&arguments)?;
    let address = if arguments.bool(1)? {
        core.hub().sockets.peer_address(key)
    } else {
        core.hub().sockets.local_address(key)
    };
    core.done_value(address.map(|address| core.put_address(address.as_ref())))
}

/// `setOption(key, name, value)`: 0 or a negative code.
pub(crate) fn set_option(core: &'static Core, arguments: Arguments) -> Returned {
    let set = core.hub().sockets.set_option(key(&arguments)?, &arguments.text(1)?, arguments.double(2)?);
    core.done_value(set)
}

/// `getOption(key, name)`: `[value]` or a negative code.
pub(crate) fn get_option(core: &'static Core, arguments: Arguments) -> Returned {
    let value = core.hub().sockets.option(key(&arguments)?, &arguments.text(1)?);
    match value {
        Ok(value) => core.array_value([core.double_value(value)]),
        Err(error) => core.double_value(negative_errno(&error)),
    }
}

/// `setRawOption(key, level, name, view)`: 0 or a negative code.
pub(crate) fn set_raw_option(core: &'static Core, arguments: Arguments) -> Returned {
    let (level, name) = (arguments.int(1)?, arguments.int(2)?);
    let descriptor = core.hub().sockets.descriptor(key(&arguments)?);
    let bytes = arguments.all_bytes(3)?;
    core.done_value(descriptor.and_then(|descriptor| {
        // SAFETY: (local) the system reads no more than the length given.
        let status = bytes.with(|bytes| unsafe {
            libc::setsockopt(descriptor, level, name, bytes.as_ptr().cast(), bytes.len() as libc::socklen_t)
        });
        if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }))
}

/// `getRawOption(key, level, name, view)`: how many bytes the option has, or a negative code.
pub(crate) fn get_raw_option(core: &'static Core, arguments: Arguments) -> Returned {
    let (level, name) = (arguments.int(1)?, arguments.int(2)?);
    let descriptor = core.hub().sockets.descriptor(key(&arguments)?);
    let bytes = arguments.all_bytes(3)?;
    core.io_value(descriptor.and_then(|descriptor| {
        let mut length = 0;
        // SAFETY: (local) the system writes no more than the length given.
        let status = bytes.with(|bytes| unsafe {
            length = bytes.len() as libc::socklen_t;
            libc::getsockopt(descriptor, level, name, bytes.as_mut_ptr().cast(), &raw mut length)
        });
        if status == 0 { Ok(length) } else { Err(io::Error::last_os_error()) }
    }))
}

/// `setMembership(key, group, interface, join)`: 0 or a negative code.
pub(crate) fn set_membership(core: &'static Core, arguments: Arguments) -> Returned {
    let group = arguments.text(1)?;
    let ip = group.parse().map_err(|_| Failure::internal(format!("'{group}' is not an IP address")))?;
    let (interface, join) = (arguments.index(2)?, arguments.bool(3)?);
    let set = core.hub().sockets.set_membership(key(&arguments)?, ip, interface, join);
    core.done_value(set)
}

/// `setMulticastInterface(key, address, index)`: the address for IPv4, the index for IPv6. 0 or a negative code.
pub(crate) fn set_multicast_interface(core: &'static Core, arguments: Arguments) -> Returned {
    let address = arguments.text(1)?.parse().unwrap_or(Ipv4Addr::UNSPECIFIED);
    let set = core.hub().sockets.set_multicast_interface(key(&arguments)?, address, arguments.index(2)?);
    core.done_value(set)
}

/// `interfaceIndex(name)`: the number of a network interface, 0 if there is none of that name.
pub(crate) fn interface_index(core: &'static Core, arguments: Arguments) -> Returned {
    let Ok(name) = CString::new(arguments.text(0)?) else { return core.int_value(0) };
    // SAFETY: (local) the name ends with NUL.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    core.double_value(index.into())
}

/// `waitReady(key, sides, timeout)`: which of the sides are ready, as bits.
pub(crate) fn wait_ready(core: &'static Core, arguments: Arguments) -> Returned {
    let key = key(&arguments)?;
    let wanted = arguments.int(1)?;
    let timeout = arguments.double(2)?;
    core.spending(timeout, || {
        loop {
            let (readable, writable) = match core.hub().sockets.poll_sides(key) {
                Ok(sides) => sides,
                Err(error) => return Ok(negative_errno(&error)),
            };
            let ready = wanted & ((READ * i32::from(readable)) | (WRITE * i32::from(writable)));
            if ready != 0 {
                return Ok(ready.into());
            }
            if timeout == 0.0 {
                return Ok(TIMED_OUT);
            }
            match core.park_on_sides(key, wanted)? {
                Ok(Cause::Woken) => {}
                Ok(Cause::Deadline) => return Ok(TIMED_OUT),
                Ok(Cause::Interrupted) => return Ok(INTERRUPTED),
                Err(code) => return Ok(code),
            }
        }
    })
}

impl Core {
    /// As [`park_on`](Self::park_on), for one side or both.
    fn park_on_sides(&self, key: SocketKey, sides: i32) -> Result<Result<Cause, f64>, Failure> {
        if sides != READ | WRITE {
            return self.park_on(key, side(sides));
        }
        let stack = self.current()?.id;
        let noted = self.hub().await_socket(key, Side::Read, stack);
        if let Err(error) = noted {
            return Ok(Err(code_of(&error)));
        }
        let result = self.park_on(key, Side::Write);
        self.hub().sockets.clear(key, Side::Read);
        result
    }

    /// Tells TypeScript how many bytes a call has sent that may fail.
    pub(crate) fn note_sent(&self, sent: usize) -> Result<(), Failure> {
        let shared = self.script()?.shared;
        shared.set(SharedWord::SentLow, (sent & 0x3fff_ffff) as i32);
        shared.set(SharedWord::SentHigh, (sent >> 30) as i32);
        Ok(())
    }
}

/// `watch(key, side, slot, referenced)`: the slot is called once when the side is ready or the socket closed. 0 or a
/// negative code.
pub(crate) fn watch(core: &'static Core, arguments: Arguments) -> Returned {
    let side = side(arguments.int(1)?);
    let (slot, referenced) = (arguments.index(2)?, arguments.bool(3)?);
    let watched = core.hub().watch_socket(key(&arguments)?, side, slot, referenced);
    core.note_work();
    core.double_value(watched.map_or_else(|error| code_of(&error), |()| 0.0))
}

/// `unwatch(key, side)`: `false` if the slot will be called, or was.
pub(crate) fn unwatch(core: &'static Core, arguments: Arguments) -> Returned {
    let cleared = core.hub().sockets.clear(key(&arguments)?, side(arguments.int(1)?));
    core.note_work();
    core.bool_value(cleared)
}

/// `pollDescriptors(view)`: asks the system about an array of `struct pollfd` without waiting. How many are ready.
pub(crate) fn poll_descriptors(core: &'static Core, arguments: Arguments) -> Returned {
    let bytes = arguments.all_bytes(0)?;
    let status = bytes.with(|bytes| {
        let (start, entries) =
            (bytes.as_mut_ptr().cast::<libc::pollfd>(), bytes.len() / size_of::<libc::pollfd>());
        if !start.is_aligned() {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        loop {
            // SAFETY: (local) aligned, and as many entries as fit into the memory.
            let status = unsafe { libc::poll(start, entries as libc::nfds_t, 0) };
            if status >= 0 {
                return Ok(status);
            }
            // A signal ends it even if it need not wait.
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    });
    core.io_value(status)
}
