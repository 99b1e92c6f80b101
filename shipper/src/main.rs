//! `waybill`: arguments, then one call.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "waybill", version, about = "Ships audit logs, and proves that every record arrived")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Turn lines into canonical records: for forensics, backfill and trying out
    Parse(waybill::cli::parse::Arguments),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Parse(arguments) => waybill::cli::parse::run(&arguments),
    }
}
