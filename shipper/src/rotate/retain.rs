//! What may go, and what must: decided on numbers alone. Pure.

use waybill_crds::MinFree;

const DAY_NS: i64 = 86_400 * 1_000_000_000;

/// The bounds of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bounds {
    /// Days that a file is kept; 0 = for ever.
    pub max_age_days: u32,
    /// Rotations that are kept; 0 = any number.
    pub max_files: u32,
    /// Bytes on disk that are kept; 0 = any number.
    pub max_total_size: u64,
    /// What has to stay free on the file system.
    pub min_free: Option<MinFree>,
    /// What required lanes lack may go too, with the loss entered first.
    pub evict: bool,
}

/// What goes as one: a rotated file, or the pieces of one rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    /// When it was made, or last written, nanoseconds since 1970 UTC.
    pub made: i64,
    /// Bytes on disk.
    pub size: u64,
    /// A required lane has not settled all of it.
    pub owed: bool,
}

/// The circumstances.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Nanoseconds since 1970 UTC.
    pub wall: i64,
    /// The clock was set: nothing goes for its age.
    pub age_paused: bool,
    /// Bytes that the file system has too few of.
    pub lacking: u64,
}

/// How many of the oldest units go. `units` is in the order of age, the oldest first. What goes is always the oldest of what there is:
/// one that has to stay keeps all that are younger.
pub fn surplus(units: &[Unit], bounds: &Bounds, now: Now) -> usize {
    let count = units.len();
    let too_many = if bounds.max_files == 0 { 0 } else { count.saturating_sub(bounds.max_files as usize) };
    let too_old = if bounds.max_age_days == 0 || now.age_paused {
        0
    } else {
        let limit = i64::from(bounds.max_age_days).saturating_mul(DAY_NS);
        units.iter().take_while(|u| now.wall.saturating_sub(u.made) > limit).count()
    };
    let mut left: u64 = units.iter().map(|u| u.size).sum();
    let mut too_large = 0;
    if bounds.max_total_size > 0 {
        too_large = units
            .iter()
            .take_while(|u| {
                let over = left > bounds.max_total_size;
                left -= u.size;
                over
            })
            .count();
    }
    let mut freed = 0;
    let pressed = units
        .iter()
        .take_while(|u| {
            let more = freed < now.lacking;
            freed += u.size;
            more
        })
        .count();
    let wanted = too_many.max(too_old).max(too_large).max(pressed);
    if bounds.evict { wanted } else { units.iter().take(wanted).take_while(|u| !u.owed).count() }
}

/// Bytes that a file system has too few of, given its size and what is free of it.
pub fn lacking(min_free: Option<MinFree>, size: u64, free: u64) -> u64 {
    let wanted = match min_free {
        None => 0,
        Some(MinFree::Percent(share)) => (u128::from(size) * u128::from(share) / 100) as u64,
        Some(MinFree::Bytes(bytes)) => bytes.0,
    };
    wanted.saturating_sub(free)
}

/// Notices that the clock was set: it and the time since the start of the machine no longer agree.
#[derive(Debug, Clone, Copy)]
pub struct ClockWatch {
    wall: i64,
    mono: std::time::Instant,
    paused_until: Option<std::time::Instant>,
}

/// A step beyond this is no correction but a mistake, before or after it.
const STEP_NS: i64 = 3_600 * 1_000_000_000;
/// How long retention by age waits for someone to notice.
const PAUSE: std::time::Duration = std::time::Duration::from_secs(86_400);

impl ClockWatch {
    /// Begins at a time. `last` is the youngest that is known of the time before the start, if any, so that a step backwards while
    /// nobody looked is noticed: then the second answer is true. `stepped` is when a step was noticed that no one has confirmed, as the
    /// clock then said; 0 = none.
    pub fn new(wall: i64, mono: std::time::Instant, last: Option<i64>, stepped: i64) -> (Self, bool) {
        let back = last.is_some_and(|last| last.saturating_sub(wall) > STEP_NS);
        let before = match u64::try_from(wall.saturating_sub(stepped)) {
            _ if stepped == 0 => None,
            Ok(ago) => PAUSE.checked_sub(std::time::Duration::from_nanos(ago)),
            // The clock went back again.
            Err(_) => Some(PAUSE),
        };
        let pause = if back { Some(PAUSE) } else { before };
        (Self { wall, mono, paused_until: pause.map(|pause| mono + pause) }, back)
    }

    /// Looks again; true if the clock was set since.
    pub fn look(&mut self, wall: i64, mono: std::time::Instant) -> bool {
        let passed = mono.saturating_duration_since(self.mono).as_nanos() as i64;
        let stepped = (wall.saturating_sub(self.wall)).saturating_sub(passed).saturating_abs() > STEP_NS;
        (self.wall, self.mono) = (wall, mono);
        if stepped {
            self.paused_until = Some(mono + PAUSE);
        }
        stepped
    }

    /// Retention by age waits.
    pub fn is_paused(&self, mono: std::time::Instant) -> bool {
        self.left(mono).is_some()
    }

    /// How long retention by age still waits.
    pub fn left(&self, mono: std::time::Instant) -> Option<std::time::Duration> {
        self.paused_until?.checked_duration_since(mono).filter(|left| !left.is_zero())
    }

    /// Someone says that the clock is right; true if retention by age waited for that.
    pub fn confirm(&mut self, mono: std::time::Instant) -> bool {
        let waited = self.is_paused(mono);
        self.paused_until = None;
        waited
    }
}

