//! RFC 5424 over TLS, TCP or UDP.
//!
//! Syslog has no answers. Over TCP and TLS a record counts as delivered when the peer's kernel has it, and the last mebibyte goes out
//! again after a broken connection; over UDP it counts when it was sent. What a receiver may lose is written down in
//! `docs/sinks/syslog.md`.

pub mod connection;
pub mod datagram;
pub mod message;
pub mod stream;
pub mod unsent;
pub mod window;

use waybill_crds::{SyslogSink, SyslogTransport};

use super::{Context, Failure, Queue};
use connection::Connection;

/// Runs until the engine lets go of the sink.
pub fn run(queue: Queue, plan: &SyslogSink, context: &Context) {
    match plan.transport {
        SyslogTransport::Udp => datagram::run(queue, plan, context),
        SyslogTransport::Tcp | SyslogTransport::Tls => stream::run(queue, plan, context),
    }
}

/// Connects, without delivering anything.
pub fn probe(plan: &SyslogSink, context: &Context) -> Result<String, Failure> {
    if plan.transport == SyslogTransport::Udp {
        return datagram::probe(plan);
    }
    let mut connection = Connection::open(plan, context)?;
    let protection = connection.protection();
    if plan.transport == SyslogTransport::Tcp {
        connection.provoke()?;
    }
    connection.close();
    Ok(format!(
        "{} accepts connections ({protection}); look there whether records arrive, for syslog tells nobody",
        plan.address
    ))
}
