//! `waybill`: arguments, then one call.
use clap::Parser as _;

#[derive(clap::Parser)]
enum Cli {
    Run(waybill::cli::run::RunArgs),
}

fn main() -> std::process::ExitCode {
    let Cli::Run(args) = Cli::parse();
    args.run()
}
