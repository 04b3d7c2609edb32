//! The thread that asks, and how replies come back from it.

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::client::Reply;
use super::error::DnsError;
use crate::poller::Waker;
use crate::slab::Key;

/// A reply on its way to the hub.
pub(super) struct Letter {
    pub(super) flight: Key,
    pub(super) reply: Reply,
}

/// Where replies wait for the hub.
pub(super) struct Inbox {
    letters: Mutex<Vec<Letter>>,
    waker: Waker,
}

impl Inbox {
    pub(super) fn new(waker: Waker) -> Self {
        Self { letters: Mutex::default(), waker }
    }

    /// Takes the replies that have come, in order of arrival.
    pub(super) fn take(&self) -> Vec<Letter> {
        std::mem::take(&mut *self.lock())
    }

    fn put(&self, letter: Letter) {
        let mut letters = self.lock();
        letters.push(letter);
        if letters.len() == 1 {
            drop(letters);
            // Fails only if the poller's descriptor is broken, and then nobody waits any more.
            let _ = self.waker.wake();
        }
    }

    /// A panic elsewhere cannot leave the queue half-changed.
    fn lock(&self) -> MutexGuard<'_, Vec<Letter>> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The duty to reply to a question, once: a task that ends without a reply (it panicked) has replied too.
pub(super) struct Ticket {
    flight: Key,
    inbox: Option<Arc<Inbox>>,
}

impl Ticket {
    pub(super) fn new(flight: Key, inbox: &Arc<Inbox>) -> Self {
        Self { flight, inbox: Some(Arc::clone(inbox)) }
    }

    pub(super) fn answer(mut self, reply: Reply) {
        self.deliver(reply);
    }

    fn deliver(&mut self, reply: Reply) {
        if let Some(inbox) = self.inbox.take() {
            inbox.put(Letter { flight: self.flight, reply });
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.deliver(Reply::failed(DnsError::cancelled()));
    }
}

/// The thread. Dropping it drops what it does and waits for it, which takes no long.
pub(super) struct Thread {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Thread {
    pub(super) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("greenstack-dns".into()).spawn(move || {
            // Ends when the sender is dropped.
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Self { handle, stop: Some(stop), thread: Some(thread) })
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.handle.spawn(task).abort_handle()
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // It panicked, or it did not: it is gone.
            let _ = thread.join();
        }
    }
}
