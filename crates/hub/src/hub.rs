//! One loop: what is ready, what is due, what the system reports.
//!
//! The hub hands out [`Ready`] entries in strict order of becoming ready, whatever made them so: a wake-up
//! by another greenlet, an event on a socket, a deadline, an answer from the name resolver. It does not
//! know what a stack is, only its number; entering it is the caller's business.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::clock::{Clock, StoppableClock, as_nanos};
use crate::dns::{Answer, Dns, ResolverId, ResolverOptions, Wanted};
use crate::error::ParkError;
use crate::http::{Http, Serving, Streams};
use crate::net::{Side, SocketKey, Sockets, StackId, Waiter as SocketWaiter};
use crate::poller::{Event, Poller};
use crate::timers::{TimerKey, Timers};
use crate::tls::{ConfigError, ConfigKey, TlsKey, TlsSockets};
use crate::wakers::{HubNumber, Membership};

/// An entry of the ready queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// Enter this stack, which is parked.
    Wake(StackId),
    /// Start this many greenlets from the queue of those spawned.
    Start(u32),
    /// Call what the timer of this slot is for.
    Call(u32),
    /// See to this connection of a server of HTTP: [`Serving::serve`].
    Connection(u32),
    /// See to this server of HTTP: [`Serving::accept`].
    Accept(u32),
}

/// The slot of [`Ready::Call`] when another thread has woken the hub; `src/hub.ts` has the same. No timer gets so far.
pub const WOKEN_SLOT: u32 = 0x7fff_fffe;

/// Why a parked stack is entered again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Its deadline passed.
    Deadline,
    /// What it waits for happened, or is worth another try.
    #[default]
    Woken,
    /// An error is to be thrown in it. Overrides the others, so that nothing is consumed and then lost.
    Interrupted,
}

/// What the hub knows of one stack.
#[derive(Debug, Default)]
struct Waiter {
    queued: bool,
    cause: Cause,
    deadline: Option<TimerKey>,
    /// Whether the deadline has passed, and was not cleared since. The cause alone does not tell: the stack may have been
    /// woken besides, in vain.
    overdue: bool,
}

impl Waiter {
    /// Notes why it is to be entered; `true` if it has to be queued for that.
    fn mark(&mut self, cause: Cause) -> bool {
        self.cause = if self.queued { self.cause.max(cause) } else { cause };
        !std::mem::replace(&mut self.queued, true)
    }
}

/// What the hub knows of all stacks, by number.
#[derive(Default)]
pub(crate) struct Waiters(Vec<Waiter>);

impl Waiters {
    fn of(&mut self, stack: StackId) -> &mut Waiter {
        let index = stack as usize;
        if index >= self.0.len() {
            self.0.resize_with(index + 1, Waiter::default);
        }
        &mut self.0[index]
    }

    /// Makes ready who waited.
    pub(crate) fn tell(&mut self, ready: &mut VecDeque<Ready>, told: SocketWaiter) {
        match told {
            SocketWaiter::Stack(stack) => {
                if self.of(stack).mark(Cause::Woken) {
                    ready.push_back(Ready::Wake(stack));
                }
            }
            SocketWaiter::Slot(slot) => ready.push_back(Ready::Call(slot)),
            SocketWaiter::Connection(index) => ready.push_back(Ready::Connection(index)),
            SocketWaiter::Listener(server) => ready.push_back(Ready::Accept(server)),
        }
    }
}

/// What a timer is for.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    Stack(StackId),
    Slot(u32),
    /// A look at the deadlines of connections.
    Sweep,
}

#[derive(Clone, Copy, Debug)]
struct Due {
    purpose: Purpose,
    /// Whether it keeps the process alive.
    referenced: bool,
}

/// The event loop of one thread.
pub struct Hub {
    /// The time of timers.
    clock: StoppableClock,
    ready: VecDeque<Ready>,
    waiters: Waiters,
    timers: Timers<Due>,
    referenced_timers: usize,
    poller: Poller,
    /// The sockets of this hub.
    pub sockets: Sockets,
    /// Those of them that are encrypted.
    pub tls: TlsSockets,
    dns: Dns,
    /// Present since other hubs of the process may wake this one.
    membership: Option<Membership>,
    http: Http,
    sweep: Option<TimerKey>,
    /// Whether it has been noticed that one did, and not yet been answered.
    woken: bool,
}

