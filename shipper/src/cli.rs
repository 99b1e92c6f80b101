//! One file a subcommand.

pub mod check;
pub mod inspect;
pub mod parse;
pub mod run;

use std::process::ExitCode;

use clap::Parser;

/// Ships audit logs, and proves that every record arrived.
#[derive(Debug, Parser)]
#[command(name = "waybill", version)]
pub enum Cli {
    Run(run::RunArgs),
    Check(check::CheckArgs),
    Parse(parse::Arguments),
    Inspect(inspect::InspectArgs),
}

impl Cli {
    /// Does what was asked.
    pub fn run(self) -> ExitCode {
        match self {
            Self::Run(args) => args.run(),
            Self::Check(args) => args.run(),
            Self::Parse(args) => parse::run(&args),
            Self::Inspect(args) => args.run(),
        }
    }
}
