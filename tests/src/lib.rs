//! What the integration tests start, write and count with.
//!
//! A test makes a [`room`], writes a [`policy`] into it, starts an [`agent`] and lets [`writer`]s do to log files what programs
//! and rotators do. Each writer enters every line in its [`book`]; at the end the [`oracle`] holds the books against the
//! [`output`] and the ledger entries in it, knowing from the [`history`] when the agent was killed or stopped.
#![forbid(unsafe_code)]

pub mod agent;
pub mod book;
pub mod certificates;
pub mod cloudwatch;
pub mod cluster;
pub mod demo;
pub mod disk;
pub mod elasticsearch;
pub mod face;
pub mod fault;
pub mod gate;
pub mod history;
pub mod http;
pub mod jars;
pub mod kafka;
pub mod logs;
pub mod moto;
pub mod mount;
pub mod opensearch;
pub mod oracle;
pub mod output;
pub mod policy;
pub mod process;
pub mod proxy;
pub mod rng;
pub mod room;
pub mod sampler;
pub mod scale;
pub mod scene;
pub mod shipment;
pub mod skip;
pub mod stage;
pub mod syslog;
pub mod tormentor;
pub mod v2ray;
pub mod wait;
pub mod watch;
pub mod web;
pub mod writer;
pub mod xray;
