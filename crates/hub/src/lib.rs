//! The event loop of greenstack: timers, polling, sockets and name resolution.
//!
//! Nothing in here knows of V8 or Node-API. The parts never block (but for [`Poller::poll`], as long as it is
//! told to), never call back into their user except where a closure is passed, and allocate nothing per
//! operation once they are warm.
#![forbid(unsafe_code)]

mod clock;
mod dns;
mod error;
mod http;
mod hub;
mod net;
mod poller;
mod slab;
mod timers;
pub mod tls;
mod wakers;

pub use clock::{Clock, MonotonicClock, StoppableClock, as_nanos};
pub use dns::{
    Answer, CacheOptions, Dns, DnsError, Family, Field, Found, Host, Nameserver, Order, Record, RecordData,
    RecordKind, ResolverId, ResolverOptions, Transport, Wanted, reversed,
};
pub use error::ParkError;
pub use http::{
    BodyError, ConnectionKey, Framing, Head, HeadLimits, Http, OutgoingBody, Refusal, ResponseFraming,
    ResponseHead, ServerId, ServerOptions, Serving, Taken, are_fields,
};
pub use hub::{Cause, Hub, Ready, WOKEN_SLOT};
pub use net::{Address, Side, SocketFamily, SocketKey, SocketKind, Sockets, StackId, Waiter};
pub use poller::{Event, Poller, Readiness, Waker};
pub use timers::{TimerKey, Timers};
pub use wakers::{Called, HubNumber, Membership, hubs_ended, is_alive, list_address, wake_hub};
