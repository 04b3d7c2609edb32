//! One request: reading its body, writing its response.

use std::io;
use std::mem;

use super::connection::{Body, Connection, ConnectionKey, Response, State, StreamFraming};
use super::head::Refusal;
use super::response::{Persistence, ResponseFraming, ResponseHead, put_chunk_size};
use super::serving::{COPIED, ETIMEDOUT, Http, RESERVED, Serving};
use crate::net::SocketKey;
use crate::tls::TlsKey;

/// Why a body could not be read (further).
#[derive(Debug)]
pub enum BodyError {
    /// The system says so; `WouldBlock`: more has to come.
    System(io::Error),
    /// The client has ended the connection in the middle.
    Truncated,
    /// It is malformed, or too long.
    Refused(Refusal),
}

impl BodyError {
    /// Whether it may go on when more has come.
    pub fn would_block(&self) -> bool {
        matches!(self, Self::System(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl From<io::Error> for BodyError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// The body of a response that is given at once.
#[derive(Clone, Copy, Debug)]
pub enum OutgoingBody<'a> {
    /// So many bytes of [`Serving::outgoing_body`].
    Written(usize),
    /// These.
    Bytes(&'a [u8]),
}

impl OutgoingBody<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Written(length) => *length,
            Self::Bytes(bytes) => bytes.len(),
        }
    }
}

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

fn misused(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason)
}

