//! Native functions of HTTP servers. Numbers are results as those of `socket.rs`; what is wrong with a request's body is
//! [`REFUSED`] minus the status that answers it, or [`TRUNCATED`].

use std::cell::Cell;
use std::io;
use std::ptr;
use std::time::Duration;

use greenstack_hub::tls::ConfigKey;
use greenstack_hub::{
    BodyError, ConnectionKey, Framing, HeadLimits, OutgoingBody, ResponseHead, ServerOptions, Side,
    SocketKey, Taken, are_fields,
};

use crate::call::{Arguments, Returned, UNDEFINED, check};
use crate::core::Core;
use crate::error::{Failure, negative_errno};
use crate::scheduling::milliseconds;
use crate::socket::{INTERRUPTED, scratch_limit};

/// A body is not as long as was announced.
const MISFIT: f64 = -100_999.0;
/// The client has ended the connection in the middle of a body.
const TRUNCATED: f64 = -101_000.0;
/// A body is malformed or too long.
const REFUSED: f64 = -101_000.0;

/// Which word of [`HttpWords`] means what; `src/binding.ts` has the same list.
#[derive(Clone, Copy)]
#[repr(usize)]
enum Word {
    Connection = 0,
    Server = 1,
    Socket = 2,
    Facts = 3,
    Method = 4,
    Start = 5,
    MethodEnd = 6,
    TargetEnd = 7,
    Fields = 8,
    /// Bytes of the body; −1 if it is in chunks.
    Length = 9,
    /// With which status it is refused; 0 if it is not.
    Status = 10,
    Errno = 11,
}

const WORDS: usize = 12;

/// Bits of [`Word::Facts`].
const IS_1_1: i32 = 1;
const KEEPS_ALIVE: i32 = 2;
const EXPECTS_CONTINUE: i32 = 4;
const UPGRADES: i32 = 8;

/// Bits of what a response is told; the lowest three are the number of its media type.
const MEDIA_TYPE: i32 = 7;
const CLOSE: i32 = 8;
const HAS_DATE: i32 = 16;
const HAS_FIELDS: i32 = 32;
const HAS_REASON: i32 = 64;
const HAS_TEXT: i32 = 128;
const HAS_BYTES: i32 = 256;

/// Numbers of a taken request, which TypeScript reads without a call.
pub(crate) struct HttpWords(*mut f64);

impl Default for HttpWords {
    fn default() -> Self {
        Self(Box::leak(Box::new([0.0; WORDS])).as_mut_ptr())
    }
}

impl HttpWords {
    /// Where they are, and how many bytes.
    pub(crate) fn place(&self) -> (*mut u8, usize) {
        (self.0.cast(), WORDS * size_of::<f64>())
    }

    fn set(&self, word: Word, value: f64) {
        // SAFETY: (local) one of the words, which are leaked; only this thread uses them.
        unsafe { self.0.add(word as usize).write(value) }
    }
}

fn key(arguments: &Arguments) -> Result<ConnectionKey, Failure> {
    Ok(ConnectionKey::from_bits(arguments.double(0)? as u64))
}

/// Whether something is done, as 1 or 0, or a negative code.
fn done(result: io::Result<bool>) -> f64 {
    match result {
        Ok(done) => f64::from(u8::from(done)),
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => MISFIT,
        Err(error) => negative_errno(&error),
    }
}

fn code_of(error: &BodyError) -> f64 {
    match error {
        BodyError::System(error) => negative_errno(error),
        BodyError::Truncated => TRUNCATED,
        BodyError::Refused(refusal) => REFUSED - f64::from(refusal.status),
    }
}

