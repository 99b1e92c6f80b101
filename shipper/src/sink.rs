//! Where records go. A sink takes [`Delivery`](crate::lane::Delivery)s and answers each; it knows no file of a source.
//!
//! A sink asks [`may_pass`](crate::lane::Delivery::may_pass) right before it sends, and recalls what may not. It tries for ever what it
//! cannot deliver, and says in its health what is in the way.

use crate::plan::SinkKind;

mod backoff;
#[cfg(feature = "aws")]
pub mod cloudwatch;
pub mod elasticsearch;
mod failure;
pub mod file;
#[cfg(feature = "kafka")]
pub mod kafka;
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
pub use queue::{PATIENCE, Queue};
pub use secret::{Secret, Secrets, Stamp};
pub use view::View;

/// What a sink knows of where it runs.
#[derive(Debug, Clone)]
pub struct Context {
    /// The sink's name.
    pub name: String,
    /// What of a record is delivered.
    pub encoding: waybill_crds::Encoding,
    /// Bytes of records that may be under way at once, all sinks together.
    pub in_flight: usize,
    /// The policy's name.
    pub policy: String,
    /// The node's name.
    pub host: String,
    /// Where passwords, keys and certificates are.
    pub secrets: Secrets,
}

/// The login with which `waybill setup` works.
#[derive(Clone, Default)]
pub enum Administrator {
    /// The one that the policy names for the agents.
    #[default]
    OfThePolicy,
    /// An API key of Elasticsearch.
    ApiKey(String),
    /// A user and the password.
    User(String, String),
}

/// Runs a sink until the engine lets go of it.
pub fn run(queue: Queue, kind: SinkKind, context: Context) {
    match kind {
        SinkKind::Elasticsearch(config) => elasticsearch::run(queue, &config, &context),
        SinkKind::File(plan) => file::run(queue, &plan, &context),
        #[cfg(feature = "kafka")]
        SinkKind::Kafka(settings) => kafka::run(queue, settings, context),
        SinkKind::Stdout => stdout::run(queue, std::io::stdout(), context.encoding),
        SinkKind::Syslog(plan) => syslog::run(queue, &plan, &context),
        #[cfg(feature = "aws")]
        SinkKind::CloudWatch(plan) => cloudwatch::run(queue, &plan, &context),
    }
}

/// Tries a sink out without delivering anything. The answer is one clear sentence: what works, or what it would take.
pub fn probe(kind: &SinkKind, context: &Context) -> Result<String, Failure> {
    match kind {
        SinkKind::Elasticsearch(config) => elasticsearch::probe(config, context),
        SinkKind::File(plan) => file::probe(plan, context),
        #[cfg(feature = "kafka")]
        SinkKind::Kafka(settings) => kafka::probe(settings, context),
        SinkKind::Stdout => Ok("standard output needs nothing".to_owned()),
        SinkKind::Syslog(plan) => syslog::probe(plan, context),
        #[cfg(feature = "aws")]
        SinkKind::CloudWatch(plan) => cloudwatch::probe(plan),
    }
}

/// Prepares a destination, once, with an administrator's login: what agents have no right to. Says what was done, a line each.
pub fn setup(kind: &SinkKind, context: &Context, login: &Administrator) -> Result<Vec<String>, Failure> {
    match kind {
        SinkKind::Elasticsearch(config) => elasticsearch::setup(config, context, login),
        // The others need nothing that agents have no right to.
        _ => Ok(Vec::new()),
    }
}
