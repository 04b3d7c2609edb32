//! Where the executable's block of thread-local storage lies in the current thread.
//!
//! One file per operating system, each offering `executable_block() -> Option<Range<usize>>`.

mod linux;

pub(crate) use linux::executable_block;