impl Hub {
    /// A hub with nothing to do.
    ///
    /// # Errors
    /// What making the poll descriptor returned.
    pub fn new() -> io::Result<Self> {
        let clock = StoppableClock::new();
        let poller = Poller::new()?;
        Ok(Self {
            ready: VecDeque::new(),
            waiters: Waiters::default(),
            timers: Timers::new(clock.now()),
            referenced_timers: 0,
            dns: Dns::new(poller.waker()),
            poller,
            sockets: Sockets::new(),
            tls: TlsSockets::new(),
            membership: None,
            http: Http::new(),
            sweep: None,
            woken: false,
            clock,
        })
    }

    /// Nanoseconds since the hub was made: to measure how long something runs, also while the time of timers stands
    /// still.
    pub fn now(&self) -> u64 {
        self.clock.system_now()
    }

    /// The poller, whose descriptor another loop can watch.
    pub fn poller(&self) -> &Poller {
        &self.poller
    }

    // ---- the ready queue

    /// Whether nothing is ready.
    pub fn is_idle(&self) -> bool {
        self.ready.is_empty()
    }

    /// Whether a parked stack is ready to be entered, wherever in the queue.
    pub fn has_woken(&self) -> bool {
        self.ready.iter().any(|entry| matches!(entry, Ready::Wake(_)))
    }

    /// How many entries are ready.
    pub fn ready_len(&self) -> usize {
        self.ready.len()
    }

    /// The entry that [`pop`](Self::pop) would return.
    pub fn front(&self) -> Option<Ready> {
        self.ready.front().copied()
    }

    /// The entry that comes after `index` others.
    pub fn nth(&self, index: usize) -> Option<Ready> {
        self.ready.get(index).copied()
    }

    /// Takes the entry that has been ready longest.
    pub fn pop(&mut self) -> Option<Ready> {
        let entry = self.ready.pop_front()?;
        if let Ready::Wake(stack) = entry {
            self.waiter(stack).queued = false;
        }
        Some(entry)
    }

    /// Takes the wake-up that has been ready longest, before what waits in front of it.
    pub fn pop_first_wake(&mut self) -> Option<StackId> {
        let index = self.ready.iter().position(|entry| matches!(entry, Ready::Wake(_)))?;
        let Some(Ready::Wake(stack)) = self.ready.remove(index) else { return None };
        self.waiter(stack).queued = false;
        Some(stack)
    }

    /// Puts an entry that is not a wake-up back in front.
    pub fn push_front(&mut self, entry: Ready) {
        debug_assert!(!matches!(entry, Ready::Wake(_)), "wake-ups are queued by `wake` only");
        self.ready.push_front(entry);
    }

    /// Notes that `count` more greenlets wait to be started.
    pub fn push_starts(&mut self, count: u32) {
        self.ready.push_back(Ready::Start(count));
    }

    /// Makes a parked stack ready. If it is ready already, only the cause may change, to a stronger one.
    pub fn wake(&mut self, stack: StackId, cause: Cause) {
        if self.waiter(stack).mark(cause) {
            self.ready.push_back(Ready::Wake(stack));
        }
    }

    /// As [`wake`](Self::wake), before everything else that is ready.
    pub fn wake_next(&mut self, stack: StackId, cause: Cause) {
        if self.waiter(stack).mark(cause) {
            self.ready.push_front(Ready::Wake(stack));
        }
    }

    /// Why the stack was made ready last.
    pub fn cause(&self, stack: StackId) -> Cause {
        self.waiters.0.get(stack as usize).map_or(Cause::Woken, |waiter| waiter.cause)
    }

    fn waiter(&mut self, stack: StackId) -> &mut Waiter {
        self.waiters.of(stack)
    }

    // ---- time

