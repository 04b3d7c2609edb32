//! The hubs of one process that can be woken by one another.
//!
//! The list of them is the only thing of a hub's that other threads see. Whoever wakes a hub knows its number, which
//! no other hub of the process has had before. What the wake-up is about is not told: the woken one looks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::poller::Waker;

/// The number of a hub, from 1. It fits into 30 bits.
pub type HubNumber = u32;

/// So words of 32 bits have room for marks beside a number.
const MOST: HubNumber = (1 << 30) - 1;

/// The hubs that can be woken.
struct Directory(Mutex<Members>);

struct Members {
    bells: BTreeMap<HubNumber, Arc<Bell>>,
    last: HubNumber,
    ended: u32,
}

static HUBS: Directory = Directory::new();

impl Directory {
    const fn new() -> Self {
        Self(Mutex::new(Members { bells: BTreeMap::new(), last: 0, ended: 0 }))
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        // Every change is a single call on a collection or a number, so a panic leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(&'static self, waker: Waker) -> Membership {
        let bell = Arc::new(Bell { rung: false.into(), resting: false.into(), waker });
        let mut members = self.lock();
        let mut number = members.last;
        loop {
            number = number % MOST + 1;
            if !members.bells.contains_key(&number) {
                break;
            }
        }
        members.last = number;
        members.bells.insert(number, Arc::clone(&bell));
        Membership { number, bell, directory: self }
    }

    fn leave(&self, number: HubNumber) {
        let mut members = self.lock();
        members.bells.remove(&number);
        members.ended = members.ended.wrapping_add(1);
        for bell in members.bells.values() {
            bell.ring();
        }
    }

    fn wake(&self, number: HubNumber) -> Called {
        let bell = self.lock().bells.get(&number).map(Arc::clone);
        let Some(bell) = bell else { return Called::Ended };
        let called = if bell.resting.load(Ordering::Relaxed) { Called::Resting } else { Called::Working };
        bell.ring();
        called
    }

    fn holds(&self, number: HubNumber) -> bool {
        self.lock().bells.contains_key(&number)
    }

    fn ended(&self) -> u32 {
        self.lock().ended
    }
}

/// How a hub is woken.
struct Bell {
    /// Whether it was rung since it was answered last.
    rung: AtomicBool,
    /// Whether the hub has nothing to do, so that it will come soon. A hint.
    resting: AtomicBool,
    waker: Waker,
}

impl Bell {
    fn ring(&self) {
        // What was written before the hub was woken is seen by it after it has answered.
        if !self.rung.swap(true, Ordering::AcqRel) {
            // If this fails, the hub sees the mark when it looks around next.
            let _ = self.waker.wake();
        }
    }
}

/// What a hub was doing when it was woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Called {
    /// Nothing: it is no more.
    Ended,
    /// It runs somebody, and may take its time.
    Working,
    /// It waited.
    Resting,
}

/// A hub's place in the list. When it is dropped, the hub cannot be woken any more, and all others are.
pub struct Membership {
    number: HubNumber,
    bell: Arc<Bell>,
    directory: &'static Directory,
}

impl Membership {
    /// Enters a hub, which is woken by `waker`, into the list.
    pub fn new(waker: Waker) -> Self {
        HUBS.join(waker)
    }

    /// The number of the hub.
    pub fn number(&self) -> HubNumber {
        self.number
    }

    /// Whether the hub was woken since [`answer`](Self::answer).
    pub fn is_woken(&self) -> bool {
        self.bell.rung.load(Ordering::Relaxed)
    }

    /// Tells those who wake the hub whether it has something else to do.
    pub fn set_resting(&self, resting: bool) {
        self.bell.resting.store(resting, Ordering::Relaxed);
    }

    /// From now on the hub can be woken anew. What it was woken for is to be looked for after this.
    pub fn answer(&self) {
        self.bell.rung.swap(false, Ordering::AcqRel);
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.directory.leave(self.number);
    }
}

/// Wakes a hub from any thread, and tells what it was doing. Never blocks. Until the hub has answered, more calls change
/// nothing.
pub fn wake_hub(number: HubNumber) -> Called {
    HUBS.wake(number)
}

/// Whether the hub is in the list.
pub fn is_alive(number: HubNumber) -> bool {
    HUBS.holds(number)
}

/// How many hubs have left the list since the process began, modulo 2^32. Each time all others are woken.
pub fn hubs_ended() -> u32 {
    HUBS.ended()
}

/// Tells the list of this copy of the library from that of another copy in the same process.
pub fn list_address() -> usize {
    (&raw const HUBS).addr()
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::poller::{Event, Poller};

    /// A list for one test, which the others do not disturb.
    fn list() -> &'static Directory {
        Box::leak(Box::new(Directory::new()))
    }

    fn count_wakes(poller: &mut Poller) -> usize {
        let mut count = 0;
        poller.poll(Some(Duration::ZERO), |_, event| count += usize::from(event == Event::Woken)).unwrap();
        count
    }

    #[test]
    fn numbers_are_not_used_again() {
        let (list, poller) = (list(), Poller::new().unwrap());
        let numbers = [list.join(poller.waker()).number(), list.join(poller.waker()).number()];
        assert_eq!(numbers, [1, 2]);
    }

    #[test]
    fn the_numbers_of_the_living_are_passed_over_when_they_begin_anew() {
        let (list, poller) = (list(), Poller::new().unwrap());
        let first = list.join(poller.waker());
        list.lock().last = MOST - 1;
        assert_eq!(list.join(poller.waker()).number(), MOST);
        assert_eq!((first.number(), list.join(poller.waker()).number()), (1, 2));
    }

    #[test]
    fn wake_ups_before_the_answer_count_as_one() {
        let (list, mut poller) = (list(), Poller::new().unwrap());
        let member = list.join(poller.waker());
        list.wake(member.number());
        list.wake(member.number());
        assert!(member.is_woken());
        assert_eq!(count_wakes(&mut poller), 1);
        list.wake(member.number());
        assert_eq!(count_wakes(&mut poller), 0);
        member.answer();
        assert!(!member.is_woken());
        list.wake(member.number());
        assert_eq!(count_wakes(&mut poller), 1);
    }

    #[test]
    fn a_hub_that_has_ended_is_not_woken_and_the_others_are() {
        let list = list();
        let (mut poller, other) = (Poller::new().unwrap(), Poller::new().unwrap());
        let member = list.join(poller.waker());
        let ended = list.join(other.waker());
        let number = ended.number();
        assert!(list.holds(number));
        drop(ended);
        assert_eq!(list.wake(number), Called::Ended);
        assert!(!list.holds(number));
        assert_eq!(list.ended(), 1);
        assert!(member.is_woken());
        assert_eq!(count_wakes(&mut poller), 1);
    }

    #[test]
    fn another_thread_ends_a_poll() {
        let (list, mut poller) = (list(), Poller::new().unwrap());
        let member = list.join(poller.waker());
        let number = member.number();
        let waking = thread::spawn(move || list.wake(number));
        while !member.is_woken() {
            poller.poll(None, |_, _| {}).unwrap();
        }
        assert_eq!(waking.join().unwrap(), Called::Working);
    }

    #[test]
    fn who_wakes_a_hub_is_told_whether_it_rests() {
        let (list, poller) = (list(), Poller::new().unwrap());
        let member = list.join(poller.waker());
        member.set_resting(true);
        assert_eq!(list.wake(member.number()), Called::Resting);
        member.set_resting(false);
        assert_eq!(list.wake(member.number()), Called::Working);
    }
}
