//! One file a subcommand.

pub mod parse;
pub mod run;
