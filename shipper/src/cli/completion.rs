//! `waybill completion`: what a shell needs to complete the command line.

use std::process::ExitCode;

use clap::{Args, CommandFactory as _, ValueEnum};
use clap_complete::Shell;

use crate::cli::{Cli, text};

/// Print what a shell needs to complete waybill's command line
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  bash    waybill completion bash > /etc/bash_completion.d/waybill
  zsh     waybill completion zsh > \"${fpath[1]}/_waybill\"
  fish    waybill completion fish > ~/.config/fish/completions/waybill.fish")]
pub struct CompletionArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: Target,
}

/// A shell that can be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// GNU Bash
    Bash,
    /// Z shell
    Zsh,
    /// fish
    Fish,
}

impl CompletionArgs {
    /// Prints it.
    pub fn run(&self) -> ExitCode {
        text::print(&script(self.shell))
    }
}

fn script(target: Target) -> String {
    let shell = match target {
        Target::Bash => Shell::Bash,
        Target::Zsh => Shell::Zsh,
        Target::Fish => Shell::Fish,
    };
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "waybill", &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_learns_every_subcommand() {
        for target in [Target::Bash, Target::Zsh, Target::Fish] {
            let script = script(target);
            for name in ["run", "check", "parse", "inspect", "repair", "dead-letters", "status", "completion"] {
                assert!(script.contains(name), "{target:?}: {name}");
            }
        }
    }
}
