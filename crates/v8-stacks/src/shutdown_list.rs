//! V8's list of objects to destroy before a sudden shutdown (Node 22).
//!
//! Each call of `JSON.stringify` puts itself on that list while it runs, and V8 aborts if they do not leave it in
//! reverse order. The list belongs to the isolate, not to the thread: two greenlets that park inside
//! `JSON.stringify` and go on in the order of their coming would end the process. So where the list exists, each
//! stack has one of its own: the three words of its `std::vector` are swapped with the stack.
//!
//! It is found by looking at the isolate outside of, inside, and twice inside `JSON.stringify`.

use std::cell::{Cell, RefCell};
use std::ops::Range;

use crate::probe::isolate_words;
use crate::read::Reader;
use crate::symbols::Isolate;
use crate::{Refusal, Step};

const WORD: usize = size_of::<usize>();

/// A `std::vector` of pointers: begin, end, end of its memory.
pub(crate) type VectorWords = [usize; 3];

const EMPTY: VectorWords = [0; 3];

/// The list of the current stack, in the isolate.
pub(crate) struct ShutdownList {
    words: *mut VectorWords,
    /// Empty vectors of ended stacks, whose memory the next stacks use.
    spare: RefCell<Vec<VectorWords>>,
}

impl ShutdownList {
    /// What the current stack has on its list.
    ///
    /// # Safety
    /// The isolate must be alive.
    pub(crate) unsafe fn get(&self) -> VectorWords {
        // SAFETY: (measured) found by `ShutdownListProbe` as the only candidate.
        unsafe { self.words.read() }
    }

    /// Makes `words` the list of the current stack.
    ///
    /// # Safety
    /// As for [`get`](Self::get), and `words` must have come from it or from [`take_empty`](Self::take_empty).
    pub(crate) unsafe fn set(&self, words: VectorWords) {
        // SAFETY: (measured) as above.
        unsafe { self.words.write(words) }
    }

    /// A list for a new stack.
    pub(crate) fn take_empty(&self) -> VectorWords {
        self.spare.borrow_mut().pop().unwrap_or(EMPTY)
    }

    /// Keeps the list of an ended stack for another one.
    pub(crate) fn give_back(&self, words: VectorWords) {
        let [begin, end, _] = words;
        if begin == end {
            self.spare.borrow_mut().push(words);
        }
    }
}

/// Looks at the isolate four times: outside of, inside, twice inside, and outside of `JSON.stringify`.
pub struct ShutdownListProbe {
    isolate: Isolate,
    snapshots: RefCell<Vec<Snapshot>>,
    failed: Cell<bool>,
}

struct Snapshot {
    words: Vec<usize>,
    /// What a frame of the current call can point to.
    stack_pointer: usize,
}

impl ShutdownListProbe {
    pub(crate) fn new(isolate: Isolate) -> Self {
        Self { isolate, snapshots: RefCell::default(), failed: Cell::new(false) }
    }

    /// Takes one look.
    pub fn look(&self) {
        let marker = 0u8;
        match Reader::new().ok().and_then(|reader| isolate_words(self.isolate, &reader)) {
            Some(words) => self
                .snapshots
                .borrow_mut()
                .push(Snapshot { words, stack_pointer: &raw const marker as usize }),
            None => self.failed.set(true),
        }
    }

    /// The list, or `None` if V8 does not keep one.
    pub(crate) fn find(&self) -> Result<Option<ShutdownList>, Refusal> {
        let snapshots = self.snapshots.take();
        let [outside, inside, nested, after] = &snapshots[..] else {
            return Err(Refusal::new(Step::ShutdownList, "the isolate was not looked at four times"));
        };
        if self.failed.get() {
            return Err(Refusal::new(Step::ShutdownList, "the isolate cannot be read"));
        }
        let reader = Reader::new()
            .map_err(|error| Refusal::new(Step::ShutdownList, format!("memory cannot be read: {error}")))?;
        let candidates: Vec<usize> = (0..outside.words.len() - 2)
            .filter(|&index| {
                let lengths = [outside, inside, nested, after].map(|snapshot| length(snapshot, index));
                let [Some(before), Some(one), Some(two), Some(behind)] = lengths else { return false };
                let frames = nested.stack_pointer..outside.stack_pointer.max(after.stack_pointer) + 0x10000;
                one == before + 1
                    && two == before + 2
                    && behind == before
                    && newest_lies_in(nested, index, &frames, &reader)
            })
            .collect();
        match candidates[..] {
            [] => Ok(None),
            [index] => Ok(Some(ShutdownList {
                words: (self.isolate as usize + index * WORD) as *mut VectorWords,
                spare: RefCell::default(),
            })),
            _ => Err(Refusal::new(
                Step::ShutdownList,
                format!(
                    "expected at most one list of running JSON.stringify calls, found {}",
                    candidates.len()
                ),
            )),
        }
    }
}

/// How many pointers the vector at `index` holds, if there can be one.
fn length(snapshot: &Snapshot, index: usize) -> Option<usize> {
    let [begin, end, limit] = [0, 1, 2].map(|offset| snapshot.words[index + offset]);
    let aligned = [begin, end, limit].iter().all(|word| word.is_multiple_of(WORD));
    (aligned && begin <= end && end <= limit && limit - begin < 1 << 16).then(|| (end - begin) / WORD)
}

/// Whether the vector's last element points into the stack: to the call that runs.
fn newest_lies_in(snapshot: &Snapshot, index: usize, frames: &Range<usize>, reader: &Reader) -> bool {
    // The memory may have been freed by now, but was not given back to the system.
    reader.word(snapshot.words[index + 1] - WORD).is_some_and(|element| frames.contains(&element))
}
