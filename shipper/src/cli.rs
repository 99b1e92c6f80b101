//! One file a subcommand.

pub mod parse;
