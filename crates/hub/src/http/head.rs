//! Heads of requests: where they end, whether they are allowed, and what they say about the message.
//!
//! `httparse` does the splitting. This file adds what RFC 9112 wants besides, and decides with which status a head is
//! refused. A head stays one block of bytes; what is kept of it are offsets.

use std::mem::MaybeUninit;

use httparse::{Error, Header, Request, Status};
use memchr::memchr;

/// Why a request is refused: with which status, and what for the log says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status of the response.
    pub status: u16,
    /// What is wrong with the request.
    pub reason: &'static str,
}

impl Refusal {
    pub(crate) const fn new(status: u16, reason: &'static str) -> Self {
        Self { status, reason }
    }

    pub(crate) const fn bad(reason: &'static str) -> Self {
        Self::new(400, reason)
    }
}

/// How long heads may be.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Bytes of the request line.
    pub request_line: usize,
    /// Bytes of the whole head.
    pub head: usize,
    /// Header fields.
    pub fields: usize,
}

/// How the length of a request's body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes; 0 without a body.
    Length(u64),
    /// In chunks.
    Chunked,
}

/// The methods that have a number; others have 0.
const METHODS: [&[u8]; 9] =
    [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"CONNECT"];

/// The number of HEAD.
pub(crate) const HEAD: u8 = 2;
const OPTIONS: u8 = 6;
const CONNECT: u8 = 9;

/// What a head says. Offsets count from where the head was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Where it begins: empty lines before it are skipped.
    pub start: usize,
    /// Where the method ends; the target begins one later.
    pub method_end: usize,
    /// Where the target ends.
    pub target_end: usize,
    /// Where the header fields begin.
    pub fields: usize,
    /// Where the body begins.
    pub end: usize,
    /// 1 + the place of the method in the list that `src/http/request.ts` has as well, or 0.
    pub method: u8,
    /// Whether the client speaks HTTP/1.1 or a later 1.x.
    pub is_1_1: bool,
    /// Whether the client would use the connection again.
    pub keeps_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// Whether the client offers another protocol.
    pub upgrades: bool,
    /// How long the body is.
    pub framing: Framing,
}

/// How far the end of a head has been looked for, so that slow ones are not scanned again and again.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scan {
    scanned: usize,
    line: usize,
    /// Where the head begins, after empty lines.
    start: usize,
    /// Where the request line ends, after its CRLF; 0 before.
    first_line_end: usize,
    lines: usize,
}

