//! Waking, readiness and registration from within the callback.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use greenstack_hub::{Event, Poller, Readiness};

fn poll(poller: &mut Poller, timeout: Option<Duration>) -> Vec<Event> {
    let mut events = Vec::new();
    poller.poll(timeout, |_, event| events.push(event)).expect("the poll succeeds");
    events
}

/// A connected pair: one end for the poller, one for the test.
fn pair() -> (mio::net::TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    near.set_nonblocking(true).unwrap();
    let (far, _) = listener.accept().unwrap();
    (mio::net::TcpStream::from_std(near), far)
}

#[test]
fn nothing_registered_nothing_reported() {
    let mut poller = Poller::new().unwrap();
    assert_eq!(poll(&mut poller, Some(Duration::ZERO)), []);
}

#[test]
fn a_timeout_is_waited_for() {
    let mut poller = Poller::new().unwrap();
    let start = Instant::now();
    assert_eq!(poll(&mut poller, Some(Duration::from_millis(20))), []);
    assert!(start.elapsed() >= Duration::from_millis(20));
}

#[test]
fn a_waker_wakes_from_another_thread() {
    let mut poller = Poller::new().unwrap();
    let waker = poller.waker();
    let thread = thread::spawn(move || {
        thread::sleep(Duration::from_millis(10));
        waker.wake().unwrap();
    });
    assert_eq!(poll(&mut poller, None), [Event::Woken]);
    thread.join().unwrap();
}

#[test]
fn many_wakes_are_one_event_and_then_none() {
    let mut poller = Poller::new().unwrap();
    let waker = poller.waker();
    for _ in 0..1_000 {
        waker.clone().wake().unwrap();
    }
    assert_eq!(poll(&mut poller, None), [Event::Woken]);
    assert_eq!(poll(&mut poller, Some(Duration::ZERO)), []);
    waker.wake().unwrap();
    assert_eq!(poll(&mut poller, None), [Event::Woken]);
}

#[test]
fn a_waker_outlives_its_poller() {
    let waker = Poller::new().unwrap().waker();
    waker.wake().unwrap();
}

#[test]
fn a_change_is_reported_once() {
    let mut poller = Poller::new().unwrap();
    let (mut near, mut far) = pair();
    poller.register(&mut near, 7).unwrap();
    let ready = |readable| Event::Io {
        token: 7,
        readiness: Readiness { readable, writable: true, ..Readiness::default() },
    };
    assert_eq!(poll(&mut poller, None), [ready(false)]);
    assert_eq!(poll(&mut poller, Some(Duration::ZERO)), []);
    far.write_all(b"x").unwrap();
    assert_eq!(poll(&mut poller, None), [ready(true)]);
    assert_eq!(poll(&mut poller, Some(Duration::ZERO)), []);
    poller.deregister(&mut near).unwrap();
    far.write_all(b"x").unwrap();
    assert_eq!(poll(&mut poller, Some(Duration::from_millis(10))), []);
}

#[test]
fn the_end_of_a_stream_is_told_from_data() {
    let mut poller = Poller::new().unwrap();
    let (mut near, far) = pair();
    drop(far);
    poller.register(&mut near, 1).unwrap();
    let events = poll(&mut poller, None);
    let [Event::Io { readiness, .. }] = events[..] else {
        panic!("{events:?}");
    };
    assert!(readiness.readable && readiness.read_closed);
}

#[test]
fn the_callback_may_change_registrations() {
    let mut poller = Poller::new().unwrap();
    let (mut first, _far) = pair();
    let (mut second, _other_far) = pair();
    poller.register(&mut first, 1).unwrap();
    let mut tokens = Vec::new();
    poller
        .poll(None, |poller, event| {
            poller.deregister(&mut first).unwrap();
            poller.register(&mut second, 2).unwrap();
            tokens.push(event);
        })
        .unwrap();
    poller.poll(None, |_, event| tokens.push(event)).unwrap();
    let tokens = tokens.iter().map(|event| match event {
        Event::Io { token, .. } => *token,
        Event::Woken => usize::MAX,
    });
    assert_eq!(Vec::from_iter(tokens), [1, 2]);
}

#[test]
#[should_panic(expected = "the token is reserved")]
fn the_token_of_the_waker_is_reserved() {
    let (mut near, _far) = pair();
    let _ = Poller::new().unwrap().register(&mut near, usize::MAX);
}

#[cfg(unix)]
#[test]
fn the_descriptor_is_readable_when_there_are_events() {
    use std::os::fd::AsRawFd;

    let mut inner = Poller::new().unwrap();
    let mut outer = Poller::new().unwrap();
    let descriptor = inner.as_raw_fd();
    outer.register(&mut mio::unix::SourceFd(&descriptor), 3).unwrap();
    assert_eq!(poll(&mut outer, Some(Duration::ZERO)), []);
    inner.waker().wake().unwrap();
    let events = poll(&mut outer, None);
    assert!(matches!(&events[..], [Event::Io { token: 3, readiness }] if readiness.readable));
    assert_eq!(poll(&mut inner, Some(Duration::ZERO)), [Event::Woken]);
}