impl Core {
    /// A body as text, without a byte order mark, or as a Buffer.
    fn body_value(&self, bytes: &[u8], as_text: bool) -> Returned {
        if !as_text {
            return self.bytes_value(bytes);
        }
        self.utf8_value(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes))
    }

    /// A string of one byte for each character.
    fn latin1(&self, arguments: &Arguments, index: usize) -> Result<Vec<u8>, Failure> {
        let (mut length, value) = (0, arguments.value(index));
        // SAFETY: (local) a null buffer asks for the length.
        check(unsafe {
            napi_sys::napi_get_value_string_latin1(self.env, value, ptr::null_mut(), 0, &mut length)
        })?;
        let mut bytes = vec![0u8; length + 1];
        // SAFETY: (local) room for the text and its NUL.
        check(unsafe {
            napi_sys::napi_get_value_string_latin1(
                self.env,
                value,
                bytes.as_mut_ptr().cast(),
                bytes.len(),
                &mut length,
            )
        })?;
        bytes.truncate(length);
        Ok(bytes)
    }

    /// A string as UTF-8 in `room`, which holds three bytes for each of its units.
    fn write_text(&self, arguments: &Arguments, index: usize, room: &mut [u8]) -> Result<usize, Failure> {
        let mut length = 0;
        // SAFETY: (local) no more is written than there is room.
        check(unsafe {
            napi_sys::napi_get_value_string_utf8(
                self.env,
                arguments.value(index),
                room.as_mut_ptr().cast(),
                room.len(),
                &mut length,
            )
        })?;
        Ok(length)
    }

    /// Field lines, which nobody has smuggled anything into.
    fn fields(&self, arguments: &Arguments, index: usize) -> Result<Vec<u8>, Failure> {
        let fields = self.latin1(arguments, index)?;
        if are_fields(&fields) {
            return Ok(fields);
        }
        Err(Failure::new("ERR_INVALID_CHAR", "a header field has a character that is not allowed"))
    }
}

/// What `httpRespond` and `httpBegin` are told of a head.
struct HeadArguments {
    status: u16,
    flags: i32,
    fields: Vec<u8>,
    reason: Vec<u8>,
}

impl HeadArguments {
    /// `(key, status, flags, fields, …, …, reason)`
    fn read(core: &Core, arguments: &Arguments, reason: usize) -> Result<Self, Failure> {
        let flags = arguments.int(2)?;
        let status = u16::try_from(arguments.int(1)?).unwrap_or(0);
        if !(100..1000).contains(&status) {
            return Err(Failure::internal(format!("{status} is not a status")));
        }
        let has = |bit| flags & bit != 0;
        Ok(Self {
            status,
            flags,
            fields: if has(HAS_FIELDS) { core.fields(arguments, 3)? } else { Vec::new() },
            reason: if has(HAS_REASON) { core.latin1(arguments, reason)? } else { Vec::new() },
        })
    }

    fn head(&self) -> ResponseHead<'_> {
        ResponseHead {
            status: self.status,
            reason: &self.reason,
            media_type: (self.flags & MEDIA_TYPE) as u8,
            fields: &self.fields,
            has_date: self.flags & HAS_DATE != 0,
            close: self.flags & CLOSE != 0,
        }
    }
}

/// `httpListen(socket, options)`: the server's number. The options are numbers in the order that they are read here.
pub(crate) fn listen(core: &'static Core, arguments: Arguments) -> Returned {
    let listener = SocketKey::from_bits(arguments.double(0)? as u64);
    let mut numbers = arguments.doubles(1)?.into_iter();
    let mut next = || numbers.next().unwrap_or(0.0);
    let options = ServerOptions {
        limits: HeadLimits { request_line: next() as usize, head: next() as usize, fields: next() as usize },
        max_body: next() as u64,
        head_timeout: timeout(next()),
        idle_timeout: timeout(next()),
        max_requests: next() as u32,
        max_active: next() as u32,
        max_connections: next() as u32,
        refuses_overload: next() != 0.0,
        max_accept: Some(next() as u32).filter(|&most| most > 0),
        handshake_timeout: timeout(next()),
        tls: Some(next()).filter(|&key| key > 0.0).map(|key| ConfigKey::from_bits(key as u64)),
    };
    let server = core.hub().http().add_server(listener, options);
    core.double_value(server.into())
}

/// A time in ms; infinite: some years.
fn timeout(ms: f64) -> Duration {
    milliseconds(ms.min(1e11))
}

/// `httpAccepting(server, accepts)`
pub(crate) fn accepting(core: &'static Core, arguments: Arguments) -> Returned {
    core.hub().http().set_accepting(arguments.index(0)?, arguments.bool(1)?);
    core.note_work();
    Ok(UNDEFINED)
}

/// `httpRoom(server, requests)`: so many requests run at a time from now on.
pub(crate) fn room(core: &'static Core, arguments: Arguments) -> Returned {
    core.hub().http().set_room(arguments.index(0)?, arguments.double(1)? as u32);
    core.note_work();
    Ok(UNDEFINED)
}

