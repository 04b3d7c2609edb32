//! Sockets against plain blocking ones on the loopback.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::thread;

use greenstack_hub::{
    Address, Event, ParkError, Poller, Ready, Side, SocketFamily, SocketKey, Sockets, StackId, Waiter,
};

const READER: StackId = 1;
const WRITER: StackId = 2;

/// A hub without stacks: it parks the test itself.
struct Hub {
    poller: Poller,
    sockets: Sockets,
}

fn stack(waiter: Option<Waiter>) -> Option<StackId> {
    waiter.map(|waiter| match waiter {
        Waiter::Stack(stack) => stack,
        other => panic!("{other:?} was told"),
    })
}

impl Hub {
    fn new() -> Self {
        Self { poller: Poller::new().unwrap(), sockets: Sockets::new() }
    }

    fn note(&mut self, key: SocketKey, side: Side, waiter: Waiter) -> Result<(), ParkError> {
        self.sockets.note(&self.poller, key, side, waiter, true)
    }

    fn set_reader(&mut self, key: SocketKey, stack: StackId) -> Result<(), ParkError> {
        self.note(key, Side::Read, Waiter::Stack(stack))
    }

    fn set_writer(&mut self, key: SocketKey, stack: StackId) -> Result<(), ParkError> {
        self.note(key, Side::Write, Waiter::Stack(stack))
    }

    fn clear_reader(&mut self, key: SocketKey) {
        self.sockets.clear(key, Side::Read);
    }

    fn clear_writer(&mut self, key: SocketKey) {
        self.sockets.clear(key, Side::Write);
    }

    /// Polls until somebody is told.
    fn told(&mut self) -> [Option<Waiter>; 2] {
        let Self { poller, sockets } = self;
        let mut told = [None, None];
        while told == [None, None] {
            poller
                .poll(None, |_, event| {
                    if let Event::Io { token, readiness } = event {
                        let [reader, writer] = sockets.on_event(token, readiness);
                        told = [told[0].or(reader), told[1].or(writer)];
                    }
                })
                .unwrap();
        }
        told
    }

    /// Polls until a stack is woken.
    fn woken(&mut self) -> (Option<StackId>, Option<StackId>) {
        let [reader, writer] = self.told();
        (stack(reader), stack(writer))
    }

    fn start_connect(&mut self, address: SocketAddr) -> SocketKey {
        let key = self.sockets.open(SocketFamily::V4, false).unwrap();
        self.sockets.connect(key, Address::Inet(address)).unwrap();
        key
    }

    fn finish_connect(&mut self, key: SocketKey) -> io::Result<()> {
        while !self.sockets.take_connect_error(key)? {
            self.set_writer(key, WRITER).unwrap();
            assert_eq!(self.woken().1, Some(WRITER));
            self.clear_writer(key);
        }
        Ok(())
    }

    fn recv(&mut self, key: SocketKey, buffer: &mut [u8]) -> io::Result<usize> {
        self.until_ready(key, |sockets| sockets.try_recv(key, buffer))
    }