impl Serving<'_> {
    /// The socket of a connection, to wait for.
    ///
    /// # Errors
    /// `EBADF` if it is closed.
    pub fn socket_of(&mut self, key: ConnectionKey) -> io::Result<SocketKey> {
        Ok(self.get(key)?.link.socket)
    }

    /// How many bytes of the response are still to be sent.
    pub fn unsent(&mut self, key: ConnectionKey) -> usize {
        let kept =
            self.get(key).map(|connection| (connection.output.len() - connection.sent, connection.link));
        kept.map_or(0, |(count, link)| count + self.streams.unflushed(link))
    }

    /// The session of a connection, if it is encrypted.
    pub fn session_of(&mut self, key: ConnectionKey) -> Option<TlsKey> {
        self.get(key).ok()?.link.tls
    }

    /// Room for the body of a response, to be sent by [`respond`](Self::respond).
    pub fn outgoing_body(&mut self) -> &mut [u8] {
        &mut self.http.outgoing[RESERVED..]
    }

    // ---- the body of the request

    /// Reads a part of the body; 0 at its end.
    ///
    /// # Errors
    /// `WouldBlock` if more has to come first, `EBADF` if the connection is closed.
    pub fn read_body(&mut self, key: ConnectionKey, into: &mut [u8]) -> Result<usize, BodyError> {
        let most = self.max_body_of(key)?;
        loop {
            let Http { connections, received, .. } = &mut *self.http;
            let connection = connections.get_mut(key.0).ok_or_else(crate::error::bad_descriptor)?;
            if !connection.unread.is_empty() {
                let count = connection.unread.len().min(into.len());
                into[..count].copy_from_slice(&connection.unread[..count]);
                connection.unread.drain(..count);
                return Ok(count);
            }
            if connection.body.is_done() || into.is_empty() {
                return Ok(0);
            }
            if connection.has_input() {
                let count = take_input(connection, into).inspect_err(|_| connection.closes = true)?;
                connection.received += count as u64;
                if connection.received > most {
                    connection.closes = true;
                    return Err(BodyError::Refused(Refusal::new(413, "the body is too long")));
                }
                if count > 0 {
                    return Ok(count);
                }
                continue;
            }
            if mem::take(&mut connection.awaits_continue) && connection.response == Response::Awaited {
                let sent = self.streams.send(connection.link, CONTINUE);
                let sent = match sent {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                    sent => sent?,
                };
                connection.output.extend_from_slice(&CONTINUE[sent..]);
            }
            let count = match &mut connection.body {
                Body::Length(left) => {
                    let most = into.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    let count = self.streams.recv(connection.link, &mut into[..most])?;
                    *left -= count as u64;
                    connection.received += count as u64;
                    if count > 0 {
                        return Ok(count);
                    }
                    count
                }
                Body::Chunked(_) => {
                    let count = self.streams.recv(connection.link, received)?;
                    connection.keep(&received[..count]);
                    count
                }
            };
            if count == 0 {
                connection.closes = true;
                return Err(BodyError::Truncated);
            }
        }
    }

    /// Gives back what was read of the body, so that it is read again: for a wait that was broken off.
    pub fn unread_body(&mut self, key: ConnectionKey, mut bytes: Vec<u8>) {
        if let Ok(connection) = self.get(key) {
            bytes.append(&mut connection.unread);
            connection.unread = bytes;
        }
    }

    fn max_body_of(&mut self, key: ConnectionKey) -> io::Result<u64> {
        let id = self.get(key)?.server;
        Ok(self.http.servers.at(id).map_or(0, |server| server.options.max_body))
    }

    /// The whole body, if it is of known length and has come. To be followed by [`use_body`](Self::use_body).
    ///
    /// # Errors
    /// `EBADF` if the connection is closed.
    pub fn whole_body(&mut self, key: ConnectionKey) -> io::Result<Option<&[u8]>> {
        let connection = self.get(key)?;
        let Body::Length(left) = connection.body else { return Ok(None) };
        if !connection.unread.is_empty() {
            return Ok(None);
        }
        let waiting = &connection.input[connection.used..];
        Ok(usize::try_from(left).ok().and_then(|length| waiting.get(..length)))
    }

    /// Uses the body up that [`whole_body`](Self::whole_body) has given.
    pub fn use_body(&mut self, key: ConnectionKey) {
        if let Ok(connection) = self.get(key)
            && let Body::Length(left) = connection.body
        {
            connection.body = Body::Length(0);
            connection.advance(left as usize);
        }
    }

    /// How many bytes of the body are still to come, if that is known.
    ///
    /// # Errors
    /// `EBADF` if the connection is closed.
    pub fn body_left(&mut self, key: ConnectionKey) -> io::Result<Option<u64>> {
        Ok(match self.get(key)?.body {
            Body::Length(left) => Some(left),
            Body::Chunked(_) => None,
        })
    }

    /// The lines of the trailer section, once the body has been read.
    ///
    /// # Errors
    /// `EBADF` if the connection is closed.
    pub fn take_trailers(&mut self, key: ConnectionKey) -> io::Result<Vec<u8>> {
        Ok(match &mut self.get(key)?.body {
            Body::Chunked(chunked) if chunked.is_done() => chunked.take_trailers(),
            Body::Chunked(_) | Body::Length(_) => Vec::new(),
        })
    }

    // ---- the response

    /// Sends the lines of an interim response, which comes before the other one; HTTP/1.0 knows none: RFC 9110, 15.2.
    ///
    /// # Errors
    /// `InvalidInput` if the response has begun; else as [`respond`](Self::respond).
    pub fn write_interim(&mut self, key: ConnectionKey, lines: &[u8]) -> io::Result<bool> {
        let connection = self.get(key)?;
        if connection.response != Response::Awaited {
            return Err(misused("the response has begun already"));
        }
        if !connection.is_1_1 {
            return Ok(true);
        }
        connection.output.extend_from_slice(lines);
        self.flush(key)
    }

    /// Writes the head of a response into `self.http.head`, and notes what it says.
    fn begin_response(
        &mut self,
        key: ConnectionKey,
        head: &ResponseHead<'_>,
        framing: ResponseFraming,
    ) -> io::Result<()> {
        if self.get(key)?.response != Response::Awaited {
            return Err(misused("the response has begun already"));
        }
        let index = key.0.index();
        let Some(connection) = self.http.connections.at(index) else { return Ok(()) };
        let closes = self.has_to_close(connection) || head.close || framing == ResponseFraming::UntilClose;
        let persistence = match (closes, connection.is_1_1) {
            (true, _) => Persistence::Close,
            (false, false) => Persistence::KeepAlive,
            (false, true) => Persistence::Silent,
        };
        let Http { head: written, date, connections, .. } = &mut *self.http;
        written.clear();
        head.write(written, framing, persistence, date);
        if let Some(connection) = connections.at_mut(index) {
            connection.closes = closes;
        }
        Ok(())
    }

    /// Sends a response. `true`: all of it is sent, and the request is over; else [`flush`](Self::flush) has to go on.
    ///
    /// # Errors
    /// `EBADF` if the connection is closed, else what send(2) returned; the request is not over then.
    pub fn respond(
        &mut self,
        key: ConnectionKey,
        head: &ResponseHead<'_>,
        body: OutgoingBody<'_>,
    ) -> io::Result<bool> {
        let framing = match head.status {
            100..200 | 204 | 304 => ResponseFraming::Absent,
            _ => ResponseFraming::Length(body.len() as u64),
        };
        self.begin_response(key, head, framing)?;
        let Http { connections, outgoing, head: written, .. } = &mut *self.http;
        let connection = connections.get_mut(key.0).ok_or_else(crate::error::bad_descriptor)?;
        connection.response = Response::Given;
        let body = if connection.is_head || framing == ResponseFraming::Absent {
            OutgoingBody::Written(0)
        } else {
            body
        };
        let fits = written.len() <= RESERVED && !connection.has_output();
        let (first, second): (&[u8], &[u8]) = match body {
            OutgoingBody::Bytes(bytes) if fits && bytes.len() <= COPIED => {
                outgoing[RESERVED..RESERVED + bytes.len()].copy_from_slice(bytes);
                (before_body(outgoing, written, bytes.len()), &[])
            }
            OutgoingBody::Written(length) if fits => (before_body(outgoing, written, length), &[]),
            OutgoingBody::Bytes(bytes) => (written, bytes),
            OutgoingBody::Written(length) => (written, &outgoing[RESERVED..RESERVED + length]),
        };
        let sent = if connection.has_output() {
            0
        } else {
            let sent = match second {
                [] => self.streams.send(connection.link, first),
                _ => self.streams.send_both(connection.link, first, second),
            };
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                sent => sent?,
            }
        };
        let link = connection.link;
        if sent == first.len() + second.len() && self.streams.unflushed(link) == 0 {
            self.finish(key.0.index());
            return Ok(true);
        }
        let in_first = sent.min(first.len());
        connection.output.extend_from_slice(&first[in_first..]);
        connection.output.extend_from_slice(&second[sent - in_first..]);
        // There may be room for more than could be encrypted at once.
        if link.tls.is_some() { self.flush(key) } else { Ok(false) }
    }

    /// Begins a response whose body is written in pieces. Its head is sent with the first of them.
    ///
    /// # Errors
    /// `EBADF` if the connection is closed.
    pub fn begin_stream(
        &mut self,
        key: ConnectionKey,
        head: &ResponseHead<'_>,
        length: Option<u64>,
    ) -> io::Result<()> {
        let connection = self.get(key)?;
        let framing = match (head.status, length) {
            (100..200 | 204 | 304, _) => ResponseFraming::Absent,
            (_, Some(length)) => ResponseFraming::Length(length),
            _ if connection.is_1_1 => ResponseFraming::Chunked,
            _ => ResponseFraming::UntilClose,
        };
        self.begin_response(key, head, framing)?;
        let Http { connections, head: written, .. } = &mut *self.http;
        let connection = connections.get_mut(key.0).ok_or_else(crate::error::bad_descriptor)?;
        connection.output.extend_from_slice(written);
        connection.response = Response::Streamed(match framing {
            _ if connection.is_head => StreamFraming::Suppressed,
            ResponseFraming::Absent => StreamFraming::Length(0),
            ResponseFraming::Length(length) => StreamFraming::Length(length),
            ResponseFraming::Chunked => StreamFraming::Chunked,
            ResponseFraming::UntilClose => StreamFraming::UntilClose,
        });
        Ok(())
    }

    /// Sends a piece of the body. `true`: all is sent; else [`flush`](Self::flush) has to go on before more is written.
    ///
    /// # Errors
    /// `InvalidInput` if it is more than was announced; else as [`respond`](Self::respond).
    pub fn write_stream(&mut self, key: ConnectionKey, piece: &[u8]) -> io::Result<bool> {
        let connection = self.get(key)?;
        let Response::Streamed(framing) = &mut connection.response else {
            return Err(misused("no stream has begun"));
        };
        match framing {
            StreamFraming::Length(left) => {
                *left = left
                    .checked_sub(piece.len() as u64)
                    .ok_or_else(|| misused("the body is longer than was announced"))?;
                connection.output.extend_from_slice(piece);
            }
            StreamFraming::Chunked if !piece.is_empty() => {
                put_chunk_size(&mut connection.output, piece.len());
                connection.output.extend_from_slice(piece);
                connection.output.extend_from_slice(b"\r\n");
            }
            StreamFraming::UntilClose => connection.output.extend_from_slice(piece),
            StreamFraming::Chunked | StreamFraming::Suppressed => {}
        }
        self.flush(key)
    }

    /// Ends the body, with trailer fields that [`are_fields`](super::are_fields) has checked. As
    /// [`respond`](Self::respond).
    ///
    /// # Errors
    /// `InvalidInput` if it is less than was announced; else as [`respond`](Self::respond).
    pub fn end_stream(&mut self, key: ConnectionKey, trailers: &[u8]) -> io::Result<bool> {
        let connection = self.get(key)?;
        let Response::Streamed(framing) = connection.response else {
            return Err(misused("no stream has begun"));
        };
        match framing {
            StreamFraming::Length(0) | StreamFraming::UntilClose | StreamFraming::Suppressed => {}
            StreamFraming::Length(_) => return Err(misused("the body is shorter than was announced")),
            StreamFraming::Chunked => {
                connection.output.extend_from_slice(b"0\r\n");
                connection.output.extend_from_slice(trailers);
                connection.output.extend_from_slice(b"\r\n");
            }
        }
        connection.response = Response::Given;
        self.flush(key)
    }

    /// Sends what could not be sent before. As [`respond`](Self::respond).
    ///
    /// # Errors
    /// As [`respond`](Self::respond).
    pub fn flush(&mut self, key: ConnectionKey) -> io::Result<bool> {
        let Self { http, streams } = self;
        let connection = http.connections.get_mut(key.0).ok_or_else(crate::error::bad_descriptor)?;
        while connection.has_output() {
            match streams.send(connection.link, &connection.output[connection.sent..]) {
                Ok(count) => connection.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        match streams.flush(connection.link) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            result => result?,
        }
        connection.output.clear();
        connection.sent = 0;
        if connection.response == Response::Given {
            self.finish(key.0.index());
        }
        Ok(true)
    }

    /// Queues [`Ready::Call`](crate::Ready::Call) for `slot`, once, when something comes from the client while nobody
    /// reads it, or it goes. `true`: it has gone already, and nothing is queued.
    ///
    /// # Errors
    /// `EBADF` if the connection is closed, `EBUSY` if somebody reads.
    pub fn watch_client(&mut self, key: ConnectionKey, slot: u32) -> io::Result<bool> {
        let link = self.get(key)?.link;
        if self.streams.has_ended(link) {
            return Ok(true);
        }
        self.streams.watch(link, slot)?;
        Ok(false)
    }

    /// Takes back what [`watch_client`](Self::watch_client) has begun; `false` if it is too late for that.
    pub fn unwatch_client(&mut self, key: ConnectionKey) -> bool {
        let Ok(connection) = self.get(key) else { return false };
        let link = connection.link;
        self.streams.forget(link)
    }

    /// Gives a request up: the connection is closed. Idempotent.
    pub fn abort(&mut self, key: ConnectionKey) {
        let Ok(connection) = self.get(key) else { return };
        let index = key.0.index();
        match connection.state {
            // What it was told of its mistake is to arrive, although not all of that was received.
            State::Failed(errno) if errno != ETIMEDOUT => self.begin_to_linger(index),
            _ => self.close(index),
        }
    }

    /// Gives the socket of a connection away, with what was received on it and not used. So is its
    /// [session](Self::session_of).
    ///
    /// # Errors
    /// `EBADF` if the connection is closed.
    pub fn detach(&mut self, key: ConnectionKey) -> io::Result<(SocketKey, Vec<u8>)> {
        self.get(key)?;
        let Some(mut connection) = self.remove(key.0.index()) else {
            return Err(crate::error::bad_descriptor());
        };
        let rest = connection.input.split_off(connection.used);
        Ok((connection.link.socket, rest))
    }
}

/// Puts a head in front of a body of `length` bytes.
fn before_body<'a>(outgoing: &'a mut [u8], head: &[u8], length: usize) -> &'a [u8] {
    let start = RESERVED - head.len();
    outgoing[start..RESERVED].copy_from_slice(head);
    &outgoing[start..RESERVED + length]
}

/// Takes a part of the body out of what has been received.
fn take_input(connection: &mut Connection, into: &mut [u8]) -> Result<usize, BodyError> {
    let waiting = &connection.input[connection.used..];
    let (used, count) = match &mut connection.body {
        Body::Length(left) => {
            let count = waiting.len().min(into.len()).min(usize::try_from(*left).unwrap_or(usize::MAX));
            into[..count].copy_from_slice(&waiting[..count]);
            *left -= count as u64;
            (count, count)
        }
        Body::Chunked(chunked) => {
            let decoded = chunked.decode(waiting, into).map_err(BodyError::Refused)?;
            (decoded.consumed, decoded.written)
        }
    };
    connection.advance(used);
    Ok(count)
}
