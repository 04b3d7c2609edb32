//! Servers of HTTP against plain blocking clients on the loopback, without stacks: the test itself is the handler.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use greenstack_hub::{
    Address, BodyError, ConnectionKey, HeadLimits, Hub, OutgoingBody, Ready, ResponseHead, ServerId,
    ServerOptions, SocketFamily, SocketKey, Taken,
};

const HOUR: Duration = Duration::from_secs(3600);
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: ResponseHead<'_> =
    ResponseHead { status: 200, reason: b"", media_type: 0, fields: b"", has_date: true, close: false };

const OPTIONS: ServerOptions = ServerOptions {
    limits: HeadLimits { request_line: 1000, head: 10_000, fields: 50 },
    max_body: 1 << 20,
    tls: None,
    handshake_timeout: HOUR,
    head_timeout: HOUR,
    idle_timeout: HOUR,
    max_requests: u32::MAX,
    max_active: u32::MAX,
    max_connections: u32::MAX,
    max_accept: None,
    refuses_overload: false,
};

struct Serving {
    hub: Hub,
    listener: SocketKey,
    server: ServerId,
    address: SocketAddr,
}

impl Serving {
    fn new(options: ServerOptions) -> Self {
        let mut hub = Hub::new().unwrap();
        let listener = hub.sockets.open(SocketFamily::V4, false).unwrap();
        hub.sockets.bind(listener, &Address::Inet("127.0.0.1:0".parse().unwrap())).unwrap();
        hub.sockets.listen(listener, 1000).unwrap();
        let Some(Address::Inet(address)) = hub.sockets.local_address(listener).unwrap() else {
            unreachable!()
        };
        let server = hub.http().add_server(listener, options);
        hub.http().set_accepting(server, true);
        Self { hub, listener, server, address }
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).unwrap()
    }

    /// Sees to what is ready, and waits, until there is something to take.
    fn take(&mut self) -> Taken {
        loop {
            if let Some(taken) = self.take_ready() {
                return taken;
            }
            self.hub.poll(Some(Duration::from_secs(30))).unwrap();
            self.hub.run_due();
            assert!(!self.hub.is_idle(), "nothing comes");
        }
    }

    fn take_ready(&mut self) -> Option<Taken> {
        while let Some(entry) = self.hub.pop() {
            assert!(matches!(entry, Ready::Connection(_) | Ready::Accept(_)));
            if self.hub.serve(entry) {
                return self.hub.http().take();
            }
        }
        None
    }

    /// Sees to everything that has come by now.
    fn settle(&mut self) {
        for _ in 0..5 {
            assert!(self.take_ready().is_none());
            self.hub.poll(Some(Duration::from_millis(2))).unwrap();
        }
    }

    fn respond(&mut self, taken: &Taken, body: &[u8]) -> bool {
        self.hub.http().respond(key(taken), &OK, OutgoingBody::Bytes(body)).unwrap()
    }
}

fn key(taken: &Taken) -> ConnectionKey {
    taken.connection.unwrap()
}

/// Reads one response with a body of so many bytes.
fn read_response(client: &mut TcpStream, length: usize) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        assert_eq!(client.read(&mut byte).unwrap(), 1, "it ended after {}", text.escape_ascii());
        text.push(byte[0]);
    }
    let mut body = vec![0; length];
    client.read_exact(&mut body).unwrap();
    text.extend(body);
    String::from_utf8(text).unwrap()
}

#[test]
fn a_server_that_is_forgotten_before_it_has_accepted_is_not_seen_to_again() {
    let mut serving = Serving::new(OPTIONS);
    let server = serving.server;
    serving.hub.http().remove_server(server);
    assert!(serving.take_ready().is_none());
    assert!(serving.hub.is_idle());
}

#[test]
fn a_server_that_retires_is_forgotten_with_its_last_connection() {
    let mut serving = Serving::new(OPTIONS);
    let mut client = serving.connect();
    client.write_all(GET).unwrap();
    let taken = serving.take();
    let idle = serving.connect();
    serving.settle();
    let server = serving.server;
    serving.hub.http().retire_server(server);
    serving.settle();
    assert_eq!((&idle).read(&mut [0]).unwrap(), 0, "who waits for a request is closed");
    assert_eq!(serving.hub.http().pending(server), 1);
    assert!(serving.respond(&taken, b"hello"));
    assert!(read_response(&mut client, 5).contains("Connection: close"));
    drop(client);
    serving.settle();
    let listener = serving.listener;
    assert_eq!(serving.hub.http().add_server(listener, OPTIONS), server, "its number is free");
}

