//! Where records go. A sink takes [`Delivery`](crate::lane::Delivery)s and answers each; it knows no file of a source.
//!
//! A sink asks [`may_pass`](crate::lane::Delivery::may_pass) right before it sends, and recalls what may not. It tries for ever what it
//! cannot deliver, and says in its health what is in the way.

use crate::plan::SinkKind;

mod backoff;
#[cfg(feature = "aws")]
pub mod cloudwatch;
mod failure;
pub mod file;
mod parcel;
mod queue;
mod secret;
pub mod stdout;
pub mod syslog;
pub mod tls;
mod view;

pub use backoff::Backoff;
pub use failure::{Answer, Failure};
pub use parcel::Parcel;
pub use queue::Queue;
pub use secret::{Secret, Secrets, Stamp};
pub use view::View;

/// What a sink knows of where it runs.
#[derive(Debug, Clone)]
pub struct Context {
    /// The sink's name.
    pub name: String,
    /// What of a record is delivered.
    pub encoding: waybill_crds::Encoding,
    /// The policy's name.
    pub policy: String,
    /// The node's name.
    pub host: String,
    /// Where passwords, keys and certificates are.
    pub secrets: Secrets,
}

/// Runs a sink until the engine lets go of it.
pub fn run(queue: Queue, kind: SinkKind, context: Context) {
    match kind {
        SinkKind::File(plan) => file::run(queue, &plan, context.encoding),
        SinkKind::Stdout => stdout::run(queue, std::io::stdout(), context.encoding),
        SinkKind::Syslog(plan) => syslog::run(queue, &plan, &context),
        #[cfg(feature = "aws")]
        SinkKind::CloudWatch(plan) => cloudwatch::run(queue, &plan, &context),
    }
}

/// Tries a sink out without delivering anything. The answer is one clear sentence: what works, or what it would take.
pub fn probe(kind: &SinkKind, context: &Context) -> Result<String, Failure> {
    match kind {
        SinkKind::File(plan) => file::probe(plan),
        SinkKind::Stdout => Ok("standard output needs nothing".to_owned()),
        SinkKind::Syslog(plan) => syslog::probe(plan, context),
        #[cfg(feature = "aws")]
        SinkKind::CloudWatch(plan) => cloudwatch::probe(plan),
    }
}