    /// Wakes `stack` with [`Cause::Deadline`] after `delay`, unless cleared before.
    pub fn set_deadline(&mut self, stack: StackId, delay: Duration, referenced: bool) {
        let key = self.insert(delay, Due { purpose: Purpose::Stack(stack), referenced });
        self.waiter(stack).deadline = Some(key);
    }

    /// Forgets the deadline of `stack`, if there is one, passed or not.
    pub fn clear_deadline(&mut self, stack: StackId) {
        let waiter = self.waiter(stack);
        waiter.overdue = false;
        if let Some(key) = waiter.deadline.take() {
            self.cancel_timer(key);
        }
    }

    /// Whether the deadline of `stack` has passed, and was not cleared since: then nothing would end another wait.
    pub fn is_overdue(&mut self, stack: StackId) -> bool {
        self.waiter(stack).overdue
    }

    /// Queues [`Ready::Call`] for `slot` after `delay`.
    pub fn start_timer(&mut self, delay: Duration, slot: u32, referenced: bool) -> TimerKey {
        self.insert(delay, Due { purpose: Purpose::Slot(slot), referenced })
    }

    /// Cancels a timer; `false` if it has expired already.
    pub fn cancel_timer(&mut self, key: TimerKey) -> bool {
        let removed = self.timers.remove(key);
        self.referenced_timers -= usize::from(removed.is_some_and(|due| due.referenced));
        removed.is_some()
    }

    fn insert(&mut self, delay: Duration, due: Due) -> TimerKey {
        self.referenced_timers += usize::from(due.referenced);
        self.timers.insert(self.clock.now().saturating_add(as_nanos(delay)), due)
    }

    /// Makes ready whatever is due, and what another thread has woken the hub for.
    pub fn run_due(&mut self) {
        self.notice_wake();
        if self.timers.is_empty() {
            return;
        }
        let now = self.clock.now();
        while let Some(due) = self.timers.pop_due(now) {
            self.referenced_timers -= usize::from(due.referenced);
            match due.purpose {
                Purpose::Stack(stack) => {
                    let waiter = self.waiter(stack);
                    waiter.deadline = None;
                    waiter.overdue = true;
                    self.wake(stack, Cause::Deadline);
                }
                Purpose::Slot(slot) => self.ready.push_back(Ready::Call(slot)),
                Purpose::Sweep => {
                    self.sweep = None;
                    self.http().sweep();
                    self.plan_sweep();
                }
            }
        }
    }

    // ---- HTTP

