//! What RFC 9110 and RFC 9112 want of requests, by section; and what must hold for any bytes.

use super::chunked::Chunked;
use super::head::{Framing, Head, HeadLimits, Refusal, Scan, parse};

const LIMITS: HeadLimits = HeadLimits { request_line: 200, head: 1000, fields: 20 };

fn parsed(text: impl AsRef<[u8]>) -> Result<Option<Head>, u16> {
    parse(text.as_ref(), &mut Scan::default(), &LIMITS).map_err(|refusal| refusal.status)
}

fn head(text: impl AsRef<[u8]>) -> Head {
    parsed(text).expect("refused").expect("incomplete")
}

fn status(text: impl AsRef<[u8]>) -> u16 {
    parsed(text).expect_err("accepted")
}

/// A request with these lines after its Host.
fn with(lines: &str) -> String {
    format!("POST /path HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

fn line(line: &str) -> String {
    format!("{line}\r\nHost: a\r\n\r\n")
}

#[test]
fn a_head_is_told_by_offsets() {
    let text = "GET /a?b HTTP/1.1\r\nHost: a\r\n\r\nrest";
    let head = head(text);
    assert_eq!(&text[head.start..head.method_end], "GET");
    assert_eq!(&text[head.method_end + 1..head.target_end], "/a?b");
    assert_eq!(&text[head.fields..head.end], "Host: a\r\n\r\n");
    assert_eq!((head.method, head.is_1_1, head.keeps_alive), (1, true, true));
    assert_eq!(head.framing, Framing::Length(0));
}

#[test]
fn rfc9112_2_2_empty_lines_before_the_request_are_skipped() {
    let text = "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let head = head(text);
    assert_eq!(&text[head.start..head.method_end], "GET");
    assert_eq!(&text[head.fields..head.end], "Host: a\r\n\r\n");
    assert_eq!(status("\r\n".repeat(10)), 400);
}

#[test]
fn rfc9112_2_2_a_bare_lf_is_refused() {
    assert_eq!(status("GET / HTTP/1.1\nHost: a\r\n\r\n"), 400);
    assert_eq!(status("GET / HTTP/1.1\r\nHost: a\n\r\n"), 400);
    assert_eq!(status("GET / HTTP/1.1\r\nHost: a\r\n\n"), 400);
    assert_eq!(status("\nGET / HTTP/1.1\r\n"), 400);
}

#[test]
fn rfc9112_2_2_a_bare_cr_is_refused() {
    assert_eq!(status(with("A: b\rC: d\r\n")), 400);
    assert_eq!(status(with("A: b\r\r\n")), 400);
    assert_eq!(status(line("GET /\r HTTP/1.1")), 400);
}

#[test]
fn rfc9112_2_2_whitespace_before_the_first_field_is_refused() {
    assert_eq!(status("GET / HTTP/1.1\r\n Host: a\r\n\r\n"), 400);
}

#[test]
fn what_cannot_become_a_request_is_refused_at_once() {
    assert_eq!(status(b"\x16\x03\x01\x02\x00"), 400);
    assert_eq!(status(" GET"), 400);
    assert_eq!(parsed("GE"), Ok(None));
    assert_eq!(parsed("\r"), Ok(None));
}

#[test]
fn rfc9112_2_3_other_major_versions_are_505() {
    assert_eq!(status(line("GET / HTTP/2.0")), 505);
    assert_eq!(status("PRI * HTTP/2.0\r\n\r\n"), 505);
    assert_eq!(status(line("GET / HTTP/0.9")), 505);
}

#[test]
fn rfc9110_2_5_later_minor_versions_are_understood() {
    assert!(head(line("GET / HTTP/1.2")).is_1_1);
}

#[test]
fn rfc9112_2_3_what_is_no_version_is_400() {
    for version in ["HTTP/1", "HTTP/11", "http/1.1", "HTTP/1.1x", "HTTP/x.y", "FTP/1.1", ""] {
        assert_eq!(status(line(&format!("GET / {version}"))), 400, "{version}");
    }
    assert_eq!(status("GET /\r\n\r\n"), 400);
}

#[test]
fn rfc9112_3_malformed_request_lines_are_refused() {
    for text in [
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET\t/ HTTP/1.1",
        "GET /a b HTTP/1.1",
        "G@T / HTTP/1.1",
        "GET",
    ] {
        assert_eq!(status(line(text)), 400, "{text}");
    }
}

#[test]
fn rfc9112_3_long_request_lines_are_414_before_they_end() {
    assert_eq!(status(format!("GET /{}", "a".repeat(300))), 414);
    assert_eq!(status(line(&format!("GET /{} HTTP/1.1", "a".repeat(200)))), 414);
    assert!(parsed(line(&format!("GET /{} HTTP/1.1", "a".repeat(186)))).is_ok());
}

#[test]
fn rfc9110_9_1_methods_have_a_case_and_may_be_unknown() {
    assert_eq!(head(line("get / HTTP/1.1")).method, 0);
    assert_eq!(head(line("FROB / HTTP/1.1")).method, 0);
    assert_eq!(head(line("DELETE / HTTP/1.1")).method, 5);
}

#[test]
fn rfc9112_3_2_targets_have_one_of_four_forms() {
    for text in [
        "GET / HTTP/1.1",
        "GET /a?b=c|d HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "GET http://a/b HTTP/1.1",
        "GET HTTP://a:80?x HTTP/1.1",
    ] {
        assert!(parsed(line(text)).is_ok(), "{text}");
    }
    for text in [
        "GET * HTTP/1.1",
        "GET a HTTP/1.1",
        "GET a:80 HTTP/1.1",
        "GET http:///a HTTP/1.1",
        "GET ftp://a/ HTTP/1.1",
    ] {
        assert_eq!(status(line(text)), 400, "{text}");
    }
}

#[test]
fn rfc9112_3_2_targets_have_no_fragment_and_only_visible_ascii() {
    for target in ["/a#b", "/a\u{7f}", "/\u{e4}", "/a\0"] {
        assert_eq!(status(line(&format!("GET {target} HTTP/1.1"))), 400, "{target:?}");
    }
}

#[test]
fn rfc9110_9_3_6_connect_is_501() {
    assert_eq!(status(line("CONNECT a:443 HTTP/1.1")), 501);
    assert_eq!(status(line("CONNECT /a HTTP/1.1")), 400);
}

#[test]
fn rfc9112_3_2_http_1_1_needs_one_host() {
    assert_eq!(status("GET / HTTP/1.1\r\n\r\n"), 400);
    assert_eq!(status("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"), 400);
    assert_eq!(status("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"), 400);
    assert!(parsed("GET / HTTP/1.0\r\n\r\n").is_ok());
}

#[test]
fn rfc9110_7_2_a_host_is_a_name_and_perhaps_a_port() {
    for host in ["", "a", "a.b:80", "[::1]:8080", "127.0.0.1", "a_b", "xn--a"] {
        assert!(parsed(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).is_ok(), "{host}");
    }
    for host in
        ["a b", "a/b", "a@b", "a:b", "a:1:2", ":80", "[::1", "a?b", "a#b", "a\\b", "http://a", "a:123456"]
    {
        assert_eq!(status(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")), 400, "{host}");
    }
}

#[test]
fn rfc9112_5_1_whitespace_before_the_colon_is_refused() {
    assert_eq!(status(with("A : b\r\n")), 400);
    assert_eq!(status(with("Content-Length : 5\r\n")), 400);
}

#[test]
fn rfc9112_5_2_folded_lines_are_refused() {
    assert_eq!(status(with("A: b\r\n c\r\n")), 400);
    assert_eq!(status(with("A: b\r\n\tc\r\n")), 400);
}

#[test]
fn rfc9110_5_1_names_are_tokens() {
    for field in [": b", "A B: c", "A(: b", "\u{e4}: b", "A", "A\0: b"] {
        assert_eq!(status(with(&format!("{field}\r\n"))), 400, "{field:?}");
    }
}

#[test]
fn rfc9110_5_5_values_have_no_control_characters() {
    assert_eq!(status(with("A: b\0c\r\n")), 400);
    assert_eq!(status(with("A: b\u{1}\r\n")), 400);
    assert_eq!(status(with("A: \u{7f}\r\n")), 400);
    assert!(parsed(with("A: \u{e4}\t;\r\nB:\r\n")).is_ok());
}

#[test]
fn rfc6585_5_too_many_or_too_long_fields_are_431() {
    assert_eq!(status(with(&"A: b\r\n".repeat(30))), 431);
    assert_eq!(status(with(&format!("A: {}\r\n", "b".repeat(1000)))), 431);
    assert_eq!(status(format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}", "b".repeat(1000))), 431);
    assert!(parsed(with(&"A: b\r\n".repeat(19))).is_ok());
}

#[test]
fn rfc9112_6_1_a_transfer_encoding_with_a_length_is_refused() {
    assert_eq!(status(with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n")), 400);
    assert_eq!(status(with("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n")), 400);
}

#[test]
fn rfc9112_6_1_http_1_0_has_no_transfer_encoding() {
    assert_eq!(status("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
}

#[test]
fn rfc9112_6_1_unknown_transfer_codings_are_501() {
    for coding in ["gzip", "gzip, chunked", "identity", "xchunked", "chunke"] {
        assert_eq!(status(with(&format!("Transfer-Encoding: {coding}\r\n"))), 501, "{coding}");
    }
}

#[test]
fn rfc9112_6_3_chunked_must_be_last_and_once() {
    for coding in [
        "chunked, gzip",
        "chunked, chunked",
        "",
        ",",
        "chunked;a=b",
        "\"chunked\"",
        "chun ked",
        "\u{b}chunked",
    ] {
        assert_eq!(status(with(&format!("Transfer-Encoding: {coding}\r\n"))), 400, "{coding:?}");
    }
    assert_eq!(status(with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n")), 400);
    assert_eq!(status(with("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n")), 400);
    assert_eq!(head(with("Transfer-Encoding: ChunKed\r\n")).framing, Framing::Chunked);
    assert_eq!(head(with("Transfer-Encoding: , chunked ,\r\n")).framing, Framing::Chunked);
}

#[test]
fn rfc9112_6_3_lengths_are_plain_numbers_told_once() {
    for length in [
        "",
        "-1",
        "+1",
        "0x1",
        "1 ",
        "1e3",
        "5, 5",
        "5,5",
        "1_0",
        "99999999999999999999",
        "9007199254740992",
        "\u{661}",
    ] {
        let length = length.trim_end();
        if length != "1" {
            assert_eq!(status(with(&format!("Content-Length: {length}\r\n"))), 400, "{length}");
        }
    }
    assert_eq!(status(with("Content-Length: 5\r\nContent-Length: 6\r\n")), 400);
    assert_eq!(status(with("Content-Length: 5\r\nContent-Length: 5\r\n")), 400);
    assert_eq!(head(with("Content-Length: 0005\r\n")).framing, Framing::Length(5));
    assert_eq!(head(with("Content-Length: 9007199254740991\r\n")).framing, Framing::Length((1 << 53) - 1));
}

#[test]
fn rfc9112_9_3_connections_persist_by_default_since_1_1() {
    assert!(head(with("")).keeps_alive);
    assert!(!head(with("Connection: close\r\n")).keeps_alive);
    assert!(!head(with("Connection: keep-alive, Close\r\n")).keeps_alive);
    assert!(!head(with("Connection: x\r\nConnection: close\r\n")).keeps_alive);
    assert!(!head("GET / HTTP/1.0\r\n\r\n").keeps_alive);
    assert!(head("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").keeps_alive);
    assert!(!head("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n").keeps_alive);
}

#[test]
fn rfc9110_10_1_1_expectations() {
    assert!(head(with("Expect: 100-Continue\r\n")).expects_continue);
    assert!(!head("POST / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").expects_continue);
    assert_eq!(status(with("Expect: 200-ok\r\n")), 417);
}

#[test]
fn rfc9110_7_8_an_upgrade_is_offered_by_both_fields() {
    assert!(head(with("Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n")).upgrades);
    assert!(!head(with("Upgrade: websocket\r\n")).upgrades);
    assert!(!head(with("Connection: upgrade\r\n")).upgrades);
    assert!(!head("GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n").upgrades);
}

// ---- chunks

/// What a body of chunks holds, how many bytes it takes, and its trailers.
type Unchunked = (Vec<u8>, usize, Vec<u8>);

/// The status if it is malformed.
fn unchunked(input: &[u8]) -> Result<Option<Unchunked>, u16> {
    let mut chunked = Chunked::new();
    let mut output = vec![0; input.len()];
    let decoded = chunked.decode(input, &mut output).map_err(|refusal: Refusal| refusal.status)?;
    output.truncate(decoded.written);
    Ok(chunked.is_done().then(|| (output, decoded.consumed, chunked.take_trailers())))
}

#[test]
fn rfc9112_7_1_chunks_are_joined() {
    let body = b"4\r\nWiki\r\n6\r\npedia \r\nE\r\nin \r\n\r\nchunks.\r\n0\r\n\r\nGET";
    let (text, used, trailers) = unchunked(body).unwrap().unwrap();
    assert_eq!(text, b"Wikipedia in \r\n\r\nchunks.");
    assert_eq!(&body[used..], b"GET");
    assert!(trailers.is_empty());
}

#[test]
fn rfc9112_7_1_1_extensions_are_ignored() {
    let (text, ..) = unchunked(b"1;a=b;c=\"d e\"\r\nx\r\n1 ;a\r\ny\r\n0;z\r\n\r\n").unwrap().unwrap();
    assert_eq!(text, b"xy");
    assert_eq!(unchunked(format!("1;{}", "a".repeat(20_000)).as_bytes()), Err(400));
}

#[test]
fn rfc9112_7_1_2_trailers_are_kept_as_lines() {
    let (_, _, trailers) = unchunked(b"0\r\nA: b\r\nC: d\r\n\r\n").unwrap().unwrap();
    assert_eq!(trailers, b"A: b\r\nC: d\r\n");
    assert_eq!(unchunked(format!("0\r\nA: {}", "a".repeat(9000)).as_bytes()), Err(431));
    assert_eq!(unchunked(format!("0\r\n{}\r\n", "A: b\r\n".repeat(100)).as_bytes()), Err(431));
    for trailer in ["A b\r\n\r\n", "A: b\n\r\n", " A: b\r\n\r\n", "A : b\r\n\r\n", "A: \0\r\n\r\n"] {
        assert_eq!(unchunked(format!("0\r\n{trailer}").as_bytes()), Err(400), "{trailer:?}");
    }
}

#[test]
fn rfc9112_7_1_malformed_chunks_are_refused() {
    for body in [
        "x\r\n",
        "\r\n",
        "-1\r\n",
        "+1\r\n",
        "0x1\r\nx\r\n",
        " 1\r\nx\r\n",
        "1\nx\r\n",
        "1\rx",
        "1 \r\nx\r\n",
        "1\r\nxx\r\n",
        "1\r\nx\n",
        "1\r\nx0\r\n\r\n",
        "1;a\nx\r\n",
        "1;\0\r\n",
        "ffffffffffffffff\r\n",
        "00000000000001\r\nx",
        "g\r\n",
        "1\t\r\n",
    ] {
        assert_eq!(unchunked(body.as_bytes()), Err(400), "{body:?}");
    }
}

// ---- for any bytes

/// A small generator of numbers that look random: the same for the same seed (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 16) as usize % limit
    }
}

const SEEDS: [&str; 8] = [
    "GET /path?query=1 HTTP/1.1\r\nHost: example.org\r\nAccept: */*\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\nhello world",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n",
    "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "\r\nOPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
    "GET http://a/b HTTP/1.1\r\nHost: a\r\nConnection: close, upgrade\r\nUpgrade: x\r\n\r\n",
    "5;a=b\r\nhello\r\n3\r\nabc\r\n0\r\n\r\n",
    "HEAD / HTTP/1.2\r\nHost: a\r\nCookie: a=b; c=d\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
];
const TOKENS: [&str; 24] = [
    "\r\n",
    "\n",
    "\r",
    " ",
    "\t",
    ":",
    ",",
    ";",
    "0",
    "\0",
    "\r\n\r\n",
    "Host: b\r\n",
    "Content-Length: 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Content-Length: 0\r\n",
    "HTTP/1.1",
    "HTTP/9.9",
    "chunked",
    "ffffffff\r\n",
    "\u{e4}",
    "Connection: close\r\n",
    "%",
    "[",
    "#",
];

fn mutated(random: &mut Random) -> Vec<u8> {
    let mut bytes = SEEDS[random.below(SEEDS.len())].as_bytes().to_vec();
    for _ in 0..random.below(4) {
        let place = random.below(bytes.len() + 1);
        match random.below(5) {
            0 => bytes.insert(place, random.next() as u8),
            1 => bytes.truncate(place),
            2 => {
                let token = TOKENS[random.below(TOKENS.len())].bytes();
                bytes.splice(place..place, token);
            }
            3 if place < bytes.len() => bytes[place] = random.next() as u8,
            _ => {
                let end = (place + random.below(8)).min(bytes.len());
                bytes.drain(place..end);
            }
        }
    }
    if random.below(3) == 0 {
        bytes.extend_from_slice(SEEDS[random.below(SEEDS.len())].as_bytes());
    }
    bytes
}

/// The result of parsing bytes that come in pieces.
fn parsed_in_pieces(bytes: &[u8], mut next: impl FnMut(usize) -> usize) -> Result<Option<Head>, Refusal> {
    let mut scan = Scan::default();
    let mut count = 0;
    loop {
        match parse(&bytes[..count], &mut scan, &LIMITS) {
            Ok(None) if count < bytes.len() => {
                count += next(bytes.len() - count).clamp(1, bytes.len() - count)
            }
            result => return result,
        }
    }
}

fn unchunked_in_pieces(bytes: &[u8], random: &mut Random) -> Result<(Vec<u8>, usize, bool), Refusal> {
    let mut chunked = Chunked::new();
    let (mut used, mut text) = (0, Vec::new());
    while used < bytes.len() && !chunked.is_done() {
        let end = (used + 1 + random.below(7)).min(bytes.len());
        let mut room = vec![0; 1 + random.below(5)];
        let decoded = chunked.decode(&bytes[used..end], &mut room)?;
        used += decoded.consumed;
        text.extend_from_slice(&room[..decoded.written]);
    }
    Ok((text, used, chunked.is_done()))
}

/// How many inputs are tried, and from which seed on: `GREENSTACK_FUZZ_RUNS`, `GREENSTACK_FUZZ_SEED`.
fn fuzz_runs() -> (u64, u64) {
    let number = |name, default| {
        std::env::var(name).ok().and_then(|text: String| text.parse().ok()).unwrap_or(default)
    };
    (number("GREENSTACK_FUZZ_RUNS", 20_000), number("GREENSTACK_FUZZ_SEED", 1))
}

#[test]
fn whatever_bytes_come_and_however_they_are_split_the_result_is_the_same() {
    let (runs, first) = fuzz_runs();
    for seed in first..first + runs {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let bytes = mutated(&mut random);
        let at_once = parse(&bytes, &mut Scan::default(), &LIMITS);
        let bytewise = parsed_in_pieces(&bytes, |_| 1);
        let in_pieces = parsed_in_pieces(&bytes, |left| 1 + random.below(left));
        assert_eq!(at_once.is_err(), bytewise.is_err(), "seed {seed}: {}", bytes.escape_ascii());
        assert_eq!(at_once.is_err(), in_pieces.is_err(), "seed {seed}: {}", bytes.escape_ascii());
        if let Ok(head) = at_once {
            assert_eq!(Ok(head), bytewise, "seed {seed}: {}", bytes.escape_ascii());
            assert_eq!(Ok(head), in_pieces, "seed {seed}: {}", bytes.escape_ascii());
        }
        if let Ok(Some(head)) = at_once {
            assert!(head.start < head.method_end && head.method_end < head.target_end, "seed {seed}");
            assert!(
                head.target_end < head.fields && head.fields < head.end && head.end <= bytes.len(),
                "seed {seed}"
            );
            // What was accepted is one head: it says the same by itself, and ends there.
            assert_eq!(
                parse(&bytes[..head.end], &mut Scan::default(), &LIMITS),
                Ok(Some(head)),
                "seed {seed}"
            );
            assert!(bytes[..head.end].ends_with(b"\r\n\r\n"), "seed {seed}");
        }
    }
}

#[test]
fn whatever_chunks_come_and_however_they_are_split_the_result_is_the_same() {
    let (runs, first) = fuzz_runs();
    for seed in first..first + runs {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut bytes = mutated(&mut random);
        if random.below(2) == 0 {
            bytes.splice(..0, SEEDS[6].bytes());
        }
        let mut chunked = Chunked::new();
        let mut text = vec![0; bytes.len()];
        let at_once = chunked.decode(&bytes, &mut text);
        let in_pieces = unchunked_in_pieces(&bytes, &mut random);
        match (at_once, in_pieces) {
            (Ok(decoded), Ok((pieces, used, done))) => {
                text.truncate(decoded.written);
                assert_eq!((text, decoded.consumed, chunked.is_done()), (pieces, used, done), "seed {seed}");
            }
            (Err(one), Err(other)) => assert_eq!(one, other, "seed {seed}"),
            (one, other) => panic!("seed {seed}: {one:?} {other:?}: {}", bytes.escape_ascii()),
        }
    }
}

#[test]
fn an_idle_connection_is_small() {
    assert!(size_of::<super::connection::Connection>() <= 400);
}