/// `httpRetire(server)`: it accepts no more, connections end with the request that they have, and it with the last of them.
pub(crate) fn retire(core: &'static Core, arguments: Arguments) -> Returned {
    let server = arguments.index(0)?;
    let mut hub = core.hub();
    hub.http().retire_server(server);
    hub.plan_sweep();
    drop(hub);
    core.note_work();
    Ok(UNDEFINED)
}

/// `httpPending(server)`: how many requests are under way or wait for room.
pub(crate) fn pending(core: &'static Core, arguments: Arguments) -> Returned {
    let count = core.hub().http().pending(arguments.index(0)?);
    core.double_value(count as f64)
}

/// `httpClose(server)`
pub(crate) fn close(core: &'static Core, arguments: Arguments) -> Returned {
    let server = arguments.index(0)?;
    let mut hub = core.hub();
    hub.http().remove_server(server);
    hub.plan_sweep();
    drop(hub);
    core.note_work();
    Ok(UNDEFINED)
}

/// `httpTake()`: the head of the request to be run, whose numbers are in the words; of a refused one what is wrong with it
/// and, in a second line, its beginning.
pub(crate) fn take(core: &'static Core, _: Arguments) -> Returned {
    let mut hub = core.hub();
    let mut serving = hub.http();
    let Some(taken) = serving.take() else { return Ok(UNDEFINED) };
    core.tell(&taken);
    let bytes = serving.taken_bytes(taken.shown);
    match taken.refusal {
        None => core.latin1_value(bytes),
        Some(refusal) => {
            let line = bytes.split(|&byte| byte == b'\r' || byte == b'\n').next().unwrap_or_default();
            core.latin1_value(&[refusal.reason.as_bytes(), b"\n", line].concat())
        }
    }
}

impl Core {
    fn tell(&self, taken: &Taken) {
        let words = &self.http_words;
        let offset = |word, offset: usize| words.set(word, offset as f64);
        words.set(Word::Connection, taken.connection.map_or(0.0, |key| key.to_bits() as f64));
        words.set(Word::Server, taken.server.into());
        words.set(Word::Socket, taken.socket.map_or(0.0, |key| key.to_bits() as f64));
        words.set(Word::Status, taken.refusal.map_or(0.0, |refusal| refusal.status.into()));
        words.set(Word::Errno, taken.errno.into());
        let Some(head) = &taken.head else { return };
        let facts = [
            (head.is_1_1, IS_1_1),
            (head.keeps_alive, KEEPS_ALIVE),
            (head.expects_continue, EXPECTS_CONTINUE),
            (head.upgrades, UPGRADES),
        ];
        let facts: i32 = facts.iter().filter(|(holds, _)| *holds).map(|(_, bit)| bit).sum();
        words.set(Word::Facts, facts.into());
        words.set(Word::Method, head.method.into());
        offset(Word::Start, head.start);
        offset(Word::MethodEnd, head.method_end);
        offset(Word::TargetEnd, head.target_end);
        offset(Word::Fields, head.fields);
        words.set(
            Word::Length,
            match head.framing {
                Framing::Length(length) => length as f64,
                Framing::Chunked => -1.0,
            },
        );
    }
}

// ---- the body of a request

/// `httpBody(key, asText)`: the whole body, if it has come; else nothing.
pub(crate) fn body(core: &'static Core, arguments: Arguments) -> Returned {
    let key = key(&arguments)?;
    let as_text = arguments.bool(1)?;
    let mut hub = core.hub();
    let mut serving = hub.http();
    let value = match serving.whole_body(key) {
        Ok(Some(bytes)) => core.body_value(bytes, as_text)?,
        Ok(None) | Err(_) => return Ok(UNDEFINED),
    };
    serving.use_body(key);
    Ok(value)
}

/// `httpRead(key, limit, timeout)`: bytes put into the scratch memory; 0 at the end of the body.
pub(crate) fn read(core: &'static Core, arguments: Arguments) -> Returned {
    let key = key(&arguments)?;
    let limit = scratch_limit(&arguments)?;
    let timeout = arguments.double(2)?;
    core.spending(timeout, || {
        core.read_body(key, timeout != 0.0, |core| {
            let mut scratch = core.scratch.borrow_mut();
            core.hub().http().read_body(key, &mut scratch[..limit])
        })
    })
}

