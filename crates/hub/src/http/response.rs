//! Heads of responses.

use super::date::CachedDate;
use super::head::is_token;

/// The media types that have a number: 1 and on.
const TYPES: [&[u8]; 4] = [
    b"Content-Type: text/plain; charset=utf-8\r\n",
    b"Content-Type: application/octet-stream\r\n",
    b"Content-Type: application/json\r\n",
    b"Content-Type: text/html; charset=utf-8\r\n",
];

/// How the length of a response's body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseFraming {
    /// There is no body, and nothing is said of it: 1xx and 204.
    Absent,
    /// So many bytes.
    Length(u64),
    /// In chunks.
    Chunked,
    /// Until the connection is closed: for HTTP/1.0.
    UntilClose,
}

/// What a response begins with.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    /// Its status: three digits.
    pub status: u16,
    /// What replaces the standard reason phrase, unless it is empty. One that is not allowed is left out.
    pub reason: &'a [u8],
    /// The number of a media type in the list of `src/http/response.ts`; 0: none, or it is among the fields.
    pub media_type: u8,
    /// Lines with CRLF, checked by [`are_fields`].
    pub fields: &'a [u8],
    /// Whether there is a `Date` among the fields.
    pub has_date: bool,
    /// Whether the connection is to be closed after it.
    pub close: bool,
}

/// What is said of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Persistence {
    /// Nothing: it stays open, as HTTP/1.1 has it.
    Silent,
    KeepAlive,
    Close,
}

impl ResponseHead<'_> {
    /// Writes the head, with the empty line after it.
    pub(crate) fn write(
        &self,
        into: &mut Vec<u8>,
        framing: ResponseFraming,
        persistence: Persistence,
        date: &mut CachedDate,
    ) {
        into.extend_from_slice(b"HTTP/1.1 ");
        if self.reason.is_empty() || !self.reason.iter().copied().all(is_reason) {
            match standard(self.status) {
                Some(line) => into.extend_from_slice(line.as_bytes()),
                None => {
                    put_number(into, u64::from(self.status));
                    into.push(b' ');
                }
            }
        } else {
            put_number(into, u64::from(self.status));
            into.push(b' ');
            into.extend_from_slice(self.reason);
        }
        into.extend_from_slice(b"\r\n");
        if let Some(text) = TYPES.get(usize::from(self.media_type).wrapping_sub(1)) {
            into.extend_from_slice(text);
        }
        into.extend_from_slice(self.fields);
        if !self.has_date {
            into.extend_from_slice(b"Date: ");
            into.extend_from_slice(date.now());
            into.extend_from_slice(b"\r\n");
        }
        match framing {
            ResponseFraming::Length(length) => {
                into.extend_from_slice(b"Content-Length: ");
                put_number(into, length);
                into.extend_from_slice(b"\r\n");
            }
            ResponseFraming::Chunked => into.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            ResponseFraming::Absent | ResponseFraming::UntilClose => {}
        }
        match persistence {
            Persistence::Silent => {}
            Persistence::KeepAlive => into.extend_from_slice(b"Connection: keep-alive\r\n"),
            Persistence::Close => into.extend_from_slice(b"Connection: close\r\n"),
        }
        into.extend_from_slice(b"\r\n");
    }
}

/// Writes a chunk's size.
pub(crate) fn put_chunk_size(into: &mut Vec<u8>, size: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4).max(1);
    into.extend((0..digits).rev().map(|place| DIGITS[size >> (4 * place) & 15]));
    into.extend_from_slice(b"\r\n");
}

