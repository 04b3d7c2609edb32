//! Native functions of sockets: try, park, retry.
//!
//! Counts are returned as numbers from 0 on, system errors as negative `errno`, and the two ways in which
//! a wait ends early as [`TIMED_OUT`] and [`INTERRUPTED`]. A timeout is in ms; negative means none, 0 never waits.

use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::time::Duration;

use greenstack_hub::{Cause, ParkError, SocketKey, as_nanos};

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

/// Calls that succeed at once before the greenlet yields, so that a chatty peer starves nobody.
const IMMEDIATE_BUDGET: u32 = 128;
/// Calls that succeed at once between two looks at the clock, a power of two.
const IMMEDIATE_PER_CHECK: u32 = 16;

/// What a greenlet waits for on a socket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Read,
    Write,
}

fn key(arguments: &Arguments) -> Result<SocketKey, Failure> {
    Ok(SocketKey::from_bits(arguments.double(0)? as u64))
}

impl Core {
    /// Tries `operation` until it does something else than report `WouldBlock`, parking in between.
    ///
    /// `park_allowed` is false for a timeout of 0. The deadline must have been set by the caller.
    fn attempt(
        &self,
        key: SocketKey,
        direction: Direction,
        park_allowed: bool,
        mut operation: impl FnMut() -> Result<io::Result<usize>, Failure>,
    ) -> Result<f64, Failure> {
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
            match self.park_on(key, direction)? {
                Ok(Cause::Woken) => {}
                Ok(Cause::Deadline) => return Ok(TIMED_OUT),
                Ok(Cause::Interrupted) => return Ok(INTERRUPTED),
                Err(code) => return Ok(code),
            }
        }
    }

    /// Registers the current greenlet with the socket and parks it. The inner error is a code to return.
    fn park_on(&self, key: SocketKey, direction: Direction) -> Result<Result<Cause, f64>, Failure> {
        let stack = self.current()?.id;
        let registered = match direction {
            Direction::Read => self.hub().sockets.set_reader(key, stack),
            Direction::Write => self.hub().sockets.set_writer(key, stack),
        };
        match registered {
            Ok(()) => {}
            Err(ParkError::Busy) => return Ok(Err(BUSY)),
            Err(ParkError::Closed) => return Ok(Err(-f64::from(libc::EBADF))),
        }
        let cause = self.park()?;
        let sockets = &mut self.hub().sockets;
        match direction {
            Direction::Read => sockets.clear_reader(key),
            Direction::Write => sockets.clear_writer(key),
        }
        Ok(Ok(cause))
    }

    /// Runs `operation` with a deadline for the current greenlet.
    fn with_deadline(
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

    /// Yields if the greenlet has used up its budget of calls that succeed at once. `false`: it was interrupted.
    fn spend_immediate(&self) -> Result<bool, Failure> {
        let count = self.immediate.get().wrapping_add(1);
        self.immediate.set(count);
        let over = count >= IMMEDIATE_BUDGET
            || (count.is_multiple_of(IMMEDIATE_PER_CHECK)
                && self.hub().now() - self.slice_start.get() >= as_nanos(self.switch_interval.get()));
        if !over {
            return Ok(true);
        }
        let stack = self.current()?.id;
        self.hub().wake(stack, Cause::Woken);
        Ok(self.park()? != Cause::Interrupted)
    }
}

/// `connect(ip, port, localIp, localPort, timeout)`: the new socket's key, or a negative code.
pub(crate) fn connect(core: &'static Core, arguments: Arguments) -> Returned {
    let remote = socket_address(&arguments, 0)?;
    let local = if arguments.text(2)?.is_empty() { None } else { Some(socket_address(&arguments, 2)?) };
    let timeout = arguments.double(4)?;
    let started = {
        let mut hub = core.hub();
        let (sockets, poller) = hub.sockets_and_poller();
        sockets.connect(poller, remote, local)
    };
    let (key, connected) = match started {
        Ok(started) => started,
        Err(error) => return core.double_value(negative_errno(&error)),
    };
    let result = if connected {
        Ok(0.0)
    } else {
        let mut first = true;
        core.with_deadline(timeout, || {
            core.attempt(key, Direction::Write, timeout != 0.0, || {
                if std::mem::take(&mut first) {
                    return Ok(Err(io::ErrorKind::WouldBlock.into()));
                }
                Ok(match core.hub().sockets.take_connect_error(key) {
                    Ok(true) => Ok(0),
                    Ok(false) => Err(io::ErrorKind::WouldBlock.into()),
                    Err(error) => Err(error),
                })
            })
        })
    };
    match result {
        Ok(0.0) => core.double_value(key.to_bits() as f64),
        unfinished => {
            close_key(core, key);
            core.double_value(unfinished?)
        }
    }
}

