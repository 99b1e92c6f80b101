//! `waybill`: arguments, then one call.

use clap::Parser as _;

fn main() -> std::process::ExitCode {
    waybill::cli::Cli::parse().run()
}
