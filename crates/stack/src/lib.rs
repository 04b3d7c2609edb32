//! Machine stacks and the raw switch between them.
//!
//! Three layers, from the machine upwards: `memory` obtains address space and guards it, `pool`
//! hands out stacks of a size and takes finished ones back, `coroutine` runs a function on a stack
//! that may be left in the middle and entered again. Beside them, `prefetch` warms caches. Nothing here knows of V8 or of events.

mod coroutine;
mod memory;
mod pool;
mod prefetch;

pub use coroutine::{Coroutine, Status, Suspender};
pub use memory::{Guard, StackMemory};
pub use pool::StackPool;
pub use prefetch::prefetch;