fn put_number(into: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    let mut left = number;
    loop {
        start -= 1;
        digits[start] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    into.extend_from_slice(&digits[start..]);
}

/// Whether `block` consists of well-formed field lines, so that nothing in it can begin another field or message.
pub fn are_fields(block: &[u8]) -> bool {
    let mut rest = block;
    while !rest.is_empty() {
        let name = rest.iter().take_while(|&&byte| is_token(byte)).count();
        if name == 0 || rest.get(name) != Some(&b':') {
            return false;
        }
        let value = &rest[name + 1..];
        let length = value.iter().take_while(|&&byte| is_reason(byte)).count();
        if value.get(length..length + 2) != Some(b"\r\n") {
            return false;
        }
        rest = &value[length + 2..];
    }
    true
}

/// What values and reason phrases consist of, RFC 9110, 5.5 and RFC 9112, 4.
const fn is_reason(byte: u8) -> bool {
    matches!(byte, b'\t' | 0x20..=0x7e | 0x80..)
}

/// The statuses of RFC 9110 and those registered beside it, with their reason phrases.
const fn standard(status: u16) -> Option<&'static str> {
    Some(match status {
        100 => "100 Continue",
        101 => "101 Switching Protocols",
        103 => "103 Early Hints",
        200 => "200 OK",
        201 => "201 Created",
        202 => "202 Accepted",
        203 => "203 Non-Authoritative Information",
        204 => "204 No Content",
        205 => "205 Reset Content",
        206 => "206 Partial Content",
        207 => "207 Multi-Status",
        300 => "300 Multiple Choices",
        301 => "301 Moved Permanently",
        302 => "302 Found",
        303 => "303 See Other",
        304 => "304 Not Modified",
        307 => "307 Temporary Redirect",
        308 => "308 Permanent Redirect",
        400 => "400 Bad Request",
        401 => "401 Unauthorized",
        402 => "402 Payment Required",
        403 => "403 Forbidden",
        404 => "404 Not Found",
        405 => "405 Method Not Allowed",
        406 => "406 Not Acceptable",
        407 => "407 Proxy Authentication Required",
        408 => "408 Request Timeout",
        409 => "409 Conflict",
        410 => "410 Gone",
        411 => "411 Length Required",
        412 => "412 Precondition Failed",
        413 => "413 Content Too Large",
        414 => "414 URI Too Long",
        415 => "415 Unsupported Media Type",
        416 => "416 Range Not Satisfiable",
        417 => "417 Expectation Failed",
        418 => "418 I'm a Teapot",
        421 => "421 Misdirected Request",
        422 => "422 Unprocessable Content",
        423 => "423 Locked",
        424 => "424 Failed Dependency",
        425 => "425 Too Early",
        426 => "426 Upgrade Required",
        428 => "428 Precondition Required",
        429 => "429 Too Many Requests",
        431 => "431 Request Header Fields Too Large",
        451 => "451 Unavailable For Legal Reasons",
        500 => "500 Internal Server Error",
        501 => "501 Not Implemented",
        502 => "502 Bad Gateway",
        503 => "503 Service Unavailable",
        504 => "504 Gateway Timeout",
        505 => "505 HTTP Version Not Supported",
        507 => "507 Insufficient Storage",
        511 => "511 Network Authentication Required",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(head: &ResponseHead<'_>, framing: ResponseFraming, persistence: Persistence) -> String {
        let mut bytes = Vec::new();
        head.write(&mut bytes, framing, persistence, &mut CachedDate::new());
        String::from_utf8(bytes).unwrap()
    }

    const PLAIN: ResponseHead<'_> =
        ResponseHead { status: 200, reason: b"", media_type: 0, fields: b"", has_date: true, close: false };

    #[test]
    fn rfc9112_4_the_status_line_has_the_standard_phrase_or_an_own_one() {
        let line = |status, reason| {
            written(&ResponseHead { status, reason, ..PLAIN }, ResponseFraming::Absent, Persistence::Silent)
        };
        assert_eq!(line(404, b""), "HTTP/1.1 404 Not Found\r\n\r\n");
        assert_eq!(line(299, b""), "HTTP/1.1 299 \r\n\r\n");
        assert_eq!(line(200, b"Fine"), "HTTP/1.1 200 Fine\r\n\r\n");
        assert_eq!(line(200, b"Fine\r\nX: y"), "HTTP/1.1 200 OK\r\n\r\n");
    }

    #[test]
    fn rfc9112_6_the_framing_is_told() {
        let told = |framing| written(&PLAIN, framing, Persistence::Close);
        assert!(
            told(ResponseFraming::Length(0)).ends_with("\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        );
        assert!(told(ResponseFraming::Length(u64::MAX)).contains("18446744073709551615"));
        assert!(told(ResponseFraming::Chunked).contains("Transfer-Encoding: chunked\r\n"));
    }

    #[test]
    fn rfc9110_6_6_1_there_is_a_date_unless_the_handler_has_set_one() {
        let head = ResponseHead { has_date: false, media_type: 1, fields: b"X: y\r\n", ..PLAIN };
        let text = written(&head, ResponseFraming::Absent, Persistence::KeepAlive);
        let (type_line, rest) = text["HTTP/1.1 200 OK\r\n".len()..].split_once("\r\n").unwrap();
        assert_eq!(type_line, "Content-Type: text/plain; charset=utf-8");
        assert!(
            rest.starts_with("X: y\r\nDate: ") && rest.ends_with(" GMT\r\nConnection: keep-alive\r\n\r\n")
        );
    }

    #[test]
    fn rfc9110_5_5_fields_with_line_breaks_are_none() {
        assert!(are_fields(b""));
        assert!(are_fields(b"A: b\r\nC:\r\nD: \xe4\r\n"));
        for block in [
            &b"A: b"[..],
            b"A b\r\n",
            b"A: b\n",
            b"A: b\rC: d\r\n",
            b": b\r\n",
            b"A : b\r\n",
            b"A: b\r\n\r\n",
            b"A: \0\r\n",
        ] {
            assert!(!are_fields(block), "{}", block.escape_ascii());
        }
    }

    #[test]
    fn rfc9112_7_1_chunk_sizes_are_hexadecimal() {
        for size in [0, 1, 15, 16, 255, 4096, 1 << 20] {
            let mut bytes = Vec::new();
            put_chunk_size(&mut bytes, size);
            assert_eq!(bytes, format!("{size:x}\r\n").into_bytes());
        }
    }
}
