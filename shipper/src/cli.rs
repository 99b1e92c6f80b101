//! One file a subcommand.

pub mod check;
pub mod completion;
pub mod inspect;
pub mod parse;
pub mod run;
pub mod setup;
pub mod status;
mod tables;
mod text;

use std::process::ExitCode;

use clap::Parser;

/// Ships audit logs, and proves that every record arrived
///
/// Reads the audit files that a policy names, turns each line into one canonical record, and delivers it to every sink of the policy. One
/// document, an AuditPolicy, says all of it; it is the same file that Kubernetes takes.
#[derive(Debug, Parser)]
#[command(
    name = "waybill",
    version,
    after_long_help = "\
Examples:
  waybill check -f policy.yaml              every mistake in it, with its place
  waybill run -f policy.yaml                ship, until SIGTERM
  waybill setup -f policy.yaml              once: templates and retention at the sinks, with an administrator's login
  waybill status                            what the running agent is doing
  waybill parse --format V2RayAccess access.log | jq .

Environment:
  WAYBILL_ENABLED=false   the kill switch of last resort: run delivers nothing until it is lifted, whatever the policy says
  WAYBILL_FILE=PATH       where the archive file goes, instead of where the policy or the default puts it
  WAYBILL_INOTIFY=off     look at the files every half second instead of being told of changes
  WAYBILL_LOG=LEVEL       how much run says on standard error: error, warn, info, debug or trace

Exit status: 0 done, 1 failed, 2 the arguments are wrong, 3 the policy cannot be used."
)]
#[expect(missing_docs, reason = "each subcommand is explained at its arguments, where its help comes from")]
pub enum Cli {
    Run(run::RunArgs),
    Check(check::CheckArgs),
    Setup(setup::SetupArgs),
    Parse(parse::Arguments),
    Inspect(inspect::InspectArgs),
    Status(status::StatusArgs),
    Completion(completion::CompletionArgs),
}

impl Cli {
    /// Does what was asked.
    pub fn run(self) -> ExitCode {
        match self {
            Self::Run(args) => args.run(),
            Self::Check(args) => args.run(),
            Self::Setup(args) => args.run(),
            Self::Parse(args) => parse::run(&args),
            Self::Inspect(args) => args.run(),
            Self::Status(args) => args.run(),
            Self::Completion(args) => args.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_are_sound_and_every_subcommand_and_option_is_explained() {
        fn explained(command: &clap::Command) {
            let name = command.get_name();
            assert!(command.get_about().is_some(), "{name}");
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{name}: {}", argument.get_id());
            }
            command.get_subcommands().for_each(explained);
        }
        let command = Cli::command();
        command.clone().debug_assert();
        explained(&command);
    }
}
