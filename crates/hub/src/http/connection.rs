//! One connection: what has come and was not used yet, what is to be sent, and where in an exchange it is.

use super::chunked::Chunked;
use super::head::{Framing, Refusal, Scan};
use super::serving::ServerId;
use super::streams::Link;
use crate::slab::Key;

/// Names a connection. The key of one that is gone is stale: it names nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionKey(pub(crate) Key);

impl ConnectionKey {
    /// Returns the key as a number between 1 and 2⁵³.
    pub const fn to_bits(self) -> u64 {
        self.0.to_bits()
    }

    /// Takes a number from [`ConnectionKey::to_bits`] back. Any other number makes a key that names nothing.
    pub const fn from_bits(bits: u64) -> Self {
        Self(Key::from_bits(bits))
    }
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The two ends agree on keys.
    Handshake,
    /// They have not been able to, which is to be told: by the number of an error.
    Failed(i32),
    /// Nothing of the next request has come, unless it came with the last one.
    Idle,
    /// A part of a head has come.
    Head,
    /// There may be a request, and no room to run it.
    Waiting,
    /// A handler has it.
    Request,
    /// What the handler has left of the body is received and discarded before the next request.
    Draining,
    /// All was sent and said to be; what still comes is discarded, so that the peer gets it all. RFC 9112, 9.6.
    Lingering,
}

/// What of a request's body is still to come.
#[derive(Debug)]
pub(crate) enum Body {
    Length(u64),
    Chunked(Box<Chunked>),
}

impl Body {
    pub(crate) fn new(framing: Framing) -> Self {
        match framing {
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Box::new(Chunked::new())),
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunked) => chunked.is_done(),
        }
    }
}

/// How far a response is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Response {
    /// Its head has not been given.
    Awaited,
    /// Its body is written in pieces.
    Streamed(StreamFraming),
    /// All of it was given; what could not be sent yet is kept.
    Given,
}

/// How the pieces of a response's body are framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamFraming {
    /// So many bytes are still to come.
    Length(u64),
    Chunked,
    UntilClose,
    /// The pieces are not sent: a response to HEAD.
    Suppressed,
}

pub(crate) struct Connection {
    pub(crate) link: Link,
    pub(crate) server: ServerId,
    pub(crate) state: State,
    pub(crate) response: Response,
    /// Requests that were taken.
    pub(crate) served: u32,
    pub(crate) is_head: bool,
    pub(crate) is_1_1: bool,
    pub(crate) keeps_alive: bool,
    /// Whether the client waits to be told to send the body.
    pub(crate) awaits_continue: bool,
    /// Whether the response has said that the connection ends, or it has to.
    pub(crate) closes: bool,
    /// When it is given up, in the time of timers; 0: never.
    pub(crate) deadline: u64,
    /// What is wrong with it, to be told when its turn has come.
    pub(crate) refusal: Option<Refusal>,
    /// What was received and not used, from `used` on.
    pub(crate) input: Vec<u8>,
    pub(crate) used: usize,
    pub(crate) scan: Scan,
    pub(crate) body: Body,
    /// Bytes of the body that were read, or of what was discarded.
    pub(crate) received: u64,
    /// What was read of the body and given back, to be read first.
    pub(crate) unread: Vec<u8>,
    /// What is to be sent, from `sent` on.
    pub(crate) output: Vec<u8>,
    pub(crate) sent: usize,
}

impl Connection {
    pub(crate) fn new(link: Link, server: ServerId, state: State, deadline: u64) -> Self {
        Self {
            link,
            server,
            state,
            response: Response::Awaited,
            served: 0,
            is_head: false,
            is_1_1: true,
            keeps_alive: true,
            awaits_continue: false,
            closes: false,
            deadline,
            refusal: None,
            input: Vec::new(),
            used: 0,
            scan: Scan::default(),
            body: Body::Length(0),
            received: 0,
            unread: Vec::new(),
            output: Vec::new(),
            sent: 0,
        }
    }

    pub(crate) fn has_input(&self) -> bool {
        self.used < self.input.len()
    }

    pub(crate) fn has_output(&self) -> bool {
        self.sent < self.output.len()
    }

    /// Uses `count` bytes of the input up.
    pub(crate) fn advance(&mut self, count: usize) {
        self.used += count;
        if self.used == self.input.len() {
            self.input.clear();
            self.used = 0;
        }
    }

    /// Keeps more input, behind what is not used yet.
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        if self.used > 0 {
            self.input.drain(..self.used);
            self.used = 0;
        }
        self.input.extend_from_slice(bytes);
    }
}
