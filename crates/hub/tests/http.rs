//! Servers of HTTP against plain blocking clients on the loopback, without stacks: the test itself is the handler.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use greenstack_hub::{
    Address, ConnectionKey, HeadLimits, Hub, OutgoingBody, Ready, ResponseHead, ServerId, ServerOptions,
    SocketFamily, SocketKey, Taken,
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
    max_accept: 64,
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
        hub.sockets.listen(listener, 100).unwrap();
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
