//! Waiting for the operating system: the one file that names [`mio::Poll`].

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::event::Source;
use mio::{Events, Interest, Poll, Token};

/// The token of the [`Waker`]; no source may use it.
const WAKER: Token = Token(usize::MAX);

/// How many events one system call fetches at most. The rest come with the next.
const BATCH: usize = 1024;

/// What [`Poller::poll`] reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A source changed its state.
    Io {
        /// What the source was registered with.
        token: usize,
        /// What it is ready for now.
        readiness: Readiness,
    },
    /// A [`Waker`] was used since the last poll, once or many times.
    Woken,
}

/// What a source became ready for. Hints: the operation itself may still find nothing to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// There may be something to read.
    pub readable: bool,
    /// There may be room to write.
    pub writable: bool,
    /// The peer will send no more, or the source is broken.
    pub read_closed: bool,
    /// Nothing more can be sent, or the source is broken.
    pub write_closed: bool,
    /// The source has an error to report.
    pub error: bool,
}

/// A set of event sources and the means to wait for them. Edge-triggered: each change is reported once.
pub struct Poller {
    poll: Poll,
    events: Events,
    waker: Waker,
}

/// Wakes a [`Poller`] from any thread. Cheap to clone; outlives its poller harmlessly.
#[derive(Clone, Debug)]
pub struct Waker(Arc<mio::Waker>);

impl Waker {
    /// Makes the poller report [`Event::Woken`]. Calls before the next poll count as one. Never blocks.
    ///
    /// # Errors
    /// What the system call returned; none is known to occur.
    pub fn wake(&self) -> io::Result<()> {
        self.0.wake()
    }
}

impl Poller {
    /// Creates a poller with its waker.
    ///
    /// # Errors
    /// What the system returned, for instance for want of descriptors.
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker(Arc::new(mio::Waker::new(poll.registry(), WAKER)?));
        Ok(Self { poll, events: Events::with_capacity(BATCH), waker })
    }

    /// Returns a handle that wakes this poller.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Registers `source` for reading and writing under `token`, which comes back in its events.
    ///
    /// If the source is ready already, the next poll says so. It must be deregistered before it is dropped.
    ///
    /// # Errors
    /// What the system returned, for instance if the source is registered already.
    ///
    /// # Panics
    /// If `token` is `usize::MAX`, which is the waker's.
    pub fn register(&self, source: &mut (impl Source + ?Sized), token: usize) -> io::Result<()> {
        assert_ne!(Token(token), WAKER, "the token is reserved");
        let interests = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(source, Token(token), interests)
    }

    /// Forgets `source`. An event already fetched by a running [`poll`](Self::poll) is still reported.
    ///
    /// # Errors
    /// What the system returned, for instance if the source is not registered.
    pub fn deregister(&self, source: &mut (impl Source + ?Sized)) -> io::Result<()> {
        self.poll.registry().deregister(source)
    }

    /// Waits for events and hands them to `handle`, which may register and deregister sources.
    ///
    /// Blocks until there is an event, but no longer than `timeout`: `None` waits for ever, zero not at all. A
    /// signal ends the wait early, without events.
    ///
    /// # Errors
    /// What the system returned, except `EINTR`.
    pub fn poll(
        &mut self,
        timeout: Option<Duration>,
        mut handle: impl FnMut(&Self, Event),
    ) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        for event in &self.events {
            handle(self, translate(event));
        }
        Ok(())
    }
}

fn translate(event: &mio::event::Event) -> Event {
    if event.token() == WAKER {
        return Event::Woken;
    }
    Event::Io {
        token: event.token().0,
        readiness: Readiness {
            readable: event.is_readable(),
            writable: event.is_writable(),
            read_closed: event.is_read_closed(),
            write_closed: event.is_write_closed(),
            error: event.is_error(),
        },
    }
}

#[cfg(unix)]
impl std::os::fd::AsRawFd for Poller {
    /// Returns the descriptor that becomes readable when the poller has events, for another loop to watch.
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.poll.as_raw_fd()
    }
}
