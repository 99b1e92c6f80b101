//! Where records go. A sink takes [`Delivery`](crate::lane::Delivery)s and answers each; it knows no file of a source.
//!
//! A sink asks [`may_pass`](crate::lane::Delivery::may_pass) right before it sends, and recalls what may not. It tries for ever what it
//! cannot deliver, and says in its health what is in the way.

mod backoff;
pub mod file;
mod queue;
pub mod stdout;

pub use backoff::Backoff;
pub use queue::Queue;