/// `httpReadAll(key, most, asText, timeout)`: the body as text or a Buffer, or a negative code.
pub(crate) fn read_all(core: &'static Core, arguments: Arguments) -> Returned {
    /// Memory for a body that is announced, before it comes.
    const ANNOUNCED: u64 = 1 << 20;
    const STEP: usize = 16 * 1024;
    let key = key(&arguments)?;
    let most = arguments.double(1)? as usize;
    let as_text = arguments.bool(2)?;
    let timeout = arguments.double(3)?;
    if !core.spend_immediate(timeout)? {
        return core.double_value(INTERRUPTED);
    }
    let announced = core.hub().http().body_left(key).ok().flatten().unwrap_or(0);
    if announced > most as u64 {
        return core.double_value(REFUSED - 413.0);
    }
    let mut bytes = Vec::with_capacity(announced.min(ANNOUNCED) as usize);
    let code = core.with_deadline(timeout, || {
        loop {
            let length = bytes.len();
            let code = core.read_body(key, timeout != 0.0, |core| {
                let room = bytes.capacity().saturating_sub(length);
                bytes.resize(length + if room == 0 { STEP.max(length) } else { room }, 0);
                let result = core.hub().http().read_body(key, &mut bytes[length..]);
                bytes.truncate(length + result.as_ref().map_or(0, |count| *count));
                result
            })?;
            if code <= 0.0 {
                return Ok(code);
            }
            if bytes.len() > most {
                return Ok(REFUSED - 413.0);
            }
        }
    })?;
    if code < 0.0 {
        core.hub().http().unread_body(key, bytes);
        return core.double_value(code);
    }
    core.body_value(&bytes, as_text)
}

impl Core {
    /// Tries `operation` until it has read something, parking in between.
    fn read_body(
        &self,
        key: ConnectionKey,
        park_allowed: bool,
        mut operation: impl FnMut(&Self) -> Result<usize, BodyError>,
    ) -> Result<f64, Failure> {
        let socket = match self.hub().http().socket_of(key) {
            Ok(socket) => socket,
            Err(error) => return Ok(negative_errno(&error)),
        };
        let refused = Cell::new(0.0);
        let code = self.attempt(socket, Side::Read, park_allowed, || {
            Ok(match operation(self) {
                Ok(count) => Ok(count),
                Err(BodyError::System(error)) => Err(error),
                Err(error) => {
                    refused.set(code_of(&error));
                    Ok(0)
                }
            })
        })?;
        Ok(if refused.get() < 0.0 { refused.get() } else { code })
    }
}

/// `httpTrailers(key)`: the lines of the trailer section, once the body has been read.
pub(crate) fn trailers(core: &'static Core, arguments: Arguments) -> Returned {
    let trailers = core.hub().http().take_trailers(key(&arguments)?);
    core.latin1_value(&trailers.unwrap_or_default())
}

// ---- the response

/// `httpRespond(key, status, flags, fields, body, units, reason)`: 1: the request is over; 0: to be flushed. A text has so
/// many units.
pub(crate) fn respond(core: &'static Core, arguments: Arguments) -> Returned {
    let key = key(&arguments)?;
    let told = HeadArguments::read(core, &arguments, 6)?;
    let mut hub = core.hub();
    let mut serving = hub.http();
    let sent = if told.flags & HAS_TEXT != 0 {
        let room = 3 * arguments.index(5)? as usize + 1;
        let outgoing = serving.outgoing_body();
        if room > outgoing.len() {
            return Err(Failure::internal("a text that is this long is to be passed as bytes"));
        }
        let length = core.write_text(&arguments, 4, &mut outgoing[..room])?;
        serving.respond(key, &told.head(), OutgoingBody::Written(length))
    } else if told.flags & HAS_BYTES != 0 {
        let bytes = arguments.all_bytes(4)?;
        bytes.with(|bytes| serving.respond(key, &told.head(), OutgoingBody::Bytes(bytes)))
    } else {
        serving.respond(key, &told.head(), OutgoingBody::Written(0))
    };
    core.double_value(done(sent))
}

/// `httpBegin(key, status, flags, fields, length, reason)`: a body in pieces; the length is −1 if it is not known.
pub(crate) fn begin(core: &'static Core, arguments: Arguments) -> Returned {
    let key = key(&arguments)?;
    let told = HeadArguments::read(core, &arguments, 5)?;
    let length = arguments.double(4)?;
    let length = (length >= 0.0).then_some(length as u64);
    let begun = core.hub().http().begin_stream(key, &told.head(), length);
    core.double_value(done(begun.map(|()| true)))
}