#[test]
fn a_request_is_taken_once_however_it_is_split() {
    let mut serving = Serving::new(OPTIONS);
    let mut client = serving.connect();
    client.set_nodelay(true).unwrap();
    for split in 1..GET.len() {
        client.write_all(&GET[..split]).unwrap();
        serving.settle();
        client.write_all(&GET[split..]).unwrap();
        let taken = serving.take();
        assert_eq!(taken.head.unwrap().end, GET.len());
        assert_eq!(serving.hub.http().taken_bytes(taken.shown), GET);
        serving.settle();
        assert!(serving.respond(&taken, b"hello"));
        assert!(read_response(&mut client, 5).ends_with("hello"));
        serving.settle();
    }
}

#[test]
fn rfc9112_9_3_2_pipelined_requests_are_taken_one_after_another() {
    let mut serving = Serving::new(OPTIONS);
    let mut client = serving.connect();
    client.write_all(&GET.repeat(3)).unwrap();
    for _ in 0..3 {
        let taken = serving.take();
        assert!(serving.take_ready().is_none(), "the next waits for the response");
        serving.respond(&taken, b"x");
        read_response(&mut client, 1);
    }
    serving.settle();
}

#[test]
fn what_was_put_back_is_taken_again_and_only_once() {
    let mut serving = Serving::new(OPTIONS);
    let mut client = serving.connect();
    client.write_all(&GET.repeat(2)).unwrap();
    loop {
        match serving.hub.pop() {
            Some(entry) if serving.hub.serve(entry) => break,
            Some(_) => {}
            None => serving.hub.poll(None).unwrap(),
        }
    }
    serving.hub.http().put_back();
    for _ in 0..2 {
        let taken = serving.take();
        serving.respond(&taken, b"x");
        read_response(&mut client, 1);
    }
    serving.settle();
}

#[test]
fn an_idle_connection_is_closed_in_time_and_a_slow_head_is_408() {
    let mut serving = Serving::new(OPTIONS);
    serving.hub.stop_time();
    let mut slow = serving.connect();
    slow.write_all(&GET[..10]).unwrap();
    let mut idle = serving.connect();
    idle.write_all(GET).unwrap();
    let taken = serving.take();
    serving.respond(&taken, b"x");
    read_response(&mut idle, 1);
    serving.settle();
    while serving.hub.is_idle() {
        serving.hub.jump(None);
    }
    let refused = serving.take();
    assert_eq!(refused.refusal.unwrap().status, 408);
    let head = ResponseHead { status: 408, ..OK };
    assert!(serving.hub.http().respond(key(&refused), &head, OutgoingBody::Bytes(b"")).unwrap());
    assert!(read_response(&mut slow, 0).contains("Connection: close"));
    assert_eq!(idle.read(&mut [0]).unwrap(), 0);
    drop(slow);
    serving.settle();
    serving.hub.plan_sweep();
    assert_eq!(serving.hub.sockets.len(), 1, "the listener");
}

#[test]
fn what_has_no_room_waits_and_then_has_its_turn() {
    let mut serving = Serving::new(ServerOptions { max_active: 1, ..OPTIONS });
    let mut clients = [serving.connect(), serving.connect(), serving.connect()];
    serving.settle();
    for client in &mut clients {
        client.write_all(GET).unwrap();
    }
    for _ in 0..3 {
        let taken = serving.take();
        serving.settle();
        serving.respond(&taken, b"x");
    }
    for client in &mut clients {
        read_response(client, 1);
    }
}