/// The size of a file system, and what is free of it for everyone, in bytes.
pub fn free_space(folder: &std::path::Path) -> Option<(u64, u64)> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    Some((stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    const NOW: Now = Now { wall: 100 * DAY_NS, age_paused: false, lacking: 0 };

    fn unit(day: i64, size: u64, owed: bool) -> Unit {
        Unit { made: day * DAY_NS, size, owed }
    }

    #[test]
    fn each_bound_alone() {
        let units = [unit(1, 10, false), unit(50, 10, false), unit(99, 10, false)];
        let with = |bounds: Bounds| surplus(&units, &bounds, NOW);
        assert_eq!(with(Bounds::default()), 0);
        assert_eq!(with(Bounds { max_age_days: 40, ..Bounds::default() }), 2);
        assert_eq!(with(Bounds { max_files: 2, ..Bounds::default() }), 1);
        assert_eq!(with(Bounds { max_total_size: 29, ..Bounds::default() }), 1);
        assert_eq!(with(Bounds { max_total_size: 30, ..Bounds::default() }), 0);
        assert_eq!(surplus(&units, &Bounds::default(), Now { lacking: 11, ..NOW }), 2);
        let aged = Bounds { max_age_days: 40, ..Bounds::default() };
        assert_eq!(surplus(&units, &aged, Now { age_paused: true, ..NOW }), 0);
    }

    #[test]
    fn what_is_owed_stays_and_keeps_what_is_younger() {
        let units = [unit(1, 10, false), unit(2, 10, true), unit(3, 10, false)];
        let bounds = Bounds { max_age_days: 1, ..Bounds::default() };
        assert_eq!(surplus(&units, &bounds, NOW), 1);
        assert_eq!(surplus(&units, &Bounds { evict: true, ..bounds }, NOW), 3);
    }

    #[test]
    fn what_is_lacking() {
        assert_eq!(lacking(Some(MinFree::Percent(10)), 1000, 40), 60);
        assert_eq!(lacking(Some(MinFree::Percent(10)), 1000, 100), 0);
        assert_eq!(lacking(Some(MinFree::Bytes(waybill_crds::ByteSize(70))), 1000, 40), 30);
        assert_eq!(lacking(None, 1000, 0), 0);
    }

    #[test]
    fn a_clock_that_was_set_is_noticed_in_both_directions() {
        let start = Instant::now();
        let hour = 3_600_000_000_000_i64;
        for step in [-2 * hour, 2 * hour, 40 * 24 * hour] {
            let (mut watch, _) = ClockWatch::new(0, start, None, 0);
            assert!(!watch.look(5_000_000_000, start + Duration::from_secs(5)));
            let later = start + Duration::from_secs(10);
            assert!(watch.look(10_000_000_000 + step, later));
            assert!(watch.is_paused(later + Duration::from_secs(86_000)));
            assert!(!watch.is_paused(later + Duration::from_secs(86_401)));
            assert!(watch.confirm(later) && !watch.is_paused(later) && !watch.confirm(later));
        }
        // Time that passed for both is no step.
        let (mut watch, _) = ClockWatch::new(0, start, None, 0);
        assert!(!watch.look(7 * hour, start + Duration::from_secs(7 * 3600)));
    }

    #[test]
    fn a_step_backwards_while_nobody_looked_is_noticed_and_a_restart_does_not_forget_a_step() {
        let start = Instant::now();
        let hour = 3_600_000_000_000_i64;
        let paused = |wall, last, stepped| {
            let (watch, noticed) = ClockWatch::new(wall, start, last, stepped);
            (watch.left(start).map(|left| left.as_secs() / 3600), noticed)
        };
        assert_eq!(paused(0, Some(2 * hour), 0), (Some(24), true));
        assert_eq!(paused(0, Some(hour / 2), 0), (None, false));
        assert_eq!(paused(30 * hour, None, 10 * hour), (Some(4), false));
        assert_eq!(paused(34 * hour, None, 10 * hour), (None, false));
        assert_eq!(paused(5 * hour, None, 10 * hour), (Some(24), false));
    }

    proptest::proptest! {
        /// With Hold nothing that is owed goes; what goes is the oldest; and no bound is left passed if nothing is owed.
        #[test]
        fn holds_for_all(
            mut units in proptest::collection::vec((0i64..100, 0u64..100, proptest::bool::weighted(0.1)), 0..20),
            max_files in 0u32..10, max_age_days in 0u32..100, max_total_size in 0u64..500, lacking in 0u64..200, evict: bool,
        ) {
            units.sort_unstable();
            let units: Vec<Unit> = units.into_iter().map(|(day, size, owed)| unit(day, size, owed)).collect();
            let bounds = Bounds { max_age_days, max_files, max_total_size, min_free: None, evict };
            let n = surplus(&units, &bounds, Now { lacking, ..NOW });
            if !evict {
                proptest::prop_assert!(units[..n].iter().all(|u| !u.owed));
            }
            let left = &units[n..];
            let free = evict || units.iter().all(|u| !u.owed);
            if free {
                proptest::prop_assert!(max_files == 0 || left.len() <= max_files as usize);
                proptest::prop_assert!(max_total_size == 0 || left.iter().map(|u| u.size).sum::<u64>() <= max_total_size);
                let old = |u: &Unit| NOW.wall - u.made > i64::from(max_age_days) * DAY_NS;
                proptest::prop_assert!(max_age_days == 0 || !left.iter().any(old));
            }
            // Not one more than a bound asks for.
            if n > 0 {
                let before = &units[n - 1..];
                let asked = (max_files > 0 && before.len() > max_files as usize)
                    || (max_total_size > 0 && before.iter().map(|u| u.size).sum::<u64>() > max_total_size)
                    || (max_age_days > 0 && NOW.wall - units[n - 1].made > i64::from(max_age_days) * DAY_NS)
                    || units[..n - 1].iter().map(|u| u.size).sum::<u64>() < lacking;
                proptest::prop_assert!(asked);
            }
        }
    }
}
