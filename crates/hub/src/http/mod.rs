//! The server's side of HTTP/1.1 (RFC 9110, RFC 9112): connections that wait for requests, and the requests of those that do not.
//!
//! A connection that waits has neither a stack nor a buffer. What arrives on it is received when its turn in the ready
//! queue has come, into memory that all share, so a head that comes in one piece is copied nowhere; only what is incomplete,
//! or comes behind it, is kept with the connection. A complete head is *taken* by whoever runs the handler, who from then
//! on reads the body and writes the response, and ends the request in one of four ways: it has sent a response, finished a
//! stream, given up, or detached the connection for another protocol.

mod chunked;
mod connection;
mod date;
mod exchange;
mod head;
mod response;
mod serving;
mod streams;

pub use connection::ConnectionKey;
pub use exchange::{BodyError, OutgoingBody};
pub use head::{Framing, Head, HeadLimits, Refusal};
pub use response::{ResponseFraming, ResponseHead, are_fields};
pub use serving::{Http, ServerId, ServerOptions, Serving, Taken};
pub(crate) use streams::Streams;

#[cfg(test)]
mod tests;