#[test]
fn as_many_are_accepted_as_have_their_turn_meanwhile() {
    let mut serving = Serving::new(OPTIONS);
    let mut busy: Vec<TcpStream> = (0..200).map(|_| serving.connect()).collect();
    while serving.hub.sockets.len() < 1 + busy.len() {
        serving.settle();
    }
    let server = serving.server;
    serving.hub.http().set_accepting(server, false);
    let others: Vec<TcpStream> = (0..200).map(|_| serving.connect()).collect();
    for client in &mut busy {
        client.write_all(GET).unwrap();
    }
    serving.hub.http().set_accepting(server, true);
    serving.hub.poll(Some(Duration::from_secs(30))).unwrap();
    let first = serving.hub.pop().unwrap();
    assert_eq!(first, Ready::Accept(server));
    assert!(!serving.hub.serve(first));
    assert_eq!(serving.hub.sockets.len(), 1 + busy.len() + others.len());
}

#[test]
fn a_stopped_server_serves_what_has_come_and_closes_the_rest() {
    let mut serving = Serving::new(OPTIONS);
    let mut idle = serving.connect();
    let mut pending = serving.connect();
    for client in [&mut idle, &mut pending] {
        client.write_all(GET).unwrap();
        let taken = serving.take();
        serving.respond(&taken, b"x");
        read_response(client, 1);
    }
    serving.settle();
    pending.write_all(GET).unwrap();
    let server = serving.server;
    serving.hub.http().set_accepting(server, false);
    serving.hub.http().begin_stop(server);
    let taken = serving.take_ready().expect("it has come");
    serving.respond(&taken, b"x");
    assert!(read_response(&mut pending, 1).contains("Connection: close"));
    serving.take_ready();
    assert_eq!(idle.read(&mut [0]).unwrap(), 0);
    assert_eq!(serving.hub.http().pending(server), 0);
    serving.hub.http().remove_server(server);
    let listener = serving.listener;
    serving.hub.close_socket(listener);
    assert!(serving.hub.sockets.is_empty());
}

