//! TCP sockets against plain blocking ones on the loopback.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use greenstack_hub::{Event, ParkError, Poller, SocketKey, Sockets, StackId};

const READER: StackId = 1;
const WRITER: StackId = 2;

/// A hub without stacks: it parks the test itself.
struct Hub {
    poller: Poller,
    sockets: Sockets,
}

impl Hub {
    fn new() -> Self {
        Self { poller: Poller::new().unwrap(), sockets: Sockets::new() }
    }

    /// Polls until somebody is woken.
    fn woken(&mut self) -> (Option<StackId>, Option<StackId>) {
        let Self { poller, sockets } = self;
        let mut woken = (None, None);
        while woken == (None, None) {
            poller
                .poll(None, |_, event| {
                    if let Event::Io { token, readiness } = event {
                        let (reader, writer) = sockets.on_event(token, readiness);
                        woken = (woken.0.or(reader), woken.1.or(writer));
                    }
                })
                .unwrap();
        }
        woken
    }

    fn start_connect(&mut self, address: SocketAddr) -> SocketKey {
        let (key, _) = self.sockets.connect(&self.poller, address, None).unwrap();
        key
    }

    fn finish_connect(&mut self, key: SocketKey) -> io::Result<()> {
        while !self.sockets.take_connect_error(key)? {
            self.sockets.set_writer(key, WRITER).unwrap();
            assert_eq!(self.woken().1, Some(WRITER));
            self.sockets.clear_writer(key);
        }
        Ok(())
    }

