//! How the agent shows itself: a report goes in, what people and machines read comes out.
//!
//! - [`table`] names every metric; [`metrics`] fills it in from a report. Both are pure.
//! - [`process`] asks the kernel what the agent itself takes.
//! - [`summary`] is the short answer for the operator.
//! - [`server`] serves the pages; [`listener`] bounds what a peer can cost, [`latest`] what a question can.
//! - [`backups`] counts the archives of sinks for a report.

mod backups;
mod latest;
mod listener;
pub mod metrics;
pub mod process;
pub mod server;
pub mod summary;
pub mod table;

#[cfg(test)]
pub(crate) mod made_up;