#[test]
fn a_long_response_is_flushed_as_the_client_reads() {
    let mut serving = Serving::new(OPTIONS);
    let mut client = serving.connect();
    client.write_all(GET).unwrap();
    let taken = serving.take();
    let body = vec![b'x'; 20_000_000];
    assert!(!serving.respond(&taken, &body));
    let length = body.len();
    let reader = std::thread::spawn(move || read_response(&mut client, length).len());
    loop {
        match serving.hub.http().flush(key(&taken)) {
            Ok(true) => break,
            Ok(false) => {
                let socket = serving.hub.http().socket_of(key(&taken)).unwrap();
                serving.hub.await_socket(socket, greenstack_hub::Side::Write, 1).unwrap();
                serving.hub.poll(None).unwrap();
                serving.hub.sockets.clear(socket, greenstack_hub::Side::Write);
                while serving.hub.pop().is_some() {}
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(reader.join().unwrap() > length);
}

#[test]
fn rfc9112_9_6_what_comes_after_the_end_is_read_so_that_the_answer_arrives() {
    let mut serving = Serving::new(OPTIONS);
    let mut client = serving.connect();
    client.write_all(b"nonsense\r\n\r\n").unwrap();
    client.write_all(&[b'x'; 100_000]).unwrap();
    let taken = serving.take();
    assert_eq!(taken.refusal.unwrap().status, 400);
    let head = ResponseHead { status: 400, ..OK };
    assert!(serving.hub.http().respond(key(&taken), &head, OutgoingBody::Bytes(b"no")).unwrap());
    assert!(read_response(&mut client, 2).starts_with("HTTP/1.1 400"));
    serving.settle();
    client.shutdown(Shutdown::Write).unwrap();
    serving.settle();
    assert_eq!(serving.hub.sockets.len(), 1);
}

#[test]
fn a_stale_key_names_nothing() {
    let mut serving = Serving::new(OPTIONS);
    let mut client = serving.connect();
    client.write_all(GET).unwrap();
    let taken = serving.take();
    serving.hub.http().abort(key(&taken));
    serving.hub.http().abort(key(&taken));
    let mut http = serving.hub.http();
    assert!(http.respond(key(&taken), &OK, OutgoingBody::Bytes(b"x")).is_err());
    assert!(http.read_body(key(&taken), &mut [0; 8]).is_err());
    assert!(http.detach(key(&taken)).is_err());
    assert!(matches!(client.read(&mut [0]), Ok(0)) || client.take_error().is_ok());
}

#[test]
fn a_client_that_goes_in_the_middle_of_a_head_leaves_nothing() {
    let mut serving = Serving::new(OPTIONS);
    let mut client = serving.connect();
    client.write_all(&GET[..10]).unwrap();
    serving.settle();
    assert_eq!(serving.hub.sockets.len(), 2);
    drop(client);
    serving.settle();
    assert_eq!(serving.hub.sockets.len(), 1);
    let mut other = serving.connect();
    other.set_nonblocking(true).unwrap();
    serving.settle();
    assert_eq!(other.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// A handler that reads the whole body, and what it and the server have made of the bytes of one client.
#[derive(Default)]
struct Reading {
    current: Option<(Taken, Vec<u8>)>,
    seen: Vec<String>,
}

impl Reading {
    /// Sees to everything that is there.
    fn go_on(&mut self, serving: &mut Serving) {
        loop {
            if self.current.is_none() {
                let Some(taken) = serving.take_ready() else { return };
                let line = serving.hub.http().taken_bytes(taken.shown).to_vec();
                match taken.refusal {
                    Some(refusal) => self.refuse(serving, &taken, refusal.status),
                    None => {
                        let head = taken.head.unwrap();
                        self.seen.push(line[head.start..head.target_end].escape_ascii().to_string());
                        self.current = Some((taken, Vec::new()));
                    }
                }
            }
            let Some((taken, mut body)) = self.current.take() else { continue };
            let mut piece = [0; 7];
            let read = serving.hub.http().read_body(key(&taken), &mut piece);
            match read {
                Ok(0) => {
                    self.seen.push(body.escape_ascii().to_string());
                    assert!(serving.respond(&taken, b"x"));
                }
                Ok(count) => {
                    body.extend_from_slice(&piece[..count]);
                    self.current = Some((taken, body));
                }
                Err(error) if error.would_block() => {
                    self.current = Some((taken, body));
                    return;
                }
                Err(BodyError::Refused(refusal)) => self.refuse(serving, &taken, refusal.status),
                Err(_) => {
                    self.seen.push("ended".into());
                    serving.hub.http().abort(key(&taken));
                }
            }
        }
    }

    fn refuse(&mut self, serving: &mut Serving, taken: &Taken, status: u16) {
        self.seen.push(status.to_string());
        let head = ResponseHead { status, close: true, ..OK };
        assert!(serving.hub.http().respond(key(taken), &head, OutgoingBody::Bytes(b"")).unwrap());
    }
}

/// What is made of bytes that come in pieces, until the connection is closed.
fn seen_of(serving: &mut Serving, pieces: &[&[u8]]) -> Vec<String> {
    let mut client = serving.connect();
    client.set_nodelay(true).unwrap();
    let mut reading = Reading::default();
    for piece in pieces {
        // What is refused may be closed already.
        let _ = client.write_all(piece);
        serving.hub.poll(Some(Duration::ZERO)).unwrap();
        reading.go_on(serving);
    }
    let _ = client.shutdown(Shutdown::Write);
    while serving.hub.sockets.len() > 1 {
        serving.hub.poll(Some(Duration::from_secs(30))).unwrap();
        serving.hub.run_due();
        reading.go_on(serving);
    }
    reading.seen
}

#[test]
fn a_pipeline_is_the_same_wherever_it_is_split() {
    const HEADS: [&str; 8] = [
        "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world",
        "POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n6\r\n world\r\n0\r\nA: b\r\n\r\n",
        "POST /4 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n",
        "POST /5 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /6 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\0\x01\r\n",
        "GET /7 HTTP/1.1\nHost: a\r\n\r\n",
        "HEAD /8 HTTP/1.1\r\nHost: a\r\nA:\r\n b\r\n\r\n",
    ];
    let mut serving = Serving::new(OPTIONS);
    for first in HEADS {
        for second in [HEADS[0], HEADS[2], HEADS[5]] {
            let bytes =
                [first, second, "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"].concat();
            let bytes = bytes.as_bytes();
            let expected = seen_of(&mut serving, &[bytes]);
            assert!(!expected.is_empty());
            for split in 1..bytes.len() {
                let (before, after) = bytes.split_at(split);
                let seen = seen_of(&mut serving, &[before, after]);
                assert_eq!(seen, expected, "{} | {}", before.escape_ascii(), after.escape_ascii());
            }
            let bytewise: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(seen_of(&mut serving, &bytewise), expected, "{}", bytes.escape_ascii());
        }
    }
}