    fn recv(&mut self, key: SocketKey, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.sockets.try_recv(key, buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result,
            }
            self.sockets.set_reader(key, READER).unwrap();
            assert_eq!(self.woken().0, Some(READER));
            self.sockets.clear_reader(key);
        }
    }

    fn send_all(&mut self, key: SocketKey, mut data: &[u8]) -> io::Result<()> {
        while !data.is_empty() {
            match self.sockets.try_send(key, data) {
                Ok(sent) => data = &data[sent..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.sockets.set_writer(key, WRITER).unwrap();
                    assert_eq!(self.woken().1, Some(WRITER));
                    self.sockets.clear_writer(key);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn close(&mut self, key: SocketKey) -> (Option<StackId>, Option<StackId>) {
        self.sockets.close(&self.poller, key)
    }

    /// A connected socket and its peer.
    fn pair(&mut self) -> (SocketKey, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let key = self.start_connect(listener.local_addr().unwrap());
        self.finish_connect(key).unwrap();
        (key, listener.accept().unwrap().0)
    }
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
    assert_eq!(hub.sockets.peer_addr(key).unwrap(), peer.local_addr().unwrap());
    assert_eq!(hub.sockets.local_addr(key).unwrap(), peer.peer_addr().unwrap());
    assert_eq!(SocketKey::from_bits(key.to_bits()), key);
}

#[test]
fn a_connection_starts_from_the_address_given() {
    let mut hub = Hub::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let local = "127.0.0.2:0".parse().unwrap();
    let (key, _) = hub.sockets.connect(&hub.poller, listener.local_addr().unwrap(), Some(local)).unwrap();
    hub.finish_connect(key).unwrap();
    let (peer, _) = listener.accept().unwrap();
    assert_eq!(peer.peer_addr().unwrap().ip(), local.ip());
}

#[test]
fn an_address_of_somebody_else_cannot_be_bound() {
    let mut hub = Hub::new();
    let local = Some("192.0.2.1:0".parse().unwrap());
    let result = hub.sockets.connect(&hub.poller, "127.0.0.1:9".parse().unwrap(), local);
    assert_eq!(result.unwrap_err().kind(), ErrorKind::AddrNotAvailable);
    assert!(hub.sockets.is_empty());
}

#[test]
fn a_refused_connection_says_so() {
    let mut hub = Hub::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = match hub.sockets.connect(&hub.poller, address, None) {
        Ok((key, _)) => {
            let error = hub.finish_connect(key).unwrap_err();
            hub.close(key);
            error
        }
        Err(error) => error,
    };
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert_eq!((hub.sockets.len(), hub.sockets.waiting()), (0, 0));
}

#[test]
fn a_socket_that_connects_is_not_ready() {
    let mut hub = Hub::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (key, connected) = hub.sockets.connect(&hub.poller, address, None).unwrap();
    if !connected {
        assert!(!hub.sockets.take_connect_error(key).unwrap());
        assert_would_block(hub.sockets.try_recv(key, &mut [0]));
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
    let (key, mut peer) = hub.pair();
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
    hub.sockets.set_reader(key, READER).unwrap();
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
    hub.sockets.set_reader(key, READER).unwrap();
    hub.sockets.shutdown(key, Shutdown::Read).unwrap();
    assert_eq!(hub.woken().0, Some(READER));
    hub.sockets.clear_reader(key);
    assert_eq!(hub.recv(key, &mut [0]).unwrap(), 0);
}

#[test]
fn a_reset_by_the_peer_reaches_the_reader_and_the_writer() {
    let mut hub = Hub::new();
    let (key, peer) = hub.pair();
    hub.sockets.set_reader(key, READER).unwrap();
    hub.send_all(key, b"never read").unwrap();
    // Closing with unread data makes the kernel send a reset.
    peer.peek(&mut [0]).unwrap();
    drop(peer);
    assert_eq!(hub.woken().0, Some(READER));
    hub.sockets.clear_reader(key);
    let error = hub.recv(key, &mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let error = hub.send_all(key, b"x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

#[test]
fn closing_wakes_whoever_is_parked() {
    let mut hub = Hub::new();
    let (key, mut peer) = hub.pair();
    hub.sockets.set_reader(key, READER).unwrap();
    hub.sockets.set_writer(key, WRITER).unwrap();
    assert_eq!(hub.sockets.waiting(), 2);
    assert_eq!(hub.close(key), (Some(READER), Some(WRITER)));
    assert_eq!((hub.sockets.len(), hub.sockets.waiting()), (0, 0));
    assert_eq!(peer.read(&mut [0]).unwrap(), 0, "the peer sees the end");
    hub.sockets.clear_reader(key);
    assert_closed(hub.sockets.try_recv(key, &mut [0]));
}

#[test]
fn a_second_reader_is_refused_until_the_first_has_cleared_its_place() {
    let mut hub = Hub::new();
    let (key, mut peer) = hub.pair();
    let second = 99;
    hub.sockets.set_reader(key, READER).unwrap();
    assert_eq!(hub.sockets.set_reader(key, second), Err(ParkError::Busy));
    assert_eq!(hub.sockets.set_writer(key, second), Ok(()));
    hub.sockets.clear_writer(key);
    peer.write_all(b"x").unwrap();
    assert_eq!(hub.woken().0, Some(READER));
    assert_eq!(hub.sockets.set_reader(key, second), Err(ParkError::Busy));
    assert_eq!(hub.sockets.reader(key), Some(READER));
    hub.sockets.clear_reader(key);
    assert_eq!(hub.sockets.set_reader(key, second), Ok(()));
    assert_eq!(hub.sockets.waiting(), 1);
}

#[test]
fn a_parked_stack_is_reported_once_until_it_parks_again() {
    let mut hub = Hub::new();
    let (key, mut peer) = hub.pair();
    let token = key.to_bits() as usize;
    let readable = greenstack_hub::Readiness { readable: true, ..Default::default() };
    hub.sockets.set_reader(key, READER).unwrap();
    assert_eq!(hub.sockets.on_event(token, readable), (Some(READER), None));
    assert_eq!(hub.sockets.on_event(token, readable), (None, None));
    assert_eq!(hub.close(key), (None, None), "it is awake already");
    assert_eq!(hub.sockets.on_event(token, readable), (None, None));
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
    assert_closed(hub.sockets.local_addr(old));
    assert_closed(hub.sockets.peer_addr(old));
    assert_eq!(hub.sockets.set_reader(old, 1), Err(ParkError::Closed));
    assert_eq!(hub.sockets.set_writer(old, 1), Err(ParkError::Closed));
    hub.sockets.clear_reader(old);
    assert_eq!(hub.close(old), (None, None));
    assert_eq!(hub.sockets.try_send(new, b"x").unwrap(), 1);
    assert_closed(hub.sockets.peer_addr(SocketKey::from_bits(u64::MAX)));
}