impl Scan {
    /// Looks for the empty line that ends the head. `bytes` must begin as those of the calls before did.
    fn find_end(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<Option<usize>, Refusal> {
        while let Some(distance) = memchr(b'\n', &bytes[self.scanned..]) {
            let feed = self.scanned + distance;
            self.scanned = feed + 1;
            if feed == 0 || bytes[feed - 1] != b'\r' {
                return Err(Refusal::bad("a line ends with a bare LF"));
            }
            let length =
                (feed - 1).checked_sub(self.line).ok_or(Refusal::bad("a line ends with a bare LF"))?;
            if length == 0 && self.lines > 0 {
                return if feed + 1 - self.start > limits.head { Err(TOO_LONG) } else { Ok(Some(feed + 1)) };
            }
            self.line = feed + 1;
            if length == 0 {
                // RFC 9112, 2.2: an empty line before the request is ignored.
                self.start = feed + 1;
                if self.start > MAX_EMPTY {
                    return Err(Refusal::bad("empty lines before the request"));
                }
                continue;
            }
            self.lines += 1;
            if self.lines == 1 {
                check_first(bytes[self.start])?;
                check_request_line(length, limits)?;
                self.first_line_end = feed + 1;
            } else if self.lines - 1 > limits.fields {
                return Err(Refusal::new(431, "too many header fields"));
            }
        }
        self.scanned = bytes.len();
        if self.lines == 0 {
            let begun = &bytes[self.start..];
            if let Some(&first) = begun.first().filter(|&&first| first != b'\r') {
                check_first(first)?;
            }
            check_request_line(begun.len().saturating_sub(1), limits)?;
        }
        if bytes.len() - self.start > limits.head { Err(TOO_LONG) } else { Ok(None) }
    }
}

/// Bytes of empty lines that may come before a request.
const MAX_EMPTY: usize = 8;

const TOO_LONG: Refusal = Refusal::new(431, "the head is too long");

/// Whether a method can begin so. Whatever else this is (a TLS handshake, for instance), nothing that follows makes it one.
fn check_first(first: u8) -> Result<(), Refusal> {
    if is_token(first) { Ok(()) } else { Err(Refusal::bad("this is not HTTP")) }
}

fn check_request_line(length: usize, limits: &HeadLimits) -> Result<(), Refusal> {
    if length > limits.request_line {
        return Err(Refusal::new(414, "the request line is too long"));
    }
    Ok(())
}

/// How many fields fit without an allocation.
const FIELDS: usize = 128;

/// Parses the head at the start of `bytes`; `None` if its end has not come yet.
///
/// `scan` is kept between calls with more of the same bytes.
pub(crate) fn parse(bytes: &[u8], scan: &mut Scan, limits: &HeadLimits) -> Result<Option<Head>, Refusal> {
    let Some(end) = scan.find_end(bytes, limits)? else { return Ok(None) };
    let text = &bytes[scan.start..end];
    let line = &text[..scan.first_line_end - scan.start];
    // RFC 9110, 2.5: a later 1.x is understood as 1.1 by those who know no more.
    let later = later_minor_version(line).map(|digit| {
        let mut later = text.to_vec();
        later[digit] = b'1';
        later
    });
    let text = later.as_deref().unwrap_or(text);
    let place = Place { start: scan.start, fields: scan.first_line_end, end };
    if limits.fields <= FIELDS {
        parse_with(text, place, &mut [const { MaybeUninit::uninit() }; FIELDS])
    } else {
        parse_with(text, place, &mut vec![MaybeUninit::uninit(); limits.fields])
    }
    .map(Some)
}

#[derive(Clone, Copy)]
struct Place {
    start: usize,
    fields: usize,
    end: usize,
}

fn parse_with<'a>(
    text: &'a [u8],
    place: Place,
    fields: &mut [MaybeUninit<Header<'a>>],
) -> Result<Head, Refusal> {
    let mut request = Request::new(&mut []);
    match request.parse_with_uninit_headers(text, fields) {
        Ok(Status::Complete(length)) if length == text.len() => read(&request, place),
        Ok(_) => Err(Refusal::bad("the head ends too early")),
        Err(error) => Err(refusal_of(error, &text[..place.fields - place.start])),
    }
}

/// Where the minor version of a request line is, if it is `HTTP/1.x` with an x above 1.
fn later_minor_version(line: &[u8]) -> Option<usize> {
    let digit = line.len().checked_sub(3)?;
    let is_later = line[..digit].ends_with(b" HTTP/1.") && matches!(line[digit], b'2'..=b'9');
    is_later.then_some(digit)
}

fn refusal_of(error: Error, line: &[u8]) -> Refusal {
    match error {
        Error::HeaderName => Refusal::bad("a header name is no token"),
        Error::HeaderValue => Refusal::bad("a header value has a character that is not allowed"),
        Error::NewLine => Refusal::bad("a line does not end with CRLF"),
        Error::TooManyHeaders => Refusal::new(431, "too many header fields"),
        Error::Version if is_other_version(line) => Refusal::new(505, "the version of HTTP is not supported"),
        Error::Version => Refusal::bad("the request line has no version of HTTP"),
        Error::Token | Error::Status => Refusal::bad("the request line is malformed"),
    }
}

/// Whether a request line is well-formed, with another major version.
fn is_other_version(line: &[u8]) -> bool {
    let mut parts = line.strip_suffix(b"\r\n").unwrap_or(line).splitn(3, |&byte| byte == b' ').skip(2);
    let is_other = |digit: &u8| digit.is_ascii_digit() && *digit != b'1';
    matches!(
        parts.next(),
        Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor]) if is_other(major) && minor.is_ascii_digit()
    )
}

/// What the fields say that matter to the message itself.
#[derive(Default)]
struct Fields {
    hosts: usize,
    length: Option<u64>,
    codings: Codings,
    close: bool,
    keep_alive: bool,
    upgrade_option: bool,
    upgrade: bool,
    expects_continue: bool,
}

#[derive(Default)]
struct Codings {
    present: bool,
    chunked: bool,
    unknown: bool,
}

fn read(request: &Request<'_, '_>, place: Place) -> Result<Head, Refusal> {
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err(Refusal::bad("the request line is malformed"));
    };
    let number =
        METHODS.iter().position(|&known| known == method.as_bytes()).map_or(0, |place| place as u8 + 1);
    check_target(number, target.as_bytes())?;
    let mut fields = Fields::default();
    for field in request.headers.iter() {
        fields.note(field)?;
    }
    let is_1_1 = minor == 1;
    if fields.hosts == 0 && is_1_1 {
        return Err(Refusal::bad("there is no Host"));
    }
    if number == CONNECT {
        return Err(Refusal::new(501, "this is not a proxy"));
    }
    let method_end = place.start + method.len();
    Ok(Head {
        start: place.start,
        method_end,
        target_end: method_end + 1 + target.len(),
        fields: place.fields,
        end: place.end,
        method: number,
        is_1_1,
        keeps_alive: !fields.close && (is_1_1 || fields.keep_alive),
        expects_continue: fields.expects_continue && is_1_1,
        upgrades: fields.upgrade && fields.upgrade_option && is_1_1,
        framing: fields.framing(is_1_1)?,
    })
}

