//! The Waybill node agent.
//!
//! A record's way reads from top to bottom: `source` → `format` → `lane` → `sink`, with `state` beside it.
#![deny(unsafe_code)]

pub mod agent;
pub mod cli;
pub mod engine;
pub mod format;
pub mod guard;
mod input;
pub mod lane;
pub mod observe;
pub mod plan;
pub mod rotate;
pub mod sink;
pub mod source;
pub mod state;
pub mod table;
