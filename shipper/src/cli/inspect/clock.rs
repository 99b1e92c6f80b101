//! `waybill inspect clock`: whether retention by age waits because the clock was set, and the word that the clock is right.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{fail, read};
use crate::agent::CLOCK_CONFIRMED;
use crate::cli::text::{self, moment, span};
use crate::engine::Now;
use crate::rotate::retain;

/// Show whether files go for their age, and say that the clock is right
///
/// After a step of the clock by more than an hour nothing is removed for its age for 24 hours, for a clock that is wrong would make
/// everything old at once. Look at the clock (timedatectl), then confirm it: files go for their age again at once, or when the agent
/// starts.
#[derive(Debug, Args)]
pub struct ClockArgs {
    /// Say that the clock is right
    #[arg(long)]
    pub confirm: bool,
}

impl ClockArgs {
    pub(super) fn run(&self, dir: &Path, json: bool) -> ExitCode {
        let state = match read(dir) {
            Ok((state, _)) => state,
            Err(error) => return fail(&error),
        };
        let (stepped, now) = (state.node.clock_stepped, Now::read());
        let (watch, _) = retain::ClockWatch::new(now.wall, now.mono, None, stepped);
        let left = watch.left(now.mono).filter(|_| stepped != 0);
        if self.confirm && left.is_some() {
            if let Err(error) = std::fs::write(dir.join(CLOCK_CONFIRMED), b"") {
                return fail(&format!("failed to write {}: {error}", dir.join(CLOCK_CONFIRMED).display()));
            }
            return text::print("files go for their age again, at once if the agent runs, else when it starts\n");
        }
        if json {
            let seconds = left.map(|left| left.as_secs());
            let row = json!({"steppedAt": (stepped != 0).then_some(stepped), "pausedSeconds": seconds});
            return text::print(&format!("{row}\n"));
        }
        text::print(&match left {
            Some(left) => format!(
                "the clock was set by more than an hour, seen at {}; nothing is removed for its age for {} more\n",
                moment(stepped),
                span(left.as_secs_f64())
            ),
            None => "the clock was not set lately: files go for their age\n".to_owned(),
        })
    }
}
