//! Kills, stops and ends the agent at random instants, and starts it again.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::agent::Agent;
use crate::rng::Rng;
use crate::stage::Stage;

/// How long to go on: until both are reached.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// At least so long.
    pub span: Duration,
    /// At least so many SIGKILLs.
    pub kills: usize,
}

/// What was done.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// SIGKILLs while it served.
    pub kills: usize,
    /// SIGKILLs before it answered.
    pub early: usize,
    /// SIGSTOPs.
    pub freezes: usize,
    /// SIGTERMs, each of which ended with 0.
    pub stops: usize,
}

/// Torments an agent, which must not run yet; leaves it running.
pub fn torment(agent: &mut Agent, stage: &Stage, rng: &mut Rng, plan: Plan) -> Result<Tally> {
    let (began, mut tally) = (Instant::now(), Tally::default());
    while began.elapsed() < plan.span || tally.kills + tally.early < plan.kills {
        stage.gate.up();
        agent.launch()?;
        if rng.chance(12) {
            pause(rng, 0..120);
            agent.kill()?;
            tally.early += 1;
        } else {
            agent.await_healthy()?;
            // Mostly short lives, with a long one now and then in which the agent catches up.
            let longest = if rng.chance(15) { 4000 } else { 900 };
            pause(rng, 20..longest);
            end(agent, stage, rng, &mut tally)?;
        }
        stage.gate.down();
        pause(rng, 0..400);
    }
    stage.gate.up();
    agent.start()?;
    Ok(tally)
}

fn end(agent: &mut Agent, stage: &Stage, rng: &mut Rng, tally: &mut Tally) -> Result<()> {
    match rng.within(0..100) {
        0..15 => {
            agent.freeze()?;
            tally.freezes += 1;
            stage.gate.down();
            pause(rng, 200..2500);
            stage.gate.up();
            agent.thaw()?;
            pause(rng, 0..600);
            tally.kills += 1;
            agent.kill()
        }
        15..27 => {
            tally.stops += 1;
            agent.stop()
        }
        _ => {
            tally.kills += 1;
            agent.kill()
        }
    }
}

/// A random time is the very point here: the instant of the next blow must not depend on what the agent does.
fn pause(rng: &mut Rng, millis: std::ops::Range<u64>) {
    thread::sleep(Duration::from_millis(rng.within(millis)));
}
