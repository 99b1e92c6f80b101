//! Waiting for a condition instead of for a time.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Asks again and again until `probe` answers with a value; an error of the probe ends the wait, and so does the deadline.
pub fn await_condition<T>(what: &str, within: Duration, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let began = Instant::now();
    let mut pause = Duration::from_millis(2);
    loop {
        if let Some(value) = probe()? {
            return Ok(value);
        }
        if began.elapsed() >= within {
            bail!("not within {within:?}: {what}");
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(15));
    }
}

/// The same for a condition that has no value.
pub fn await_true(what: &str, within: Duration, mut probe: impl FnMut() -> Result<bool>) -> Result<()> {
    await_condition(what, within, || Ok(probe()?.then_some(())))
}

/// Checks that a condition goes on holding for a while: the tool for "nothing comes out".
pub fn holds_for(what: &str, span: Duration, mut probe: impl FnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < span {
        if !probe()? {
            bail!("no longer after {:?}: {what}", began.elapsed());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_names_what_was_waited_for() {
        let late = await_true("the moon", Duration::from_millis(5), || Ok(false)).unwrap_err();
        assert!(late.to_string().contains("the moon"));
    }

    #[test]
    fn an_error_ends_the_wait_at_once() {
        let began = Instant::now();
        await_true("never", Duration::from_mins(1), || bail!("broken")).unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}
