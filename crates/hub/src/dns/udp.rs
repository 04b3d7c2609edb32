//! Questions by UDP: many on one socket, told apart by their ids.
//!
//! A socket of its own for each question would cost more than all the rest of it. So a socket serves a number of questions,
//! then another one with a new port takes over: who wants to forge an answer has to guess the port, the id and the question.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use hickory_resolver::proto::op::Message;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::error::DnsError;

/// How many questions one socket serves.
const QUESTIONS: u32 = 4096;
/// How long a socket is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(10);
/// The largest answer that is taken. Questions tell servers to send no more than 1232 bytes.
pub(super) const LARGEST: usize = 4096;

const HEADER: usize = 12;

/// What asks one name server by UDP.
pub(super) struct Udp {
    server: SocketAddr,
    current: Arc<Mutex<Option<Arc<Socket>>>>,
}

impl Udp {
    pub(super) fn new(server: SocketAddr) -> Self {
        Self { server, current: Arc::default() }
    }

    /// Asks, and waits for ever for the answer. Of the answer it is only known that it has the id and the question.
    ///
    /// `message` gets the id with which it was sent.
    pub(super) async fn ask(&self, message: &mut Message) -> Result<Vec<u8>, DnsError> {
        let socket = self.socket().map_err(DnsError::unreachable)?;
        let mut query = message.to_vec().map_err(|_| DnsError::bad_name())?;
        let (answered, answer) = oneshot::channel();
        let _asking = socket.line.register(message, &mut query, answered);
        socket.line.udp.send(&query).await.map_err(DnsError::unreachable)?;
        match answer.await {
            Ok(answer) => answer.map_err(DnsError::unreachable),
            Err(_) => Err(DnsError::cancelled()),
        }
    }

    fn socket(&self) -> io::Result<Arc<Socket>> {
        let mut current = lock(&self.current);
        if let Some(socket) = &*current
            && socket.questions.fetch_add(1, Ordering::Relaxed) < QUESTIONS
        {
            return Ok(Arc::clone(socket));
        }
        let socket = Arc::new(Socket::new(self.server, Arc::downgrade(&self.current))?);
        Ok(Arc::clone(current.insert(socket)))
    }
}

/// A socket, and the task that takes its answers. Lives until it is replaced and nobody waits for an answer any more.
struct Socket {
    line: Arc<Line>,
    questions: AtomicU32,
    reader: AbortHandle,
}

impl Socket {
    fn new(server: SocketAddr, current: Weak<Mutex<Option<Arc<Self>>>>) -> io::Result<Self> {
        let local: SocketAddr = match server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = std::net::UdpSocket::bind(local)?;
        // The system then takes packets of this server only, and reports that nobody listens there.
        socket.connect(server)?;
        socket.set_nonblocking(true)?;
        let line = Arc::new(Line::new(UdpSocket::from_std(socket)?));
        let reader = tokio::spawn(read(Arc::clone(&line), current)).abort_handle();
        Ok(Self { line, questions: AtomicU32::new(1), reader })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Takes answers until nobody has asked for a while.
async fn read(line: Arc<Line>, current: Weak<Mutex<Option<Arc<Socket>>>>) {
    let mut buffer = vec![0; LARGEST];
    loop {
        match timeout(IDLE, line.udp.ready(Interest::READABLE | Interest::ERROR)).await {
            Ok(Ok(ready)) => {
                if ready.is_error() {
                    line.take_error();
                }
                line.take(&mut buffer);
            }
            Ok(Err(error)) => line.fail(&error),
            Err(_) => {
                let Some(current) = current.upgrade() else { return };
                let mut current = lock(&current);
                let is_current = current.as_ref().is_some_and(|socket| Arc::ptr_eq(&socket.line, &line));
                if is_current && lock(&line.waiting).is_empty() {
                    current.take();
                    return;
                }
            }
        }
    }
}

struct Line {
    udp: UdpSocket,
    waiting: Mutex<HashMap<u16, Waiting>>,
    registered: AtomicU64,
}

struct Waiting {
    /// Tells it from others that have had the same id before.
    number: u64,
    /// The question section that was sent.
    question: Box<[u8]>,
    answer: oneshot::Sender<Result<Vec<u8>, io::Error>>,
}

/// Somebody waits for an answer, until this is dropped.
struct Asking<'a> {
    line: &'a Line,
    id: u16,
    number: u64,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut waiting = lock(&self.line.waiting);
        // Once it is answered, another question may have got the id.
        if waiting.get(&self.id).is_some_and(|asked| asked.number == self.number) {
            waiting.remove(&self.id);
        }
    }
}