impl Fields {
    fn note(&mut self, field: &Header<'_>) -> Result<(), Refusal> {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        match field.name.len() {
            4 if is("host") => {
                self.hosts += 1;
                if self.hosts > 1 {
                    return Err(Refusal::bad("there are several Hosts"));
                }
                if !is_host(field.value) {
                    return Err(Refusal::bad("the Host is malformed"));
                }
            }
            6 if is("expect") => {
                if !field.value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(Refusal::new(417, "the expectation is not known"));
                }
                self.expects_continue = true;
            }
            7 if is("upgrade") => self.upgrade = true,
            10 if is("connection") => {
                for option in list(field.value) {
                    self.close |= option.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                    self.upgrade_option |= option.eq_ignore_ascii_case(b"upgrade");
                }
            }
            14 if is("content-length") => {
                let length = number(field.value).ok_or(Refusal::bad("the Content-Length is not a number"))?;
                if self.length.replace(length).is_some() {
                    return Err(Refusal::bad("there are several Content-Lengths"));
                }
            }
            17 if is("transfer-encoding") => self.codings.note(field.value)?,
            _ => {}
        }
        Ok(())
    }

    fn framing(&self, is_1_1: bool) -> Result<Framing, Refusal> {
        if !self.codings.present {
            return Ok(Framing::Length(self.length.unwrap_or(0)));
        }
        if self.length.is_some() {
            return Err(Refusal::bad("there are both a Transfer-Encoding and a Content-Length"));
        }
        if !is_1_1 {
            return Err(Refusal::bad("HTTP/1.0 has no Transfer-Encoding"));
        }
        if self.codings.unknown {
            return Err(Refusal::new(501, "the transfer coding is not known"));
        }
        if !self.codings.chunked {
            return Err(Refusal::bad("the Transfer-Encoding is empty"));
        }
        Ok(Framing::Chunked)
    }
}

impl Codings {
    fn note(&mut self, value: &[u8]) -> Result<(), Refusal> {
        self.present = true;
        for coding in list(value) {
            if self.chunked {
                return Err(Refusal::bad("chunked is not the last transfer coding"));
            }
            let name = coding.split(|&byte| byte == b';').next().unwrap_or_default();
            if !coding.eq_ignore_ascii_case(b"chunked") {
                if trim(name).eq_ignore_ascii_case(b"chunked") {
                    return Err(Refusal::bad("chunked has no parameters"));
                }
                if !trim(name).iter().copied().all(is_token) {
                    return Err(Refusal::bad("the Transfer-Encoding is malformed"));
                }
                self.unknown = true;
            } else {
                self.chunked = true;
            }
        }
        Ok(())
    }
}

/// The elements of a list, RFC 9110, 5.6.1; empty ones are ignored.
fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim).filter(|element| !element.is_empty())
}

fn trim(text: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = text.iter().position(|byte| !is_blank(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !is_blank(byte)).map_or(start, |last| last + 1);
    &text[start..end]
}

/// The forms of a request target, RFC 9112, 3.2.
fn check_target(method: u8, target: &[u8]) -> Result<(), Refusal> {
    let is_allowed = |&byte: &u8| matches!(byte, 0x21..=0x7e) && byte != b'#';
    if !target.iter().all(is_allowed) {
        return Err(Refusal::bad("the target has a character that is not allowed"));
    }
    let is_authority = |authority: &[u8]| !authority.is_empty() && is_host(authority);
    let fits = match target {
        [b'/', ..] => method != CONNECT,
        b"*" => method == OPTIONS,
        _ if method == CONNECT => is_authority(target),
        _ => absolute_authority(target).is_some_and(is_authority),
    };
    if fits { Ok(()) } else { Err(Refusal::bad("the target is malformed")) }
}

/// The authority of an absolute-form target, without user information.
fn absolute_authority(target: &[u8]) -> Option<&[u8]> {
    let scheme = [&b"http://"[..], b"https://"]
        .into_iter()
        .find(|scheme| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))?;
    let rest = &target[scheme.len()..];
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    Some(&rest[..end])
}

/// `uri-host [":" port]`, RFC 9110, 7.2; empty if the target has no authority.
fn is_host(value: &[u8]) -> bool {
    let (host, port) = match value {
        [b'[', ..] => match value.iter().position(|&byte| byte == b']') {
            Some(end) => (&value[..=end], &value[end + 1..]),
            None => return false,
        },
        _ => value.split_at(value.iter().position(|&byte| byte == b':').unwrap_or(value.len())),
    };
    let is_port = match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    let is_name = |&byte: &u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'%')
            || matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
    };
    let is_name = match host {
        [b'[', inner @ .., b']'] => {
            !inner.is_empty() && inner.iter().all(|byte| is_name(byte) || *byte == b':')
        }
        _ => host.iter().all(is_name),
    };
    is_port && is_name && (!host.is_empty() || port.is_empty())
}

/// `1*DIGIT`, if JavaScript can count so far.
fn number(digits: &[u8]) -> Option<u64> {
    const LARGEST: u64 = (1 << 53) - 1;
    if digits.is_empty() || digits.len() > 19 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0, |value: u64, digit| value * 10 + u64::from(digit - b'0'));
    (value <= LARGEST).then_some(value)
}

/// `tchar`, RFC 9110, 5.6.2.
pub(crate) const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}