fn socket_address(arguments: &Arguments, index: usize) -> Result<SocketAddr, Failure> {
    let text = arguments.text(index)?;
    let port = u16::try_from(arguments.int(index + 1)?)
        .map_err(|_| Failure::internal("a port is a number up to 65535"))?;
    let ip: IpAddr = text.parse().map_err(|_| Failure::internal(format!("'{text}' is not an IP address")))?;
    Ok(SocketAddr::new(ip, port))
}

/// `receive(key, limit, timeout)`: bytes put into the scratch memory.
pub(crate) fn receive(core: &'static Core, arguments: Arguments) -> Returned {
    let key = key(&arguments)?;
    let limit = (arguments.double(1)?.max(0.0) as usize).min(SCRATCH_SIZE);
    let timeout = arguments.double(2)?;
    if !core.spend_immediate()? {
        return core.double_value(INTERRUPTED);
    }
    let received = core.with_deadline(timeout, || {
        core.attempt(key, Direction::Read, timeout != 0.0, || {
            let mut scratch = core.scratch.borrow_mut();
            Ok(core.hub().sockets.try_recv(key, &mut scratch[..limit]))
        })
    })?;
    core.double_value(received)
}

/// `receiveInto(key, view, offset, length, timeout)`
pub(crate) fn receive_into(core: &'static Core, arguments: Arguments) -> Returned {
    let key = key(&arguments)?;
    let (offset, length) = (arguments.double(2)? as usize, arguments.double(3)? as usize);
    let timeout = arguments.double(4)?;
    if !core.spend_immediate()? {
        return core.double_value(INTERRUPTED);
    }
    let received = core.with_deadline(timeout, || {
        core.attempt(key, Direction::Read, timeout != 0.0, || {
            let bytes = arguments.bytes(1, offset, length)?;
            Ok(bytes.with(|bytes| core.hub().sockets.try_recv(key, bytes)))
        })
    })?;
    core.double_value(received)
}

/// `send(key, view, offset, length, timeout, all)`: on failure the shared words tell what was sent.
pub(crate) fn send(core: &'static Core, arguments: Arguments) -> Returned {
    let key = key(&arguments)?;
    let (offset, length) = (arguments.double(2)? as usize, arguments.double(3)? as usize);
    let timeout = arguments.double(4)?;
    let all = arguments.bool(5)?;
    let shared = core.script()?.shared;
    shared.set(SharedWord::SentLow, 0);
    shared.set(SharedWord::SentHigh, 0);
    if !core.spend_immediate()? {
        return core.double_value(INTERRUPTED);
    }
    let mut sent = 0;
    let result = core.with_deadline(timeout, || {
        loop {
            let count = core.attempt(key, Direction::Write, timeout != 0.0, || {
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
    shared.set(SharedWord::SentLow, (sent & 0x3fff_ffff) as i32);
    shared.set(SharedWord::SentHigh, (sent >> 30) as i32);
    core.double_value(result)
}

/// `shutdown(key, how)`: 1 reading, 2 writing, 3 both. 0 or a negative code.
pub(crate) fn shutdown(core: &'static Core, arguments: Arguments) -> Returned {
    let how = match arguments.int(1)? {
        1 => Shutdown::Read,
        2 => Shutdown::Write,
        _ => Shutdown::Both,
    };
    let result = core.hub().sockets.shutdown(key(&arguments)?, how);
    core.double_value(result.map_or_else(|error| negative_errno(&error), |()| 0.0))
}

/// `close(key)`: whoever is parked on the socket is woken and finds it closed.
pub(crate) fn close(core: &'static Core, arguments: Arguments) -> Returned {
    close_key(core, key(&arguments)?);
    Ok(UNDEFINED)
}

fn close_key(core: &Core, key: SocketKey) {
    let parked = {
        let mut hub = core.hub();
        let (sockets, poller) = hub.sockets_and_poller();
        sockets.close(poller, key)
    };
    for stack in [parked.0, parked.1].into_iter().flatten() {
        core.wake(stack, Cause::Woken, false);
    }
    core.note_work();
}

/// `address(key, remote)`: `[ip, port]`, or a negative code.
pub(crate) fn address(core: &'static Core, arguments: Arguments) -> Returned {
    let key = key(&arguments)?;
    let address = if arguments.bool(1)? {
        core.hub().sockets.peer_addr(key)
    } else {
        core.hub().sockets.local_addr(key)
    };
    match address {
        Ok(address) => core.array_value([
            core.text_value(&address.ip().to_string()),
            core.int_value(i32::from(address.port())),
        ]),
        Err(error) => core.double_value(negative_errno(&error)),
    }
}
