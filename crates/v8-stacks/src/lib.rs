//! Makes V8 accept that its JavaScript runs on several machine stacks of one thread.
//!
//! V8 supports several threads on one isolate: `v8::Locker` and `v8::Unlocker` archive and restore what
//! belongs to a thread, and the collector walks every archived one. Here each stack is presented to V8
//! as a thread of its own. V8 tells threads apart by one `thread_local int`, so a switch is: archive,
//! write that integer, switch the machine stack, restore ([`V8Stacks`], file `switch.rs`).
//!
//! None of this is a contract of V8. Every address is *found* at load time by `probe`, verified word
//! by word and kept in one struct of facts, the `layout`; whatever does not come out exactly as
//! expected is a [`Refusal`], and nothing is written to a word that was not verified.

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!(
    "greenstack supports linux-x64 only so far: see docs/internals/platforms.md for what a port needs"
);

mod async_context;
mod layout;
mod probe;
mod read;
mod scope;
mod shutdown_list;
mod switch;
mod symbols;
mod tls;
mod uncaught;

use std::fmt;

pub use async_context::{AsyncContext, ContextValue};
pub use probe::NodeApi;
pub use shutdown_list::ShutdownListProbe;
pub use switch::{Departure, StackBounds, V8Stacks};
pub use uncaught::{Reporting, UncaughtErrors};

/// Why V8 cannot be used by greenstack: the step of the load-time verification that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which check failed.
    pub step: Step,
    /// What was expected and what was found.
    pub detail: String,
}

impl Refusal {
    pub(crate) fn new(step: Step, detail: impl Into<String>) -> Self {
        Self { step, detail: detail.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "check '{}' failed: {}", self.step.name(), self.detail)
    }
}

impl std::error::Error for Refusal {}

/// The checks made at load, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Every function of V8 that is needed is exported by the executable.
    Symbols,
    /// The current isolate is locked by this thread, as Node leaves it.
    Isolate,
    /// Exactly one word of thread-local storage holds V8's thread id.
    ThreadId,
    /// At most one word of thread-local storage caches the start of the stack.
    StackStart,
    /// The collector's two copies of the start of the stack are where their paths lead.
    CollectorStart,
    /// A handle scope can be opened and closed.
    HandleScope,
    /// The async context can be moved out of the collector's way.
    AsyncContext,
    /// At most one list of running `JSON.stringify` calls is kept, and it is where it was found.
    ShutdownList,
    /// A stack was entered, left, entered again, and a collection survived meanwhile.
    SelfTest,
}

impl Step {
    /// All steps, in the order in which they are made.
    pub const ALL: [Self; 9] = [
        Self::Symbols,
        Self::Isolate,
        Self::ThreadId,
        Self::StackStart,
        Self::CollectorStart,
        Self::HandleScope,
        Self::AsyncContext,
        Self::ShutdownList,
        Self::SelfTest,
    ];

    /// The name used in errors and by `GREENSTACK_FORCE_FAIL`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Symbols => "symbols",
            Self::Isolate => "isolate",
            Self::ThreadId => "thread-id",
            Self::StackStart => "stack-start",
            Self::CollectorStart => "collector-start",
            Self::HandleScope => "handle-scope",
            Self::AsyncContext => "async-context",
            Self::ShutdownList => "shutdown-list",
            Self::SelfTest => "self-test",
        }
    }

    /// Fails if `GREENSTACK_FORCE_FAIL` names this step, so that every refusal can be tested.
    ///
    /// # Errors
    /// A [`Refusal`] of this step when the environment asks for it.
    pub fn check_not_forced(self) -> Result<(), Refusal> {
        match std::env::var("GREENSTACK_FORCE_FAIL") {
            Ok(name) if name == self.name() => {
                Err(Refusal::new(self, "forced by the environment variable GREENSTACK_FORCE_FAIL"))
            }
            _ => Ok(()),
        }
    }
}