    /// The servers of HTTP, with what they work on.
    pub fn http(&mut self) -> Serving<'_> {
        let Self { clock, http, sockets, tls, poller, ready, waiters, .. } = self;
        let now = clock.now();
        Serving { http, streams: Streams { sockets, tls, poller, ready, waiters, now } }
    }

    /// Sees to an entry of the ready queue that concerns HTTP. `true`: something is to be taken by [`Serving::take`].
    pub fn serve(&mut self, entry: Ready) -> bool {
        match entry {
            Ready::Connection(index) => self.http().serve(index),
            Ready::Accept(server) => {
                let failed = self.http().accept(server);
                self.plan_sweep();
                failed
            }
            Ready::Wake(_) | Ready::Start(_) | Ready::Call(_) => false,
        }
    }

    /// Sees to it that deadlines of connections are looked at, as long as there are any.
    pub fn plan_sweep(&mut self) {
        let until = self.http().until_sweep();
        match (until, self.sweep) {
            (Some(until), None) => {
                self.sweep = Some(self.insert(until, Due { purpose: Purpose::Sweep, referenced: false }));
            }
            (None, Some(key)) => {
                self.cancel_timer(key);
                self.sweep = None;
            }
            _ => {}
        }
    }

    /// How long until a timer may be due; `None` without timers, or if time stands still.
    pub fn until_next_deadline(&self) -> Option<Duration> {
        if self.clock.is_stopped() {
            return None;
        }
        let deadline = self.timers.next_deadline()?;
        Some(Duration::from_nanos(deadline.saturating_sub(self.clock.now())))
    }

    /// Stops the time of timers: from now on only [`jump`](Self::jump) moves it.
    pub fn stop_time(&mut self) {
        self.clock.stop();
    }

    /// Lets time run again. What is pending keeps the time that it had left.
    pub fn resume_time(&mut self) {
        self.clock.resume();
    }

    /// Moves time, which must have been stopped, to the next timer, and makes ready whatever is due then; but not past
    /// `limit`, counted from the stop. Returns how far it was moved since the stop.
    pub fn jump(&mut self, limit: Option<Duration>) -> Duration {
        let limit = limit.map(as_nanos);
        let start = self.clock.now() - self.clock.moved();
        let ready = self.ready.len();
        while self.ready.len() == ready && limit.is_none_or(|limit| self.clock.moved() < limit) {
            let next = self.timers.next_deadline().map(|deadline| deadline.saturating_sub(start));
            let Some(target) = next.into_iter().chain(limit).min() else { break };
            self.clock.move_to(target);
            self.run_due();
        }
        Duration::from_nanos(self.clock.moved())
    }

    /// How many timers are pending, deadlines of stacks included.
    pub fn pending_timers(&self) -> usize {
        self.timers.len()
    }

    /// How many pending timers keep the process alive.
    pub fn referenced_timers(&self) -> usize {
        self.referenced_timers
    }

    // ---- the system

    /// Notes the current stack as the one that waits for a side of a socket; see [`Sockets::note`].
    ///
    /// # Errors
    /// As [`Sockets::note`].
    pub fn await_socket(&mut self, key: SocketKey, side: Side, stack: StackId) -> Result<(), ParkError> {
        self.sockets.note(&self.poller, key, side, SocketWaiter::Stack(stack), true)
    }

    /// Queues [`Ready::Call`] for `slot`, once, when a side of a socket is ready or the socket is closed; at once if it
    /// is ready. [`Sockets::clear`] takes it back before that.
    ///
    /// # Errors
    /// As [`Sockets::note`].
    pub fn watch_socket(
        &mut self,
        key: SocketKey,
        side: Side,
        slot: u32,
        referenced: bool,
    ) -> Result<(), ParkError> {
        if self.sockets.is_still_ready(key, side) {
            self.ready.push_back(Ready::Call(slot));
            return Ok(());
        }
        self.sockets.note(&self.poller, key, side, SocketWaiter::Slot(slot), referenced)
    }

    /// Closes a socket and makes ready whoever waits for it. Idempotent.
    pub fn close_socket(&mut self, key: SocketKey) {
        let told = self.sockets.close(&self.poller, key);
        self.tell_all(told);
    }

    /// Forgets a socket without closing it, and makes ready whoever waits for it.
    ///
    /// # Errors
    /// `EBADF` if the socket is closed.
    pub fn detach_socket(&mut self, key: SocketKey) -> io::Result<OwnedFd> {
        let (descriptor, told) = self.sockets.detach(&self.poller, key)?;
        self.tell_all(told);
        Ok(descriptor)
    }

    /// Gives a socket a new key, and makes ready whoever waits for it by the old one.
    ///
    /// # Errors
    /// `EBADF` if the socket is closed.
    pub fn rename_socket(&mut self, key: SocketKey) -> io::Result<SocketKey> {
        let (renamed, told) = self.sockets.rename(&self.poller, key)?;
        self.tell_all(told);
        Ok(renamed)
    }

    /// Puts a session on a socket, which gets a new key: whoever waits for it by the old one is made ready.
    ///
    /// # Errors
    /// The name cannot be one, or the socket is closed; nothing has changed then.
    pub fn open_tls(
        &mut self,
        socket: SocketKey,
        config: ConfigKey,
        name: &str,
    ) -> Result<(TlsKey, SocketKey), ConfigError> {
        let session = self.tls.session_for(config, name)?;
        let socket = self.rename_socket(socket).map_err(|error| ConfigError::of_socket(&error))?;
        Ok((self.tls.open(socket, session), socket))
    }

    fn tell_all(&mut self, told: [Option<SocketWaiter>; 2]) {
        for waiter in told.into_iter().flatten() {
            self.waiters.tell(&mut self.ready, waiter);
        }
    }

    /// Whether only the poll descriptor can make somebody ready: a parked socket, a connection, or a lookup.
    pub fn awaits_events(&self) -> bool {
        self.sockets.waiting() > 0 || self.dns.pending() > 0 || self.http.has_connections()
    }

    /// How many lookups are under way.
    pub fn pending_lookups(&self) -> usize {
        self.dns.pending()
    }

    /// Makes ready whatever the system reports, waiting for at most `timeout` (`None`: for ever).
    ///
    /// # Errors
    /// What the poll system call returned.
    pub fn poll(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let Self { poller, sockets, ready, waiters, .. } = self;
        let mut woken = false;
        poller.poll(timeout, |_, event| match event {
            Event::Woken => woken = true,
            Event::Io { token, readiness } => {
                for waiter in sockets.on_event(token, readiness).into_iter().flatten() {
                    waiters.tell(ready, waiter);
                }
            }
        })?;
        if woken {
            self.take_answers();
            self.notice_wake();
        }
        Ok(())
    }

    // ---- other hubs

    /// Lets other hubs of the process wake this one from now on. Returns its number.
    pub fn join_hubs(&mut self) -> HubNumber {
        self.membership.get_or_insert_with(|| Membership::new(self.poller.waker())).number()
    }

    /// Notes that what follows the [`Ready::Call`] of [`WOKEN_SLOT`] has begun: the hub can be woken anew.
    pub fn answer_wake(&mut self) {
        self.woken = false;
        if let Some(membership) = &self.membership {
            membership.answer();
        }
    }

    /// Tells other hubs whether this one waits, so that it comes soon if it is woken.
    pub fn set_resting(&self, resting: bool) {
        if let Some(membership) = &self.membership {
            membership.set_resting(resting);
        }
    }

    fn notice_wake(&mut self) {
        let Some(membership) = &self.membership else { return };
        membership.set_resting(false);
        if !self.woken && membership.is_woken() {
            self.woken = true;
            self.ready.push_back(Ready::Call(WOKEN_SLOT));
        }
    }

    // ---- names

    /// Starts a name resolver.
    ///
    /// # Errors
    /// `InvalidInput` if a search domain is no name, or if there is no certificate to trust TLS name servers by.
    pub fn add_resolver(&mut self, options: &ResolverOptions) -> io::Result<ResolverId> {
        self.dns.add_resolver(options)
    }

    /// Ends a resolver. Lookups still under way are answered with `ECANCELLED`.
    pub fn remove_resolver(&mut self, id: ResolverId) {
        let Self { dns, waiters, ready, .. } = self;
        dns.remove_resolver(id, |stack| waiters.tell(ready, SocketWaiter::Stack(stack)));
    }

    /// Answers what is known without asking anybody.
    pub fn known(&mut self, id: ResolverId, host: &str, wanted: Wanted) -> Option<Answer> {
        self.dns.known(&self.clock, id, host, wanted)
    }

    /// Asks on behalf of `stack`, which is woken by the answer if that has not come already. Returns the lookup's number, or
    /// `None` if there is no such resolver.
    pub fn start_lookup(
        &mut self,
        stack: StackId,
        id: ResolverId,
        host: &str,
        wanted: Wanted,
    ) -> Option<u64> {
        self.dns.start(&self.clock, stack, id, host, wanted)
    }

    /// Whether a lookup is over.
    pub fn is_answered(&self, lookup: u64) -> bool {
        self.dns.is_answered(lookup)
    }

    /// Ends a lookup and returns its answer, if it has come.
    pub fn finish_lookup(&mut self, lookup: u64) -> Option<Answer> {
        self.dns.finish(lookup)
    }

    /// Returns the names of an address in the hosts file, if the resolver looks there.
    pub fn names_of(&mut self, id: ResolverId, ip: IpAddr) -> Option<Vec<String>> {
        self.dns.names_of(&self.clock, id, ip)
    }

    fn take_answers(&mut self) {
        let Self { dns, clock, waiters, ready, .. } = self;
        dns.take_answers(clock, |stack| waiters.tell(ready, SocketWaiter::Stack(stack)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wakers::{Called, wake_hub};

    fn drain(hub: &mut Hub) -> Vec<Ready> {
        std::iter::from_fn(|| hub.pop()).collect()
    }

    #[test]
    fn entries_come_out_in_the_order_they_became_ready() {
        let mut hub = Hub::new().unwrap();
        hub.wake(3, Cause::Woken);
        hub.push_starts(2);
        hub.wake(1, Cause::Woken);
        assert_eq!(drain(&mut hub), [Ready::Wake(3), Ready::Start(2), Ready::Wake(1)]);
    }

    #[test]
    fn a_stack_is_queued_once_however_often_it_is_woken() {
        let mut hub = Hub::new().unwrap();
        hub.wake(1, Cause::Deadline);
        hub.wake(1, Cause::Woken);
        assert_eq!(hub.cause(1), Cause::Woken);
        hub.wake(1, Cause::Interrupted);
        hub.wake(1, Cause::Woken);
        assert_eq!(hub.cause(1), Cause::Interrupted);
        assert_eq!(drain(&mut hub), [Ready::Wake(1)]);
        hub.wake(1, Cause::Woken);
        assert_eq!(hub.cause(1), Cause::Woken);
        assert_eq!(drain(&mut hub), [Ready::Wake(1)]);
    }

    #[test]
    fn wake_next_goes_before_everything_else() {
        let mut hub = Hub::new().unwrap();
        hub.push_starts(1);
        hub.wake_next(9, Cause::Interrupted);
        assert_eq!(drain(&mut hub), [Ready::Wake(9), Ready::Start(1)]);
    }

    #[test]
    fn the_first_wake_up_can_be_taken_before_starts() {
        let mut hub = Hub::new().unwrap();
        hub.push_starts(1);
        hub.wake(5, Cause::Woken);
        hub.wake(6, Cause::Woken);
        assert_eq!(hub.pop_first_wake(), Some(5));
        hub.wake(5, Cause::Woken);
        assert_eq!(drain(&mut hub), [Ready::Start(1), Ready::Wake(6), Ready::Wake(5)]);
        assert_eq!(hub.pop_first_wake(), None);
    }

    #[test]
    fn a_deadline_wakes_its_stack_and_a_timer_calls_its_slot() {
        let mut hub = Hub::new().unwrap();
        hub.set_deadline(4, Duration::ZERO, true);
        hub.start_timer(Duration::ZERO, 7, false);
        assert_eq!(hub.referenced_timers(), 1);
        while hub.ready_len() < 2 {
            hub.run_due();
        }
        assert_eq!(hub.cause(4), Cause::Deadline);
        assert_eq!(drain(&mut hub), [Ready::Wake(4), Ready::Call(7)]);
        assert_eq!((hub.pending_timers(), hub.referenced_timers()), (0, 0));
    }

    #[test]
    fn whoever_is_woken_when_its_deadline_passes_can_tell() {
        let mut hub = Hub::new().unwrap();
        hub.set_deadline(4, Duration::ZERO, true);
        hub.wake(4, Cause::Woken);
        hub.run_due();
        assert_eq!(hub.pop(), Some(Ready::Wake(4)));
        assert_eq!(hub.cause(4), Cause::Woken, "what it waited for may be lost otherwise");
        assert!(hub.is_overdue(4), "if it was in vain, it must not wait again");
        hub.clear_deadline(4);
        assert!(!hub.is_overdue(4));
    }

    #[test]
    fn a_cleared_deadline_leaves_nothing() {
        let mut hub = Hub::new().unwrap();
        hub.set_deadline(4, Duration::from_secs(3600), true);
        let key = hub.start_timer(Duration::from_secs(3600), 1, true);
        hub.clear_deadline(4);
        hub.clear_deadline(4);
        assert!(hub.cancel_timer(key));
        assert!(!hub.cancel_timer(key));
        assert_eq!((hub.pending_timers(), hub.referenced_timers()), (0, 0));
        assert_eq!(hub.until_next_deadline(), None);
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn stopped_time_makes_nothing_due_and_jumps_to_one_timer_after_the_other() {
        let mut hub = Hub::new().unwrap();
        hub.stop_time();
        hub.start_timer(2 * HOUR, 2, true);
        hub.set_deadline(1, HOUR, true);
        hub.run_due();
        assert!(hub.is_idle());
        assert_eq!(hub.until_next_deadline(), None);
        assert_eq!(hub.jump(None), HOUR);
        assert_eq!(drain(&mut hub), [Ready::Wake(1)]);
        assert_eq!(hub.jump(None), 2 * HOUR);
        assert_eq!(drain(&mut hub), [Ready::Call(2)]);
        assert_eq!(hub.jump(None), 2 * HOUR);
        assert_eq!((hub.pending_timers(), hub.is_idle()), (0, true));
    }

    #[test]
    fn timers_of_the_same_time_are_due_together_in_the_order_of_being_set() {
        let mut hub = Hub::new().unwrap();
        hub.stop_time();
        for slot in 0..100 {
            hub.start_timer(HOUR, slot, false);
        }
        assert_eq!(hub.jump(None), HOUR);
        assert_eq!(drain(&mut hub), (0..100).map(Ready::Call).collect::<Vec<_>>());
    }

    #[test]
    fn a_jump_does_not_go_past_its_limit_but_what_is_due_there_is_due() {
        let mut hub = Hub::new().unwrap();
        hub.stop_time();
        hub.start_timer(HOUR, 1, true);
        let just_before = HOUR - Duration::from_nanos(1);
        assert_eq!(hub.jump(Some(just_before)), just_before);
        assert!(hub.is_idle());
        assert_eq!(hub.jump(Some(Duration::ZERO)), just_before);
        assert_eq!(hub.jump(Some(HOUR)), HOUR);
        assert_eq!(drain(&mut hub), [Ready::Call(1)]);
        assert_eq!(hub.jump(Some(2 * HOUR)), 2 * HOUR);
    }

    #[test]
    fn who_cannot_be_started_yet_does_not_keep_time_from_jumping() {
        let mut hub = Hub::new().unwrap();
        hub.stop_time();
        hub.start_timer(HOUR, 1, true);
        hub.push_starts(3);
        assert_eq!(hub.jump(None), HOUR);
        assert_eq!(drain(&mut hub), [Ready::Start(3), Ready::Call(1)]);
    }

    #[test]
    fn a_cancelled_timer_is_jumped_over() {
        let mut hub = Hub::new().unwrap();
        hub.stop_time();
        let key = hub.start_timer(HOUR, 1, true);
        hub.start_timer(2 * HOUR, 2, true);
        hub.cancel_timer(key);
        assert_eq!(hub.jump(None), 2 * HOUR);
        assert_eq!(drain(&mut hub), [Ready::Call(2)]);
    }

    #[test]
    fn resumed_time_leaves_pending_timers_the_time_they_had_left() {
        let mut hub = Hub::new().unwrap();
        hub.start_timer(2 * HOUR, 1, true);
        hub.stop_time();
        assert_eq!(hub.jump(Some(HOUR)), HOUR);
        hub.resume_time();
        let left = hub.until_next_deadline().unwrap();
        assert!(left <= HOUR && left > HOUR / 2, "{left:?}");
        hub.run_due();
        assert!(hub.is_idle());
    }

    #[test]
    fn a_hub_woken_by_another_thread_is_called_once_until_it_answers() {
        let mut hub = Hub::new().unwrap();
        let number = hub.join_hubs();
        assert_eq!(hub.join_hubs(), number);
        let wake = || std::thread::spawn(move || wake_hub(number)).join().unwrap();
        wake();
        wake();
        hub.poll(Some(Duration::ZERO)).unwrap();
        hub.run_due();
        assert_eq!(drain(&mut hub), [Ready::Call(WOKEN_SLOT)]);
        wake();
        hub.run_due();
        assert!(hub.is_idle());
        hub.answer_wake();
        hub.set_resting(true);
        assert_eq!(wake(), Called::Resting);
        hub.run_due();
        assert_eq!(drain(&mut hub), [Ready::Call(WOKEN_SLOT)]);
        assert_eq!(wake(), Called::Working);
        drop(hub);
        assert_eq!(wake(), Called::Ended);
    }
}
