//! A function on a stack of its own. With `memory.rs`, which tells where one lies, the only file that names corosensei.
//!
//! A suspended coroutine holds frames that nobody may unwind (JavaScript's, when greenlets run on it),
//! so this type has no `Drop` that would: one that is dropped while suspended is leaked, stack and all.
//! Only a finished one gives its stack back.

use std::cell::Cell;
use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr;

use corosensei::{CoroutineResult, Yielder};

use crate::memory::StackMemory;

type Inner = corosensei::Coroutine<(), (), (), StackMemory>;

/// Where a coroutine stands after [`Coroutine::resume`] has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It left its stack in the middle and can be resumed.
    Suspended,
    /// Its function has returned.
    Finished,
}

/// Leaves the coroutine it belongs to, from any depth of its stack.
#[derive(Clone, Copy, Debug)]
pub struct Suspender(*const Yielder<(), ()>);

impl Suspender {
    /// A suspender of no coroutine, to fill a field until the real one is known.
    pub const fn none() -> Self {
        Self(ptr::null())
    }

    /// Leaves the stack; returns when the coroutine is resumed.
    ///
    /// # Safety
    /// The caller must be running on the stack of the coroutine that this suspender was handed to.
    pub unsafe fn suspend(self) {
        // SAFETY: (protocol) the yielder lives at the bottom of the coroutine's stack as long as its
        // function runs, and the caller runs on that stack.
        unsafe { (*self.0).suspend(()) }
    }
}

/// A function on a stack of its own, which can be left and entered again.
pub struct Coroutine {
    inner: ManuallyDrop<Inner>,
    finished: Cell<bool>,
}

impl Coroutine {
    /// Prepares `body` to run on `stack`; it starts at the first [`resume`](Self::resume).
    ///
    /// A panic that leaves `body` aborts the process.
    pub fn new(stack: StackMemory, body: impl FnOnce(Suspender) + 'static) -> Self {
        let inner = Inner::with_stack(stack, move |yielder, ()| body(Suspender(yielder)));
        Self { inner: ManuallyDrop::new(inner), finished: Cell::new(false) }
    }

    /// Enters the stack; returns when the coroutine suspends or its function returns.
    ///
    /// # Panics
    /// If it has finished already.
    pub fn resume(&mut self) -> Status {
        match self.inner.resume(()) {
            CoroutineResult::Yield(()) => Status::Suspended,
            CoroutineResult::Return(()) => {
                self.finished.set(true);
                Status::Finished
            }
        }
    }

    /// The stack of a coroutine that has finished, or the coroutine itself if it has not.
    ///
    /// # Errors
    /// Returns the coroutine unchanged while it has not finished.
    pub fn into_stack(mut self) -> Result<StackMemory, Self> {
        if !self.finished.get() {
            return Err(self);
        }
        // SAFETY: (local) `self` is consumed and has no `Drop`, so the value is taken once.
        Ok(unsafe { ManuallyDrop::take(&mut self.inner) }.into_stack())
    }
}

impl fmt::Debug for Coroutine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Coroutine").field("finished", &self.finished.get()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::{Guard, StackPool};

    fn stack() -> StackMemory {
        StackPool::new(Guard::Advice).take(64 * 1024).unwrap()
    }

    #[test]
    fn leaves_and_enters_its_stack_where_it_was() {
        let steps = Rc::new(Cell::new(0));
        let seen = Rc::clone(&steps);
        let mut coroutine = Coroutine::new(stack(), move |suspender| {
            for step in 1..=3 {
                seen.set(step);
                // SAFETY: (local) we run on the coroutine's own stack.
                unsafe { suspender.suspend() };
            }
        });
        for step in 1..=3 {
            assert_eq!(coroutine.resume(), Status::Suspended);
            assert_eq!(steps.get(), step);
        }
        assert_eq!(coroutine.resume(), Status::Finished);
    }

    #[test]
    fn suspends_from_any_depth() {
        fn descend(depth: usize, suspender: Suspender) -> usize {
            if depth == 0 {
                // SAFETY: (local) called on the coroutine's own stack only.
                unsafe { suspender.suspend() };
                return 0;
            }
            std::hint::black_box(descend(depth - 1, suspender)) + 1
        }
        let mut coroutine = Coroutine::new(stack(), |suspender| assert_eq!(descend(100, suspender), 100));
        assert_eq!(coroutine.resume(), Status::Suspended);
        assert_eq!(coroutine.resume(), Status::Finished);
    }

    #[test]
    fn a_finished_one_gives_its_stack_back() {
        let memory = stack();
        let top = memory.top();
        let mut coroutine = Coroutine::new(memory, |_| ());
        coroutine = coroutine.into_stack().unwrap_err();
        assert_eq!(coroutine.resume(), Status::Finished);
        assert_eq!(coroutine.into_stack().unwrap().top(), top);
    }

    #[test]
    fn a_suspended_one_is_leaked_not_unwound() {
        struct Witness(Rc<Cell<bool>>);
        impl Drop for Witness {
            fn drop(&mut self) {
                self.0.set(true);
            }
        }
        let dropped = Rc::new(Cell::new(false));
        let witness = Witness(Rc::clone(&dropped));
        let mut coroutine = Coroutine::new(stack(), move |suspender| {
            let _witness = witness;
            // SAFETY: (local) on the coroutine's own stack.
            unsafe { suspender.suspend() };
        });
        assert_eq!(coroutine.resume(), Status::Suspended);
        assert!(coroutine.into_stack().is_err());
        assert!(!dropped.get());
    }
}
