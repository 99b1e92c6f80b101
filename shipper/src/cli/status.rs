//! `waybill status`: what the running agent is doing, for a person at three in the morning.

mod attention;
mod client;
mod page;

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::cli::text;
use crate::engine::Now;
use crate::engine::report::Report;

/// Show what the running agent is doing
///
/// Answers in one page: what needs attention; whether events flow, source by source; whether each sink carries them; how many records
/// had which outcome; whether backups are bounded and compressed and what is open; and whether every byte is accounted for.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  waybill status                            the agent on this machine
  waybill status --watch                    redrawn every second, until Ctrl-C
  waybill status --json | jq '.lanes[]'     for programs
  kubectl exec POD -- waybill status        the agent in a pod

Exit status: 0 the agent answered, 1 it cannot be reached or did not answer, 2 the arguments are wrong.")]
pub struct StatusArgs {
    /// Where the agent listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9464")]
    pub listen: String,
    /// Print the whole report as JSON
    #[arg(long)]
    pub json: bool,
    /// Draw it again every second, until Ctrl-C
    #[arg(long)]
    pub watch: bool,
}

/// How often `--watch` draws.
const PERIOD: Duration = Duration::from_secs(1);

impl StatusArgs {
    /// Asks and shows.
    pub fn run(&self) -> ExitCode {
        let address = match client::address(&self.listen) {
            Ok(address) => address,
            Err(error) => return fail(&error),
        };
        if self.watch {
            return self.watch(address);
        }
        match self.look(address) {
            Ok(page) => text::print(&page),
            Err(error) => fail(&error),
        }
    }

    fn watch(&self, address: SocketAddr) -> ExitCode {
        let terminal = std::io::stdout().is_terminal();
        loop {
            let page =
                self.look(address).unwrap_or_else(|error| format!("waybill: {}\n", text::safe(&error.to_string())));
            let done = text::print(&if terminal { redraw(&page) } else { page });
            if done != ExitCode::SUCCESS {
                return done;
            }
            std::thread::sleep(PERIOD);
        }
    }

    fn look(&self, address: SocketAddr) -> Result<String, client::Error> {
        let answer = client::get(address, "/status")?;
        if self.json {
            return Ok(answer.body);
        }
        let report: Report = serde_json::from_str(&answer.body).map_err(|_| client::Error::Stranger(address))?;
        let mut out = String::new();
        let agent = answer.server.replacen('/', " ", 1);
        // Writing to a string cannot fail.
        let now = Now::read().wall;
        let _written = writeln!(out, "{} at {address}, {}", text::safe(&agent), text::moment(now));
        page::write(&mut out, &report, now);
        Ok(out)
    }
}

/// Over what is there already, so that nothing flickers.
fn redraw(page: &str) -> String {
    format!("\x1b[H{}\x1b[J", page.replace('\n', "\x1b[K\n"))
}

fn fail(error: &client::Error) -> ExitCode {
    eprintln!("waybill: {}", text::safe(&error.to_string()));
    ExitCode::FAILURE
}