impl Line {
    fn new(udp: UdpSocket) -> Self {
        Self { udp, waiting: Mutex::default(), registered: AtomicU64::new(0) }
    }

    /// Gives the question an id that no other has.
    fn register(
        &self,
        message: &mut Message,
        query: &mut [u8],
        answer: oneshot::Sender<Result<Vec<u8>, io::Error>>,
    ) -> Asking<'_> {
        let mut waiting = lock(&self.waiting);
        while waiting.contains_key(&message.metadata.id) {
            message.metadata.id = Message::query().metadata.id;
        }
        let id = message.metadata.id;
        query[..2].copy_from_slice(&id.to_be_bytes());
        let end = question_end(query).unwrap_or(query.len());
        let number = self.registered.fetch_add(1, Ordering::Relaxed);
        waiting.insert(id, Waiting { number, question: query[HEADER..end].into(), answer });
        Asking { line: self, id, number }
    }

    /// Takes all that has come.
    fn take(&self, buffer: &mut [u8]) {
        loop {
            match self.udp.try_recv(buffer) {
                Ok(length) => self.deliver(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => self.fail(&error),
            }
        }
    }

    /// Takes the news that nobody listens there.
    fn take_error(&self) {
        if let Ok(Some(error)) = self.udp.take_error() {
            self.fail(&error);
        }
        // Tells tokio that there is no error any more.
        let _ = self.udp.try_io(Interest::ERROR, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
    }

    /// Hands an answer to whoever has asked that. Others are forged, late or nonsense, and nobody's.
    fn deliver(&self, packet: &[u8]) {
        let Some(&[high, low, flags, code]) = packet.get(..4) else { return };
        let id = u16::from_be_bytes([high, low]);
        let is_response = flags & 0x80 != 0;
        let mut waiting = lock(&self.waiting);
        let Some(asked) = waiting.get(&id).filter(|_| is_response) else { return };
        let is_failure = code & 0x0f != 0;
        if repeats(packet, &asked.question) || (is_failure && has_no_question(packet)) {
            let asked = waiting.remove(&id);
            drop(waiting);
            if let Some(asked) = asked {
                // Who has asked may just have gone.
                let _ = asked.answer.send(Ok(packet.to_vec()));
            }
        }
    }

    /// Tells everybody that the server cannot be reached.
    fn fail(&self, error: &io::Error) {
        let waiting = std::mem::take(&mut *lock(&self.waiting));
        for (_, asked) in waiting {
            let _ = asked.answer.send(Err(io::Error::new(error.kind(), error.to_string())));
        }
    }
}

/// Where the question of a query ends.
fn question_end(query: &[u8]) -> Option<usize> {
    let mut at = HEADER;
    loop {
        match usize::from(*query.get(at)?) {
            0 => return Some(at + 5),
            length => at += length + 1,
        }
    }
}

/// Whether a packet has the question; servers may change the case of letters.
fn repeats(packet: &[u8], question: &[u8]) -> bool {
    let repeated = packet.get(HEADER..HEADER + question.len());
    packet.get(4..6) == Some(&[0, 1])
        && repeated.is_some_and(|repeated| repeated.eq_ignore_ascii_case(question))
}

/// Servers that do not understand a question may leave it out.
fn has_no_question(packet: &[u8]) -> bool {
    packet.len() >= HEADER && packet[4..6] == [0, 0]
}

/// A panic elsewhere cannot leave these half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::op::Query;
    use hickory_resolver::proto::rr::{Name, RecordType};

    use super::*;

    #[test]
    fn an_id_that_is_used_again_belongs_to_the_later_question() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let line = Line::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
            let ask = |id: Option<u16>| {
                let mut message = Message::query();
                message.metadata.id = id.unwrap_or(message.metadata.id);
                message.add_query(Query::query(Name::from_ascii("a.test.").unwrap(), RecordType::A));
                let mut query = message.to_vec().unwrap();
                let (answered, answer) = oneshot::channel();
                let asking = line.register(&mut message, &mut query, answered);
                query[2] |= 0x80;
                (asking, answer, query)
            };
            let (first, first_answer, packet) = ask(None);
            line.deliver(&packet);
            let (second, second_answer, same) = ask(Some(first.id));
            assert_eq!(second.id, first.id);
            drop(first);
            line.deliver(&same);
            assert_eq!(first_answer.await.unwrap().unwrap(), packet);
            assert_eq!(second_answer.await.unwrap().unwrap(), same);
            drop(second);
            assert!(lock(&line.waiting).is_empty());
            let (third, _answer, _) = ask(None);
            let (fourth, _answer, _) = ask(Some(third.id));
            assert_ne!(fourth.id, third.id, "an id in use is not given again");
        });
    }
}
