//! Bodies in chunks, RFC 9112, 7.1.

use std::mem;

use super::head::Refusal;

/// Bytes of chunk extensions in one body: they are read and ignored.
const MAX_EXTENSIONS: usize = 16 * 1024;
/// Bytes of trailer fields.
const MAX_TRAILERS: usize = 8 * 1024;
const MAX_TRAILER_FIELDS: usize = 64;
/// Hexadecimal digits of a chunk size: what JavaScript can count.
const MAX_DIGITS: u8 = 13;

/// Where in the coding the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the size of a chunk.
    Size {
        digits: u8,
    },
    /// In blanks after the size, which an extension must follow.
    Blank,
    /// In the extensions of a chunk.
    Extension,
    /// Before the LF that ends the size.
    SizeEnd,
    Data,
    /// Before the CR, then the LF, after the data.
    DataEnd,
    DataFeed,
    /// In the trailer section.
    Trailers,
    Done,
}

/// Takes chunks apart, whatever pieces they come in.
#[derive(Debug)]
pub(crate) struct Chunked {
    state: State,
    /// Bytes of the chunk that are still to come.
    left: u64,
    extensions: usize,
    trailers: Vec<u8>,
}

/// What [`Chunked::decode`] has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    pub(crate) consumed: usize,
    pub(crate) written: usize,
}

const BAD_SIZE: Refusal = Refusal::bad("a chunk size is malformed");
const BAD_END: Refusal = Refusal::bad("a chunk does not end with CRLF");

impl Chunked {
    pub(crate) const fn new() -> Self {
        Self { state: State::Size { digits: 0 }, left: 0, extensions: 0, trailers: Vec::new() }
    }

    /// Whether the last chunk and the trailer section have been read.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The trailer fields, once the body is done: lines with CRLF.
    pub(crate) fn take_trailers(&mut self) -> Vec<u8> {
        let mut trailers = mem::take(&mut self.trailers);
        trailers.truncate(trailers.len().saturating_sub(2));
        trailers
    }

    /// Takes coded bytes from `input` and writes what they hold, until either is used up or the body is done.
    pub(crate) fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<Decoded, Refusal> {
        let (mut consumed, mut written) = (0, 0);
        while consumed < input.len() && self.state != State::Done {
            if self.state == State::Data {
                let count = (input.len() - consumed).min(output.len() - written);
                let count = count.min(usize::try_from(self.left).unwrap_or(usize::MAX));
                if count == 0 {
                    break;
                }
                output[written..written + count].copy_from_slice(&input[consumed..consumed + count]);
                consumed += count;
                written += count;
                self.left -= count as u64;
                if self.left == 0 {
                    self.state = State::DataEnd;
                }
                continue;
            }
            self.step(input[consumed])?;
            consumed += 1;
        }
        Ok(Decoded { consumed, written })
    }

    /// Takes one byte that is not data.
    fn step(&mut self, byte: u8) -> Result<(), Refusal> {
        self.state = match self.state {
            State::Size { digits } => match (byte, (byte as char).to_digit(16)) {
                (_, Some(_)) if digits >= MAX_DIGITS => return Err(BAD_SIZE),
                (_, Some(digit)) => {
                    self.left = self.left << 4 | u64::from(digit);
                    State::Size { digits: digits + 1 }
                }
                _ if digits == 0 => return Err(BAD_SIZE),
                (b'\r', _) => State::SizeEnd,
                (b';', _) => State::Extension,
                (b' ' | b'\t', _) => State::Blank,
                _ => return Err(BAD_SIZE),
            },
            State::Blank => {
                self.count_extension()?;
                match byte {
                    b' ' | b'\t' => State::Blank,
                    b';' => State::Extension,
                    _ => return Err(BAD_SIZE),
                }
            }
            State::Extension => {
                self.count_extension()?;
                match byte {
                    b'\r' => State::SizeEnd,
                    b'\t' | 0x20..=0x7e | 0x80.. => State::Extension,
                    _ => return Err(BAD_SIZE),
                }
            }
            State::SizeEnd if byte != b'\n' => return Err(BAD_SIZE),
            State::SizeEnd if self.left > 0 => State::Data,
            State::SizeEnd => State::Trailers,
            State::DataEnd if byte == b'\r' => State::DataFeed,
            State::DataFeed if byte == b'\n' => State::Size { digits: 0 },
            State::DataEnd | State::DataFeed => return Err(BAD_END),
            State::Trailers => {
                self.trailers.push(byte);
                self.check_trailers(byte)?
            }
            State::Data | State::Done => self.state,
        };
        Ok(())
    }

    fn count_extension(&mut self) -> Result<(), Refusal> {
        self.extensions += 1;
        if self.extensions > MAX_EXTENSIONS { Err(BAD_SIZE) } else { Ok(()) }
    }

    fn check_trailers(&mut self, byte: u8) -> Result<State, Refusal> {
        const TOO_LONG: Refusal = Refusal::new(431, "the trailer section is too long");
        const MALFORMED: Refusal = Refusal::bad("a trailer field is malformed");
        if self.trailers.len() > MAX_TRAILERS {
            return Err(TOO_LONG);
        }
        if byte != b'\n' {
            return Ok(State::Trailers);
        }
        if !self.trailers.ends_with(b"\r\n") {
            return Err(MALFORMED);
        }
        if self.trailers != b"\r\n" && !self.trailers.ends_with(b"\r\n\r\n") {
            return Ok(State::Trailers);
        }
        let mut fields = [httparse::EMPTY_HEADER; MAX_TRAILER_FIELDS];
        match httparse::parse_headers(&self.trailers, &mut fields) {
            Ok(httparse::Status::Complete((length, _))) if length == self.trailers.len() => Ok(State::Done),
            Err(httparse::Error::TooManyHeaders) => Err(TOO_LONG),
            _ => Err(MALFORMED),
        }
    }
}