    /// Tries to read until there is something.
    fn until_ready<T>(
        &mut self,
        key: SocketKey,
        mut operation: impl FnMut(&mut Sockets) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            match operation(&mut self.sockets) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result,
            }
            self.set_reader(key, READER).unwrap();
            assert_eq!(self.woken().0, Some(READER));
            self.clear_reader(key);
        }
    }

    fn send_all(&mut self, key: SocketKey, mut data: &[u8]) -> io::Result<()> {
        while !data.is_empty() {
            match self.sockets.try_send(key, data) {
                Ok(sent) => data = &data[sent..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.set_writer(key, WRITER).unwrap();
                    assert_eq!(self.woken().1, Some(WRITER));
                    self.clear_writer(key);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn close(&mut self, key: SocketKey) -> (Option<StackId>, Option<StackId>) {
        let [reader, writer] = self.sockets.close(&self.poller, key);
        (stack(reader), stack(writer))
    }

    /// A connected socket and its peer.
    fn pair(&mut self) -> (SocketKey, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let key = self.start_connect(listener.local_addr().unwrap());
        self.finish_connect(key).unwrap();
        (key, listener.accept().unwrap().0)
    }

    /// A socket bound to the loopback.
    fn bound(&mut self, datagram: bool) -> (SocketKey, SocketAddr) {
        let key = self.sockets.open(SocketFamily::V4, datagram).unwrap();
        self.sockets.bind(key, &Address::Inet((Ipv4Addr::LOCALHOST, 0).into())).unwrap();
        match self.sockets.local_address(key) {
            Ok(Some(Address::Inet(address))) => (key, address),
            other => panic!("{other:?}"),
        }
    }
}

/// A connected socket that knows already that it has to wait.
fn registered_pair(hub: &mut Hub) -> (SocketKey, TcpStream) {
    let (key, peer) = hub.pair();
    assert_would_block(hub.sockets.try_recv(key, &mut [0]));
    (key, peer)
}

fn assert_would_block(result: io::Result<usize>) {
    assert_eq!(result.unwrap_err().kind(), ErrorKind::WouldBlock);
}

fn assert_closed<T: std::fmt::Debug>(result: io::Result<T>) {
    assert_eq!(result.unwrap_err().raw_os_error(), Some(9));
}

#[test]
fn a_connection_knows_both_ends() {
    let mut hub = Hub::new();
    let (key, peer) = hub.pair();
    let address = |address: io::Result<SocketAddr>| Some(Address::Inet(address.unwrap()));
    assert_eq!(hub.sockets.peer_address(key).unwrap(), address(peer.local_addr()));
    assert_eq!(hub.sockets.local_address(key).unwrap(), address(peer.peer_addr()));
    assert_eq!(SocketKey::from_bits(key.to_bits()), key);
}

#[test]
fn a_connection_starts_from_the_address_given() {
    let mut hub = Hub::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let local: SocketAddr = "127.0.0.2:0".parse().unwrap();
    let key = hub.sockets.open(SocketFamily::V4, false).unwrap();
    hub.sockets.bind(key, &Address::Inet(local)).unwrap();
    hub.sockets.connect(key, Address::Inet(listener.local_addr().unwrap())).unwrap();
    hub.finish_connect(key).unwrap();
    let (peer, _) = listener.accept().unwrap();
    assert_eq!(peer.peer_addr().unwrap().ip(), local.ip());
}

#[test]
fn an_address_of_somebody_else_cannot_be_bound() {
    let mut hub = Hub::new();
    let key = hub.sockets.open(SocketFamily::V4, false).unwrap();
    let error = hub.sockets.bind(key, &Address::Inet("192.0.2.1:0".parse().unwrap())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
}

#[test]
fn a_refused_connection_says_so() {
    let mut hub = Hub::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let key = hub.sockets.open(SocketFamily::V4, false).unwrap();
    let error = match hub.sockets.connect(key, Address::Inet(address)) {
        Ok(_) => hub.finish_connect(key).unwrap_err(),
        Err(error) => error,
    };
    hub.close(key);
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert_eq!((hub.sockets.len(), hub.sockets.waiting()), (0, 0));
}

#[test]
fn a_socket_that_connects_is_not_ready() {
    let mut hub = Hub::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let key = hub.sockets.open(SocketFamily::V4, false).unwrap();
    let connected = hub.sockets.connect(key, Address::Inet(address)).unwrap();
    if !connected {
        assert!(!hub.sockets.take_connect_error(key).unwrap());
        assert_would_block(hub.sockets.try_send(key, b"x"));
    }
    hub.finish_connect(key).unwrap();
    assert_eq!(hub.sockets.try_send(key, b"x").unwrap(), 1);
}

#[test]
fn data_flows_both_ways() {
    let mut hub = Hub::new();
    let (key, mut peer) = hub.pair();
    hub.send_all(key, b"ping").unwrap();
    let mut buffer = [0; 4];
    peer.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"ping");
    peer.write_all(b"pong").unwrap();
    assert_eq!(hub.recv(key, &mut buffer).unwrap(), 4);
    assert_eq!(&buffer, b"pong");
}

#[test]
fn megabytes_flow_both_ways_at_once() {
    let data = (0..8_000_000_u32).map(|n| (n * 7) as u8).collect::<Vec<_>>();
    let mut hub = Hub::new();
    let (key, mut peer) = hub.pair();
    let echo = thread::spawn(move || {
        let mut received = Vec::new();
        peer.read_to_end(&mut received).unwrap();
        peer.write_all(&received).unwrap();
    });
    hub.send_all(key, &data).unwrap();
    hub.sockets.shutdown(key, Shutdown::Write).unwrap();
    let mut received = Vec::new();
    let mut buffer = vec![0; 10_007];
    loop {
        match hub.recv(key, &mut buffer).unwrap() {
            0 => break,
            length => received.extend_from_slice(&buffer[..length]),
        }
    }
    echo.join().unwrap();
    assert!(received == data);
}

#[test]
fn a_short_read_tells_that_nothing_is_left() {
    let mut hub = Hub::new();
    let (key, mut peer) = registered_pair(&mut hub);
    hub.set_reader(key, READER).unwrap();
    peer.write_all(b"abcdef").unwrap();
    let mut buffer = [0; 4];
    assert_eq!(hub.recv(key, &mut buffer).unwrap(), 4);
    assert_eq!(hub.sockets.try_recv(key, &mut buffer).unwrap(), 2);
    assert_would_block(hub.sockets.try_recv(key, &mut buffer));
    peer.write_all(b"g").unwrap();
    assert_eq!(hub.recv(key, &mut buffer).unwrap(), 1);
    assert_eq!(buffer[0], b'g');
}

#[test]
fn the_end_is_found_behind_a_short_read_without_another_event() {
    let mut hub = Hub::new();
    let (key, mut peer) = hub.pair();
    hub.set_reader(key, READER).unwrap();
    peer.write_all(b"last").unwrap();
    drop(peer);
    let mut buffer = [0; 64];
    let mut received = 0;
    loop {
        match hub.recv(key, &mut buffer).unwrap() {
            0 => break,
            length => received += length,
        }
    }
    assert_eq!(received, 4);
    assert_eq!(hub.recv(key, &mut buffer).unwrap(), 0, "the end stays");
}

#[test]
fn an_empty_buffer_moves_nothing() {
    let mut hub = Hub::new();
    let (key, _peer) = hub.pair();
    assert_eq!(hub.sockets.try_recv(key, &mut []).unwrap(), 0);
    assert_eq!(hub.sockets.try_send(key, &[]).unwrap(), 0);
}

#[test]
fn a_half_closed_connection_still_sends() {
    let mut hub = Hub::new();
    let (key, mut peer) = hub.pair();
    peer.shutdown(Shutdown::Write).unwrap();
    assert_eq!(hub.recv(key, &mut [0; 8]).unwrap(), 0);
    hub.send_all(key, b"still here").unwrap();
    hub.close(key);
    let mut received = String::new();
    peer.read_to_string(&mut received).unwrap();
    assert_eq!(received, "still here");
}

#[test]
fn shutting_down_reading_wakes_the_reader() {
    let mut hub = Hub::new();
    let (key, _peer) = hub.pair();
    assert_would_block(hub.sockets.try_recv(key, &mut [0]));
    hub.set_reader(key, READER).unwrap();
    hub.sockets.shutdown(key, Shutdown::Read).unwrap();
    assert_eq!(hub.woken().0, Some(READER));
    hub.clear_reader(key);
    assert_eq!(hub.recv(key, &mut [0]).unwrap(), 0);
}

#[test]
fn a_reset_by_the_peer_reaches_the_reader_and_the_writer() {
    let mut hub = Hub::new();
    let (key, peer) = hub.pair();
    hub.set_reader(key, READER).unwrap();
    hub.send_all(key, b"never read").unwrap();
    // Closing with unread data makes the kernel send a reset.
    peer.peek(&mut [0]).unwrap();
    drop(peer);
    assert_eq!(hub.woken().0, Some(READER));
    hub.clear_reader(key);
    let error = hub.recv(key, &mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let error = hub.send_all(key, b"x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

#[test]
fn closing_wakes_whoever_is_parked() {
    let mut hub = Hub::new();
    let (key, mut peer) = hub.pair();
    hub.set_reader(key, READER).unwrap();
    hub.set_writer(key, WRITER).unwrap();
    assert_eq!(hub.sockets.waiting(), 2);
    assert_eq!(hub.close(key), (Some(READER), Some(WRITER)));
    assert_eq!((hub.sockets.len(), hub.sockets.waiting()), (0, 0));
    assert_eq!(peer.read(&mut [0]).unwrap(), 0, "the peer sees the end");
    hub.clear_reader(key);
    assert_closed(hub.sockets.try_recv(key, &mut [0]));
}

#[test]
fn a_second_reader_is_refused_until_the_first_has_cleared_its_place() {
    let mut hub = Hub::new();
    let (key, mut peer) = hub.pair();
    let second = 99;
    hub.set_reader(key, READER).unwrap();
    assert!(matches!(hub.set_reader(key, second), Err(ParkError::Busy)));
    hub.set_writer(key, second).unwrap();
    hub.clear_writer(key);
    peer.write_all(b"x").unwrap();
    assert_eq!(hub.woken().0, Some(READER));
    assert!(matches!(hub.set_reader(key, second), Err(ParkError::Busy)));
    // Also before it tries, though there is something to read.
    assert!(hub.sockets.is_taken(key, Side::Read, Some(second)));
    assert!(!hub.sockets.is_taken(key, Side::Read, Some(READER)));
    hub.clear_reader(key);
    assert!(!hub.sockets.is_taken(key, Side::Read, Some(second)));
    hub.set_reader(key, second).unwrap();
    assert_eq!(hub.sockets.waiting(), 1);
}

#[test]
fn a_parked_stack_is_reported_once_until_it_parks_again() {
    let mut hub = Hub::new();
    let (key, mut peer) = hub.pair();
    let token = key.to_bits() as usize;
    let readable = greenstack_hub::Readiness { readable: true, ..Default::default() };
    hub.set_reader(key, READER).unwrap();
    assert_eq!(hub.sockets.on_event(token, readable), [Some(Waiter::Stack(READER)), None]);
    assert_eq!(hub.sockets.on_event(token, readable), [None, None]);
    assert_eq!(hub.close(key), (None, None), "it is awake already");
    assert_eq!(hub.sockets.on_event(token, readable), [None, None]);
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_stale_key_names_nothing_even_when_its_place_is_reused() {
    let mut hub = Hub::new();
    let (old, _old_peer) = hub.pair();
    hub.close(old);
    let (new, _new_peer) = hub.pair();
    assert_closed(hub.sockets.try_recv(old, &mut [0]));
    assert_closed(hub.sockets.try_send(old, b"x"));
    assert_closed(hub.sockets.try_send(old, b""));
    assert_closed(hub.sockets.take_connect_error(old));
    assert_closed(hub.sockets.shutdown(old, Shutdown::Both));
    assert_closed(hub.sockets.local_address(old));
    assert_closed(hub.sockets.peer_address(old));
    assert!(matches!(hub.set_reader(old, 1), Err(ParkError::Closed)));
    assert!(matches!(hub.set_writer(old, 1), Err(ParkError::Closed)));
    hub.clear_reader(old);
    assert_eq!(hub.close(old), (None, None));
    assert_eq!(hub.sockets.try_send(new, b"x").unwrap(), 1);
    assert_closed(hub.sockets.peer_address(SocketKey::from_bits(u64::MAX)));
}

#[test]
fn a_socket_that_was_never_waited_for_is_asked_each_time() {
    let mut hub = Hub::new();
    let [left, right] = hub.sockets.pair(false).unwrap();
    assert_would_block(hub.sockets.try_recv(left, &mut [0; 8]));
    hub.sockets.try_send(right, b"abc").unwrap();
    assert_eq!(hub.sockets.try_recv(left, &mut [0; 8]).unwrap(), 3);
    hub.sockets.try_send(right, b"d").unwrap();
    assert_eq!(hub.sockets.try_recv(left, &mut [0; 8]).unwrap(), 1);
}

#[test]
fn what_came_before_the_first_wait_is_an_event() {
    let mut hub = Hub::new();
    let [left, right] = hub.sockets.pair(false).unwrap();
    assert_would_block(hub.sockets.try_recv(left, &mut [0; 8]));
    hub.sockets.try_send(right, b"abc").unwrap();
    hub.set_reader(left, READER).unwrap();
    assert_eq!(hub.woken().0, Some(READER));
}

#[test]
fn connections_are_accepted_with_their_address() {
    let mut hub = Hub::new();
    let (listener, address) = hub.bound(false);
    hub.sockets.listen(listener, 8).unwrap();
    assert_eq!(hub.sockets.try_accept(listener).unwrap_err().kind(), ErrorKind::WouldBlock);
    let peer = TcpStream::connect(address).unwrap();
    let accepted = hub.until_ready(listener, |sockets| sockets.try_accept(listener)).unwrap();
    let from = Some(Address::Inet(peer.local_addr().unwrap()));
    drop(peer);
    assert_eq!(hub.sockets.peer_address(accepted).unwrap(), from);
    assert!(hub.sockets.kind(listener).unwrap().listening);
    assert!(!hub.sockets.kind(accepted).unwrap().listening);
}

#[test]
fn a_slot_is_told_once_and_forgotten() {
    let mut hub = Hub::new();
    let [left, right] = hub.sockets.pair(false).unwrap();
    hub.note(left, Side::Read, Waiter::Slot(7)).unwrap();
    assert!(matches!(hub.set_reader(left, READER), Err(ParkError::Busy)));
    assert_eq!(hub.sockets.waiting(), 1);
    hub.sockets.try_send(right, b"x").unwrap();
    assert_eq!(hub.told(), [Some(Waiter::Slot(7)), None]);
    assert_eq!(hub.sockets.waiting(), 0);
    assert!(!hub.sockets.clear(left, Side::Read));
    hub.sockets.note(&hub.poller, left, Side::Read, Waiter::Slot(8), false).unwrap();
    assert_eq!(hub.sockets.waiting(), 0, "it keeps nothing alive");
    assert_eq!(hub.sockets.close(&hub.poller, left), [Some(Waiter::Slot(8)), None]);
}

#[test]
fn datagrams_keep_their_bounds_and_tell_their_sender() {
    let mut hub = Hub::new();
    let (key, address) = hub.bound(true);
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    let from = Some(Address::Inet(peer.local_addr().unwrap()));
    for data in [&b"one"[..], b"", b"three"] {
        peer.send_to(data, address).unwrap();
    }
    let mut buffer = [0; 4];
    let mut next = || hub.until_ready(key, |sockets| sockets.try_recv_from(key, &mut buffer)).unwrap();
    assert_eq!([next(), next(), next()], [(3, from.clone()), (0, from.clone()), (5, from.clone())]);
    assert_eq!(hub.sockets.try_send_to(key, b"back", from.as_ref()).unwrap(), 4);
    assert_eq!(peer.recv(&mut buffer).unwrap(), 4);
}

#[test]
fn unix_sockets_have_paths_and_abstract_names() {
    let mut hub = Hub::new();
    let path = std::env::temp_dir().join(format!("greenstack-unix-{}", std::process::id()));
    let name = format!("\0greenstack-unix-{}", std::process::id());
    for bytes in [path.to_str().unwrap().as_bytes(), name.as_bytes()] {
        let address = Address::Unix(bytes.into());
        let listener = hub.sockets.open(SocketFamily::Unix, false).unwrap();
        hub.sockets.bind(listener, &address).unwrap();
        hub.sockets.listen(listener, 8).unwrap();
        assert_eq!(hub.sockets.local_address(listener).unwrap(), Some(address.clone()));
        let key = hub.sockets.open(SocketFamily::Unix, false).unwrap();
        assert!(hub.sockets.connect(key, address.clone()).unwrap());
        let accepted = hub.sockets.try_accept(listener).unwrap();
        assert_eq!(hub.sockets.peer_address(accepted).unwrap(), Some(Address::Unix(Box::default())));
        assert_eq!(hub.sockets.peer_address(key).unwrap(), Some(address));
    }
    std::fs::remove_file(path).unwrap();
    let long = Address::Unix(vec![b'x'; 300].into());
    let key = hub.sockets.open(SocketFamily::Unix, false).unwrap();
    assert_eq!(hub.sockets.bind(key, &long).unwrap_err().raw_os_error(), Some(36));
}

#[test]
fn a_socket_can_be_given_away_and_taken_over() {
    let mut hub = Hub::new();
    let (key, mut peer) = hub.pair();
    hub.set_reader(key, READER).unwrap();
    let (descriptor, told) = hub.sockets.detach(&hub.poller, key).unwrap();
    assert_eq!(told, [Some(Waiter::Stack(READER)), None]);
    assert_eq!((hub.sockets.len(), hub.sockets.waiting()), (0, 0));
    assert_closed(hub.sockets.descriptor(key));
    let stream = UnixStream::from(descriptor);
    stream.set_nonblocking(false).unwrap();
    let key = hub.sockets.adopt(stream.into()).unwrap();
    peer.write_all(b"x").unwrap();
    assert_eq!(hub.recv(key, &mut [0]).unwrap(), 1);
    let file = File::open("/dev/null").unwrap();
    let key = hub.sockets.adopt(file.into()).unwrap();
    assert_eq!(hub.sockets.kind(key).unwrap_err().raw_os_error(), Some(88));
}

#[test]
fn a_file_is_sent_without_being_read() {
    let mut hub = Hub::new();
    let (key, mut peer) = hub.pair();
    let path = std::env::temp_dir().join(format!("greenstack-file-{}", std::process::id()));
    std::fs::write(&path, b"0123456789").unwrap();
    let file = File::open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    assert_eq!(hub.sockets.try_send_file(key, &file, 2, 4).unwrap(), 4);
    assert_eq!(hub.sockets.try_send_file(key, &file, 8, 100).unwrap(), 2);
    assert_eq!(hub.sockets.try_send_file(key, &file, 10, 100).unwrap(), 0);
    assert_eq!(hub.sockets.try_send_file(key, &file, 0, 0).unwrap(), 0);
    let mut received = [0; 6];
    peer.read_exact(&mut received).unwrap();
    assert_eq!(&received, b"234589");
}

#[test]
fn options_are_set_and_read_by_name() {
    let mut hub = Hub::new();
    let (tcp, _) = hub.bound(false);
    let (udp, _) = hub.bound(true);
    let options = [
        (tcp, "noDelay", 1.0),
        (tcp, "keepAlive", 1.0),
        (tcp, "keepAliveIdle", 7_000.0),
        (tcp, "keepAliveInterval", 3_000.0),
        (tcp, "keepAliveCount", 4.0),
        (tcp, "linger", 2_000.0),
        (tcp, "linger", -1.0),
        (tcp, "reuseAddr", 1.0),
        (tcp, "ttl", 33.0),
        (udp, "broadcast", 1.0),
        (udp, "multicastTtl", 5.0),
        (udp, "multicastLoop", 0.0),
        (udp, "trafficClass", 16.0),
    ];
    for (key, name, value) in options {
        hub.sockets.set_option(key, name, value).unwrap();
        assert_eq!(hub.sockets.option(key, name).unwrap(), value, "{name}");
    }
    hub.sockets.set_option(tcp, "receiveBufferSize", 8192.0).unwrap();
    assert!(hub.sockets.option(tcp, "receiveBufferSize").unwrap() >= 8192.0);
    assert_eq!(hub.sockets.set_option(tcp, "colour", 1.0).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(hub.sockets.option(tcp, "colour").unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn multicast_groups_are_joined_and_left() {
    let mut hub = Hub::new();
    let (key, _) = hub.bound(true);
    let group = "239.1.2.3".parse().unwrap();
    hub.sockets.set_multicast_interface(key, Ipv4Addr::LOCALHOST, 0).unwrap();
    hub.sockets.set_membership(key, group, 1, true).unwrap();
    hub.sockets.set_membership(key, group, 1, false).unwrap();
    let error = hub.sockets.set_membership(key, group, 1, false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
}

#[test]
fn the_system_tells_which_sides_are_ready() {
    let mut hub = Hub::new();
    let [left, right] = hub.sockets.pair(false).unwrap();
    assert_eq!(hub.sockets.poll_sides(left).unwrap(), (false, true));
    hub.sockets.try_send(right, b"x").unwrap();
    assert_eq!(hub.sockets.poll_sides(left).unwrap(), (true, true));
}

#[test]
fn a_file_cannot_be_waited_for() {
    let mut hub = Hub::new();
    let file = File::open("/proc/self/exe").unwrap();
    let key = hub.sockets.watch_copy(file.into());
    match hub.set_reader(key, READER) {
        Err(ParkError::System(error)) => assert_eq!(error.kind(), ErrorKind::PermissionDenied),
        other => panic!("{other:?}"),
    }
    assert_eq!(hub.sockets.waiting(), 0);
}

#[test]
fn a_copy_can_be_watched_again_after_another_was_closed() {
    let mut hub = Hub::new();
    let (reader, mut writer) = io::pipe().unwrap();
    for _ in 0..3 {
        let copy = hub.sockets.watch_copy(reader.try_clone().unwrap().into());
        hub.set_reader(copy, READER).unwrap();
        writer.write_all(b"x").unwrap();
        assert_eq!(hub.woken().0, Some(READER));
        assert_eq!(hub.close(copy), (None, None));
    }
}

#[test]
fn a_watched_side_that_was_ready_is_asked_again() {
    let mut hub = greenstack_hub::Hub::new().unwrap();
    let [left, right] = hub.sockets.pair(false).unwrap();
    hub.watch_socket(left, Side::Read, 1, true).unwrap();
    hub.sockets.try_send(right, b"abc").unwrap();
    hub.poll(None).unwrap();
    assert_eq!(hub.pop(), Some(Ready::Call(1)));
    hub.watch_socket(left, Side::Read, 2, true).unwrap();
    assert_eq!(hub.pop(), Some(Ready::Call(2)), "it has not been read");
    // As many as there were: nothing tells that no more are left.
    assert_eq!(hub.sockets.try_recv(left, &mut [0; 3]).unwrap(), 3);
    hub.watch_socket(left, Side::Read, 3, true).unwrap();
    assert_eq!(hub.pop(), None);
    hub.sockets.try_send(right, b"d").unwrap();
    hub.poll(None).unwrap();
    assert_eq!(hub.pop(), Some(Ready::Call(3)));
}