/// `httpWrite(key, view)`: 1: all is sent; 0: to be flushed.
pub(crate) fn write(core: &'static Core, arguments: Arguments) -> Returned {
    let key = key(&arguments)?;
    let bytes = arguments.all_bytes(1)?;
    let written = bytes.with(|bytes| core.hub().http().write_stream(key, bytes));
    core.double_value(done(written))
}

/// `httpEnd(key, trailers)`: as `httpRespond`.
pub(crate) fn end(core: &'static Core, arguments: Arguments) -> Returned {
    let key = key(&arguments)?;
    let trailers = core.fields(&arguments, 1)?;
    let ended = core.hub().http().end_stream(key, &trailers);
    core.double_value(done(ended))
}

/// `httpFlush(key, timeout)`: sends all that is to be sent; the time is that without any progress.
pub(crate) fn flush(core: &'static Core, arguments: Arguments) -> Returned {
    let key = key(&arguments)?;
    let timeout = arguments.double(1)?;
    let socket = match core.hub().http().socket_of(key) {
        Ok(socket) => socket,
        Err(error) => return core.double_value(negative_errno(&error)),
    };
    let mut left = usize::MAX;
    let code = loop {
        if !core.spend_immediate(timeout)? {
            break INTERRUPTED;
        }
        let code = core.with_deadline(timeout, || {
            core.attempt(socket, Side::Write, timeout != 0.0, || {
                let mut hub = core.hub();
                let mut serving = hub.http();
                Ok(match serving.flush(key) {
                    Ok(true) => Ok(1),
                    Ok(false) => {
                        let before = std::mem::replace(&mut left, serving.unsent(key));
                        if left < before { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) }
                    }
                    Err(error) => Err(error),
                })
            })
        })?;
        if code != 0.0 {
            break code;
        }
    };
    core.double_value(code)
}

/// `httpAbort(key)`: closes the connection, if it is still there.
pub(crate) fn abort(core: &'static Core, arguments: Arguments) -> Returned {
    core.hub().http().abort(key(&arguments)?);
    Ok(UNDEFINED)
}

/// `httpDetach(key)`: what was received and not used; the socket is the caller's. A negative code if it is closed.
pub(crate) fn detach(core: &'static Core, arguments: Arguments) -> Returned {
    let detached = core.hub().http().detach(key(&arguments)?);
    match detached {
        Ok((_, rest)) => core.bytes_value(&rest),
        Err(error) => core.double_value(negative_errno(&error)),
    }
}

/// `httpTls(key)`: the session of the connection; 0: it is not encrypted, or closed.
pub(crate) fn tls(core: &'static Core, arguments: Arguments) -> Returned {
    let session = core.hub().http().session_of(key(&arguments)?);
    core.double_value(session.map_or(0.0, |key| key.to_bits() as f64))
}

/// `httpInterim(key, status, reason, fields)`: sends an interim response. As `httpWrite`.
pub(crate) fn interim(core: &'static Core, arguments: Arguments) -> Returned {
    let key = key(&arguments)?;
    let (status, reason, fields) = (arguments.int(1)?, arguments.text(2)?, core.fields(&arguments, 3)?);
    let mut lines = format!("HTTP/1.1 {status} {reason}\r\n").into_bytes();
    lines.extend_from_slice(&fields);
    lines.extend_from_slice(b"\r\n");
    let written = core.hub().http().write_interim(key, &lines);
    core.double_value(done(written))
}

/// `httpWatch(key, slot)`: 0: the slot is called when something comes from the client, or it goes; 1: it has gone.
pub(crate) fn watch(core: &'static Core, arguments: Arguments) -> Returned {
    let slot = arguments.index(1)?;
    let watched = core.hub().http().watch_client(key(&arguments)?, slot);
    core.double_value(done(watched))
}

/// `httpUnwatch(key)`: `false` if the slot will be called, or was.
pub(crate) fn unwatch(core: &'static Core, arguments: Arguments) -> Returned {
    let unwatched = core.hub().http().unwatch_client(key(&arguments)?);
    core.bool_value(unwatched)
}
