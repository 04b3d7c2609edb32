//! The facts about the running V8, as [`probe`](crate::probe) verified them. Nothing here is guessed.

use crate::scope::ScopeAccess;
use crate::symbols::{Functions, Isolate};

/// Everything that depends on the version of V8, for one isolate.
pub(crate) struct Layout {
    pub(crate) isolate: Isolate,
    pub(crate) functions: Functions,
    pub(crate) scopes: ScopeAccess,
    /// `v8::internal::ThreadId`'s thread-local integer of this thread.
    pub(crate) thread_id: *mut i32,
    /// The thread-local copy of the start of the stack; `None` where V8 computes it anew.
    pub(crate) cached_start: Option<StartWord>,
    /// Where the collector's conservative stack scan ends: the main LocalHeap's word and the C++ heap's.
    pub(crate) collector_starts: [StartWord; 2],
}

/// A word that holds the start of the current stack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StartWord {
    pub(crate) word: *mut usize,
    /// What it holds while the main stack runs.
    pub(crate) main_start: usize,
}
