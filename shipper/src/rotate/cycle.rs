//! When a file is rotated, and what its archives are called. Pure.
//!
//! Names are as SoftEther's: `audit.log` becomes `audit_20261122.log` with a daily cycle (hourly `audit_20261122_15.log`, monthly
//! `audit_202611.log`), and the second of one cycle `audit_20261122~01.log`. Without a cycle only the number is there: `audit~01.log`.
//! Compressed ones have `.gz` or `.zst` behind that. A number is always higher than every one that is there, so that nothing is
//! overwritten when an hour comes twice: in autumn, or because a clock was put back.

use std::path::Path;

use jiff::Zoned;
use waybill_crds::Cycle;

use crate::source::decompress::Compression;

/// What is common to the archives that are made from `at` until the cycle turns.
pub fn stamp(cycle: Cycle, at: &Zoned) -> String {
    match cycle {
        Cycle::None => String::new(),
        Cycle::Hour => at.strftime("_%Y%m%d_%H").to_string(),
        Cycle::Day => at.strftime("_%Y%m%d").to_string(),
        Cycle::Month => at.strftime("_%Y%m").to_string(),
    }
}

/// Whether another cycle has come, forward or back, since a file's content began.
pub fn turned(cycle: Cycle, began: &Zoned, now: &Zoned) -> bool {
    stamp(cycle, began) != stamp(cycle, now)
}

/// The name of a live file, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveName {
    stem: String,
    extension: String,
}

impl LiveName {
    /// Stem and extension with its dot: `audit` and `.log`.
    pub fn of(path: &Path) -> Self {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let extension = path.extension().map_or_else(String::new, |e| format!(".{}", e.to_string_lossy()));
        Self { stem, extension }
    }

    /// What lies between stem and extension of an archive's name: a stamp, a number or both. `None`: someone else named it.
    fn middle<'a>(&self, name: &'a str) -> Option<&'a str> {
        let rest = name.strip_prefix(&self.stem)?;
        let plain = rest.strip_suffix(".gz").or_else(|| rest.strip_suffix(".zst")).unwrap_or(rest);
        let middle = plain.strip_suffix(self.extension.as_str())?;
        let ours = middle.starts_with(['_', '~']) && middle.chars().all(|c| c.is_ascii_digit() || c == '_' || c == '~');
        ours.then_some(middle)
    }

    /// Whether an archive of this file may have this name.
    pub fn is_archive(&self, name: &str) -> bool {
        self.middle(name).is_some()
    }

    /// The name of the next archive, compression aside, given the names that are taken.
    pub fn next<'a>(&self, cycle: Cycle, began: &Zoned, taken: impl IntoIterator<Item = &'a str>) -> String {
        let stamp = stamp(cycle, began);
        let mut number = u32::from(cycle == Cycle::None);
        for middle in taken.into_iter().filter_map(|name| self.middle(name)) {
            let Some(rest) = middle.strip_prefix(stamp.as_str()) else { continue };
            let next = match rest.strip_prefix('~') {
                Some(digits) => digits.parse::<u32>().map_or(0, |n| n.saturating_add(1)),
                None if rest.is_empty() => 1,
                // Another cycle's stamp that begins like this one: a day of this month.
                None => continue,
            };
            number = number.max(next);
        }
        let split = if number == 0 { String::new() } else { format!("~{number:02}") };
        format!("{}{stamp}{split}{}", self.stem, self.extension)
    }
}

/// What a compression puts behind a name.
pub fn suffix(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "",
        Compression::Gzip => ".gz",
        Compression::Zstd => ".zst",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Zoned {
        text.parse().unwrap()
    }

    fn audit() -> LiveName {
        LiveName::of(Path::new("/l/audit.log"))
    }

    #[test]
    fn cycles_follow_the_calendar_of_their_zone() {
        // The hour that is repeated in autumn is one cycle; the numbers keep its archives apart.
        let (first, again) = (at("2026-10-25T02:30+02:00[Europe/Berlin]"), at("2026-10-25T02:30+01:00[Europe/Berlin]"));
        assert!(!turned(Cycle::Hour, &first, &again));
        assert!(turned(Cycle::Hour, &first, &at("2026-10-25T03:00+01:00[Europe/Berlin]")));
        // In spring two o'clock never comes.
        let (before, after) = (at("2026-03-29T01:59:59[Europe/Berlin]"), at("2026-03-29T03:00[Europe/Berlin]"));
        assert!(turned(Cycle::Hour, &before, &after));
        assert!(!turned(Cycle::Day, &before, &after));
        assert!(turned(Cycle::Month, &first, &at("2026-11-01T00:00[Europe/Berlin]")));
        assert!(!turned(Cycle::Month, &at("2028-02-01T00:00[UTC]"), &at("2028-02-29T23:59:59[UTC]")));
        assert!(!turned(Cycle::None, &first, &at("2027-11-01T00:00[Europe/Berlin]")));
        // A clock that is put back is in another cycle too.
        assert!(turned(Cycle::Day, &at("2026-11-01T00:10[UTC]"), &at("2026-10-31T23:10[UTC]")));
    }

    #[test]
    fn names_count_up_and_foreign_names_do_not_count() {
        let day = at("2026-11-22T15:00[UTC]");
        assert_eq!(audit().next(Cycle::Day, &day, []), "audit_20261122.log");
        assert_eq!(audit().next(Cycle::Hour, &day, []), "audit_20261122_15.log");
        assert_eq!(audit().next(Cycle::None, &day, []), "audit~01.log");
        assert_eq!(audit().next(Cycle::Day, &day, ["audit_20261122.log.gz"]), "audit_20261122~01.log");
        let taken = ["audit_20261122.log.gz", "audit_20261122~99.log.zst", "audit_20261121~07.log"];
        assert_eq!(audit().next(Cycle::Day, &day, taken), "audit_20261122~100.log");
        // A day's archives do not count for the month's, though they begin alike.
        assert_eq!(audit().next(Cycle::Month, &day, ["audit_20261122.log.gz"]), "audit_202611.log");
        assert_eq!(audit().next(Cycle::None, &day, ["audit-copy.log", "audit~x.log", "audit~02.txt"]), "audit~01.log");
        assert!(!audit().is_archive("audit.log") && !audit().is_archive("audit.log.gz"));
        assert_eq!(LiveName::of(Path::new("/var/log/syslog")).next(Cycle::Day, &day, []), "syslog_20261122");
    }

    proptest::proptest! {
        /// Whatever the clock does, in any zone and cycle: no name comes twice, and within one cycle the numbers go up.
        #[test]
        fn no_name_comes_twice(
            steps in proptest::collection::vec(-7_200i64..90_000, 1..60),
            zone in proptest::sample::select(vec!["Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "UTC"]),
            cycle in proptest::sample::select(vec![Cycle::None, Cycle::Hour, Cycle::Day, Cycle::Month]),
        ) {
            let mut clock = 1_792_800_000;
            let mut taken: Vec<String> = Vec::new();
            for step in steps {
                clock += step;
                let now = jiff::Timestamp::from_second(clock).unwrap().in_tz(zone).unwrap();
                let name = audit().next(cycle, &now, taken.iter().map(String::as_str));
                proptest::prop_assert!(!taken.contains(&name), "{name}");
                proptest::prop_assert!(audit().is_archive(&name), "{name}");
                taken.push(name);
            }
        }
    }
}
