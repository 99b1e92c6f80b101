//! Times: reading what programs print, writing RFC 3339.
//!
//! Years from 1970 to 2261 are taken, which is what fits into nanoseconds in 64 bits; anything else, and every date that the
//! calendar does not have, is not a time. A leap second (`:60`) is not one either: no program here prints it.

use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, civil};

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400;

/// A moment that a line names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    /// Nanoseconds since 1970 UTC.
    pub(super) time: i64,
    /// The local time occurs twice; the first pass was taken.
    pub(super) ambiguous: bool,
}

/// Turns local times into instants. The span around the last one in which the offset does not change is kept, so that the time
/// zone's rules are looked up once in a season instead of once a line.
#[derive(Debug)]
pub(super) struct Clock {
    zone: TimeZone,
    /// Local seconds from and up to which `offset` holds and is unambiguous.
    from: i64,
    until: i64,
    offset: i64,
    memo: [u8; 19],
    memo_moment: Moment,
}

impl Clock {
    pub(super) fn new(zone: TimeZone) -> Self {
        Self { zone, from: 0, until: 0, offset: 0, memo: [0; 19], memo_moment: Moment { time: 0, ambiguous: false } }
    }

    /// The instant of a local time in seconds.
    fn instant(&mut self, local: i64, nanos: i64) -> Option<Moment> {
        if (self.from..self.until).contains(&local) {
            return Some(Moment {
                time: (local - self.offset).checked_mul(SECOND)?.checked_add(nanos)?,
                ambiguous: false,
            });
        }
        let date_time =
            civil::date(1970, 1, 1).at(0, 0, 0, 0).checked_add(jiff::SignedDuration::from_secs(local)).ok()?;
        let candidate = self.zone.to_ambiguous_timestamp(date_time);
        let offset = candidate.offset();
        let instant = candidate.compatible().ok()?;
        if let AmbiguousOffset::Unambiguous { offset } = offset {
            self.widen(instant, i64::from(offset.seconds()));
        }
        let time = i64::try_from(instant.as_nanosecond()).ok()?.checked_add(nanos)?;
        Some(Moment { time, ambiguous: matches!(offset, AmbiguousOffset::Fold { .. }) })
    }

    /// Remembers the span around an instant in which its offset holds.
    fn widen(&mut self, instant: Timestamp, offset: i64) {
        self.offset = offset;
        // After a change back, the local times just behind it occur twice; after a change forward, those before are skipped.
        self.from = self.zone.preceding(instant + jiff::SignedDuration::from_secs(1)).next().map_or(0, |change| {
            let at = change.timestamp();
            let before = self.zone.to_offset(at - jiff::SignedDuration::from_nanos(1));
            at.as_second() + offset.max(i64::from(before.seconds()))
        });
        self.until = self.zone.following(instant).next().map_or(i64::MAX, |change| {
            change.timestamp().as_second() + offset.min(i64::from(change.offset().seconds()))
        });
    }

    /// Reads `2026/11/21 22:57:09[.995845]` (Go's `log` package, local time) and ancient V2Ray's `2018/9/15`. Answers the moment
    /// and the length read.
    pub(super) fn slashed(&mut self, text: &[u8]) -> Option<(Moment, usize)> {
        self.separated(text, b'/', b' ')
    }

    /// Reads a local date and time with these separators: `2026-11-21,22:57:09.995`. Answers the moment and the length read.
    pub(super) fn separated(&mut self, text: &[u8], in_date: u8, behind_date: u8) -> Option<(Moment, usize)> {
        let (moment, length) = match text.first_chunk::<19>() {
            Some(head) if *head == self.memo => (self.memo_moment, 19),
            _ => {
                let mut cursor = Cursor(text);
                let days = cursor.date(in_date)?;
                cursor.expect(behind_date)?;
                let moment = self.instant(days * DAY + cursor.clock()?, 0)?;
                let length = text.len() - cursor.0.len();
                if let (Some(head), 19) = (text.first_chunk::<19>(), length) {
                    (self.memo, self.memo_moment) = (*head, moment);
                }
                (moment, length)
            }
        };
        let mut cursor = Cursor(text.get(length..)?);
        let nanos = cursor.fraction()?;
        Some((Moment { time: moment.time.checked_add(nanos)?, ..moment }, text.len() - cursor.0.len()))
    }

    /// Reads a whole local date and time as a locale writes it in numbers: `11/21/2026 22:57:09.995`, `11/21/26 …`, `21.11.2026 …`,
    /// `2026-11-21 …`. Between slashes the month comes first, unless only the other order is a date.
    pub(super) fn written(&mut self, text: &[u8]) -> Option<Moment> {
        let mut cursor = Cursor(text);
        let days = cursor.written_date()?;
        cursor.expect(b' ')?;
        let seconds = cursor.clock()?;
        let nanos = cursor.fraction()?;
        cursor.0.is_empty().then_some(())?;
        self.instant(days * DAY + seconds, nanos)
    }

    /// Reads `Nov 21 22:45:14[.083979]`, the local time of RFC 3164, also with a year in front, behind the day or behind the
    /// time. Answers the moment and the length read.
    ///
    /// A missing year is the one that brings the time closest behind `observed`. Times up to two days ahead of it are taken as
    /// they are: clocks and zones differ. A line that is older than that year is therefore dated too late.
    pub(super) fn bsd(&mut self, text: &[u8], observed: i64) -> Option<(Moment, usize)> {
        let mut cursor = Cursor(text);
        let mut year = None;
        if text.first()?.is_ascii_digit() {
            year = Some(cursor.year()?);
            cursor.expect(b' ')?;
        }
        let month = cursor.month()?;
        cursor.expect(b' ')?;
        if cursor.0.first() == Some(&b' ') {
            cursor.expect(b' ')?;
        }
        let day = cursor.small()?;
        cursor.expect(b' ')?;
        if year.is_none() && cursor.0.get(4) == Some(&b' ') {
            year = Some(cursor.year()?);
            cursor.expect(b' ')?;
        }
        let seconds = cursor.clock()?;
        let nanos = cursor.fraction()?;
        if year.is_none() && matches!(cursor.0, [b' ', b'1' | b'2', _, _, _, b' ' | b':', ..]) {
            let mut behind = Cursor(&cursor.0[1..]);
            if let Some(found) = behind.year() {
                (year, cursor) = (Some(found), behind);
            }
        }
        let length = text.len() - cursor.0.len();
        let moment = match year {
            Some(year) => self.instant(days(year, month, day)? * DAY + seconds, nanos)?,
            None => self.closest(month, day, seconds, nanos, observed)?,
        };
        Some((moment, length))
    }

    /// The last time that this date came, as seen from `observed`.
    fn closest(&mut self, month: i64, day: i64, seconds: i64, nanos: i64, observed: i64) -> Option<Moment> {
        let latest = observed.saturating_add(2 * DAY * SECOND);
        let next = year_of(observed.div_euclid(SECOND)) + 1;
        // February 29 can be eight years back.
        (0..=9).find_map(|back| {
            let local = days(next - back, month, day)? * DAY + seconds;
            self.instant(local, nanos).filter(|moment| moment.time <= latest)
        })
    }

    /// Reads RFC 3339 and its common relatives: a blank instead of the `T`, an offset without colon, or none, which is local time.
    pub(super) fn rfc3339(&mut self, text: &[u8]) -> Option<Moment> {
        let mut cursor = Cursor(text);
        let days = cursor.date(b'-')?;
        let (b'T' | b't' | b' ', rest) = (*cursor.0.first()?, cursor.0.get(1..)?) else { return None };
        cursor.0 = rest;
        let local = days * DAY + cursor.clock()?;
        let nanos = cursor.fraction()?;
        match cursor.0 {
            [] => self.instant(local, nanos),
            zone => Some(Moment {
                time: (local - offset(zone)?).checked_mul(SECOND)?.checked_add(nanos)?,
                ambiguous: false,
            }),
        }
    }
}

/// Reads RFC 3339 with its offset.
pub(super) fn rfc3339(text: &[u8]) -> Option<i64> {
    let mut cursor = Cursor(text);
    let days = cursor.date(b'-')?;
    cursor.expect(b'T')?;
    let local = days * DAY + cursor.clock()?;
    let nanos = cursor.fraction()?;
    (local - offset(cursor.0)?).checked_mul(SECOND)?.checked_add(nanos)
}

/// Reads a number since 1970 whose unit its size tells: seconds, milliseconds, microseconds or nanoseconds.
pub(super) fn epoch(digits: &[u8]) -> Option<i64> {
    let mut cursor = Cursor(digits);
    let mut whole: i64 = 0;
    let mut count = 0;
    while let Some((digit @ b'0'..=b'9', rest)) = cursor.0.split_first() {
        whole = whole.checked_mul(10)?.checked_add(i64::from(digit - b'0'))?;
        count += 1;
        cursor.0 = rest;
    }
    let unit = match count {
        1..=11 => SECOND,
        12..=14 => SECOND / 1000,
        15..=17 => 1000,
        18..=19 => 1,
        _ => return None,
    };
    let nanos = cursor.fraction()? / (SECOND / unit);
    if !cursor.0.is_empty() {
        return None;
    }
    whole.checked_mul(unit)?.checked_add(nanos)
}

/// Seconds of `Z`, `+02:00`, `+0200`, or SoftEther's `+2:00`.
fn offset(text: &[u8]) -> Option<i64> {
    if matches!(text, [b'Z' | b'z']) {
        return Some(0);
    }
    let (sign, rest) = match text.split_first()? {
        (b'+', rest) => (1, rest),
        (b'-', rest) => (-1, rest),
        _ => return None,
    };
    let mut cursor = Cursor(rest);
    let hours = cursor.small()?;
    if cursor.0.first() == Some(&b':') {
        cursor.expect(b':')?;
    }
    let minutes = cursor.two()?;
    (cursor.0.is_empty() && hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn expect(&mut self, byte: u8) -> Option<()> {
        self.0 = self.0.strip_prefix(&[byte])?;
        Some(())
    }

    /// One or two digits.
    fn small(&mut self) -> Option<i64> {
        let (value, taken) = match *self.0 {
            [a @ b'0'..=b'9', b @ b'0'..=b'9', ..] => (i64::from(a - b'0') * 10 + i64::from(b - b'0'), 2),
            [a @ b'0'..=b'9', ..] => (i64::from(a - b'0'), 1),
            _ => return None,
        };
        self.0 = &self.0[taken..];
        Some(value)
    }

    fn two(&mut self) -> Option<i64> {
        if !self.0.get(1)?.is_ascii_digit() {
            return None;
        }
        self.small()
    }

    /// Four digits.
    fn year(&mut self) -> Option<i64> {
        Some(self.two()? * 100 + self.two()?)
    }

    /// The English abbreviation of a month.
    fn month(&mut self) -> Option<i64> {
        const NAMES: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
        let (name, rest) = self.0.split_at_checked(3)?;
        let index = NAMES.as_chunks::<3>().0.iter().position(|known| known == name)?;
        self.0 = rest;
        Some(index as i64 + 1)
    }

    /// Days since 1970.
    fn date(&mut self, separator: u8) -> Option<i64> {
        let year = self.year()?;
        self.expect(separator)?;
        let month = self.small()?;
        self.expect(separator)?;
        let day = self.small()?;
        days(year, month, day)
    }

    /// Days since 1970 of a date in numbers, whatever its order.
    fn written_date(&mut self) -> Option<i64> {
        let mut parts = [(0, 0); 3];
        let mut separator = None;
        for (index, part) in parts.iter_mut().enumerate() {
            if index > 0 {
                let (byte, rest) = self.0.split_first().filter(|(byte, _)| matches!(byte, b'/' | b'.' | b'-'))?;
                (separator.get_or_insert(*byte) == byte).then_some(())?;
                self.0 = rest;
            }
            let digits = self.0.iter().take(5).take_while(|byte| byte.is_ascii_digit()).count();
            let (text, rest) = self.0.split_at(digits);
            *part = (text.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0')), digits);
            self.0 = rest;
        }
        let [(first, width), (second, _), (last, last_width)] = parts;
        let century = |year, width| if width == 2 { 2000 + year } else { year };
        match separator? {
            _ if width == 4 => days(first, second, last),
            _ if last_width != 4 && last_width != 2 => None,
            b'/' => days(century(last, last_width), first, second)
                .or_else(|| days(century(last, last_width), second, first)),
            _ => days(century(last, last_width), second, first),
        }
    }

    /// Seconds since midnight.
    fn clock(&mut self) -> Option<i64> {
        let hour = self.two()?;
        self.expect(b':')?;
        let minute = self.two()?;
        self.expect(b':')?;
        let second = self.two()?;
        (hour < 24 && minute < 60 && second < 60).then_some(hour * 3600 + minute * 60 + second)
    }

    /// Nanoseconds; 0 if there is no fraction. Digits behind the ninth are cut.
    fn fraction(&mut self) -> Option<i64> {
        let [b'.' | b',', rest @ ..] = self.0 else { return Some(0) };
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        let (digits, rest) = rest.split_at(digits);
        self.0 = rest;
        let nanos = digits.iter().chain(std::iter::repeat(&b'0')).take(9);
        Some(nanos.fold(0, |nanos, digit| nanos * 10 + i64::from(digit - b'0')))
    }
}

/// Days since 1970 of a date that the calendar has (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1970..=2261).contains(&year) || !(1..=12).contains(&month) {
        return None;
    }
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    let year = if month > 2 { year } else { year - 1 };
    let of_era = year % 400;
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    Some(year / 400 * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// The year of a second since 1970, in UTC.
fn year_of(second: i64) -> i64 {
    let text = render(second);
    text[..4].iter().fold(0, |year, digit| year * 10 + i64::from(digit - b'0'))
}

/// Writes instants; the text of the last second is kept.
#[derive(Debug)]
pub(super) struct Stamp {
    second: i64,
    text: [u8; 19],
}

impl Stamp {
    pub(super) fn new() -> Self {
        Self { second: 0, text: *b"1970-01-01T00:00:00" }
    }

    /// Writes RFC 3339 in UTC with 3, 6 or 9 digits of fraction.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, time: i64) {
        let (second, mut nanos) = (time.div_euclid(SECOND), time.rem_euclid(SECOND));
        if second != self.second {
            self.second = second;
            self.text = render(second);
        }
        out.extend_from_slice(&self.text);
        let digits = match nanos {
            _ if nanos % 1_000_000 == 0 => 3,
            _ if nanos % 1_000 == 0 => 6,
            _ => 9,
        };
        let mut fraction = *b".000000000Z";
        for place in (1..=9).rev() {
            fraction[place] = b'0' + (nanos % 10) as u8;
            nanos /= 10;
        }
        fraction[digits + 1] = b'Z';
        out.extend_from_slice(&fraction[..digits + 2]);
    }
}

/// `YYYY-MM-DDTHH:MM:SS`; the inverse of [`days`].
fn render(second: i64) -> [u8; 19] {
    let (day, clock) = (second.div_euclid(DAY) + 719_468, second.rem_euclid(DAY));
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let mut text = *b"0000-00-00T00:00:00";
    let pairs = [
        year / 100,
        year % 100,
        month,
        of_year - (153 * shifted + 2) / 5 + 1,
        clock / 3600,
        clock / 60 % 60,
        clock % 60,
    ];
    for (value, place) in pairs.into_iter().zip([0, 2, 5, 8, 11, 14, 17]) {
        text[place] = b'0' + (value / 10 % 10) as u8;
        text[place + 1] = b'0' + (value % 10) as u8;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin() -> Clock {
        Clock::new(TimeZone::get("Europe/Berlin").unwrap())
    }

    fn nanos(text: &str) -> i64 {
        i64::try_from(text.parse::<Timestamp>().unwrap().as_nanosecond()).unwrap()
    }

    #[test]
    fn go_dates_of_every_age() {
        let mut clock = berlin();
        for (text, expected, length) in [
            ("2026/11/21 22:57:09.995845 from", "2026-11-21T21:57:09.995845Z", 26),
            ("2026/11/21 22:57:09 127.0.0.1", "2026-11-21T21:57:09Z", 19),
            ("2026/07/01 00:00:00", "2026-06-30T22:00:00Z", 19),
            ("2018/9/15 08:01:02 x", "2018-09-15T06:01:02Z", 18),
            ("2018/9/5 08:01:02.5 x", "2018-09-05T06:01:02.5Z", 19),
        ] {
            let (moment, read) = clock.slashed(text.as_bytes()).unwrap();
            assert_eq!((moment.time, moment.ambiguous, read), (nanos(expected), false, length), "{text}");
        }
    }

    #[test]
    fn dates_of_a_locale() {
        let mut clock = berlin();
        for text in [
            "11/21/2026 22:57:09.995",
            "11/21/26 22:57:09.995",
            "21/11/2026 22:57:09.995",
            "21.11.2026 22:57:09.995",
            "2026-11-21 22:57:09.995",
        ] {
            assert_eq!(clock.written(text.as_bytes()).unwrap().time, nanos("2026-11-21T21:57:09.995Z"), "{text}");
        }
        for text in [
            "",
            "1/2",
            "13/13/2026 00:00:00",
            "11/21-2026 00:00:00",
            "11/21/2026 00:00:00 x",
            "11/21/126 00:00:00",
            "//// 00:00:00",
        ] {
            assert_eq!(clock.written(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn nonsense_is_not_a_time() {
        let mut clock = berlin();
        for text in [
            "",
            "2026",
            "0000/01/01 00:00:00",
            "1969/12/31 23:59:59",
            "2262/01/01 00:00:00",
            "2026/13/01 00:00:00",
            "2026/02/29 00:00:00",
            "2026/00/10 00:00:00",
            "2026/01/32 00:00:00",
            "2026/01/01 24:00:00",
            "2026/01/01 00:60:00",
            "2016/12/31 23:59:60",
            "2026/01/01 Masked IPv6",
            "9999/99/99 99:99:99",
            "2026/01/01 00:00:00.",
            "2026-01-01 00:00:00",
            "２０２６/01/01 00:00:00",
        ] {
            assert_eq!(clock.slashed(text.as_bytes()), None, "{text}");
        }
        for text in ["2026-01-01T00:00:00+99:00", "2026-01-01T00:00:00Zz", "2026-01-01", "2026-01-01T00:00:00.Z"] {
            assert_eq!(rfc3339(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn the_repeated_hour_is_its_first_pass_and_the_skipped_one_moves_forward() {
        let mut clock = berlin();
        let mut at = |text: &str| clock.slashed(text.as_bytes()).unwrap().0;
        assert_eq!(at("2026/10/25 01:59:59"), Moment { time: nanos("2026-10-24T23:59:59Z"), ambiguous: false });
        assert_eq!(at("2026/10/25 02:00:00"), Moment { time: nanos("2026-10-25T00:00:00Z"), ambiguous: true });
        assert_eq!(at("2026/10/25 02:59:59"), Moment { time: nanos("2026-10-25T00:59:59Z"), ambiguous: true });
        assert_eq!(at("2026/10/25 03:00:00"), Moment { time: nanos("2026-10-25T02:00:00Z"), ambiguous: false });
        assert_eq!(at("2026/03/29 01:59:59"), Moment { time: nanos("2026-03-29T00:59:59Z"), ambiguous: false });
        assert_eq!(at("2026/03/29 02:30:00"), Moment { time: nanos("2026-03-29T01:30:00Z"), ambiguous: false });
        assert_eq!(at("2026/03/29 03:00:00"), Moment { time: nanos("2026-03-29T01:00:00Z"), ambiguous: false });
    }

    #[test]
    fn the_kept_span_agrees_with_the_time_zone() {
        for name in [
            "Europe/Berlin",
            "America/St_Johns",
            "Pacific/Apia",
            "Australia/Lord_Howe",
            "Africa/Casablanca",
            "UTC",
            "Asia/Kolkata",
        ] {
            let zone = TimeZone::get(name).unwrap();
            let mut clock = Clock::new(zone.clone());
            let mut local = days(2009, 1, 1).unwrap() * DAY;
            while local < days(2031, 1, 1).unwrap() * DAY {
                let date_time =
                    civil::date(1970, 1, 1).at(0, 0, 0, 0).checked_add(jiff::SignedDuration::from_secs(local)).unwrap();
                let expected = zone.to_ambiguous_timestamp(date_time);
                let fold = matches!(expected.offset(), AmbiguousOffset::Fold { .. });
                let moment = clock.instant(local, 0).unwrap();
                assert_eq!(
                    i128::from(moment.time),
                    expected.compatible().unwrap().as_nanosecond(),
                    "{name} {date_time}"
                );
                assert_eq!(moment.ambiguous, fold, "{name} {date_time}");
                local += 1733;
            }
        }
    }

    #[test]
    fn dates_without_a_year_are_the_last_that_came() {
        let mut clock = berlin();
        let mut at = |text: &'static str, observed: &str| {
            clock.bsd(text.as_bytes(), nanos(observed)).map(|(moment, length)| (moment.time, &text[length..]))
        };
        for (text, observed, expected, rest) in [
            ("Nov 21 22:45:14 vm", "2026-11-21T21:45:15Z", "2026-11-21T21:45:14Z", " vm"),
            ("Nov  1 22:45:14.25 vm", "2026-11-21T21:45:15Z", "2026-11-01T21:45:14.25Z", " vm"),
            ("Nov 1 22:45:14", "2026-11-21T21:45:15Z", "2026-11-01T21:45:14Z", ""),
            ("Dec 31 23:59:59 x", "2027-01-01T00:10:00Z", "2026-12-31T22:59:59Z", " x"),
            ("Jan  1 00:00:01 x", "2026-12-31T23:00:05Z", "2026-12-31T23:00:01Z", " x"),
            // The writer's clock is ahead of ours by two hours.
            ("Jan  1 01:00:01 x", "2026-12-31T22:00:00Z", "2027-01-01T00:00:01Z", " x"),
            ("Nov 24 22:45:14 x", "2026-11-21T21:45:15Z", "2025-11-24T21:45:14Z", " x"),
            ("Feb 29 12:00:00 x", "2026-11-21T21:45:15Z", "2024-02-29T11:00:00Z", " x"),
            ("Feb 29 12:00:00 x", "2103-01-01T00:00:00Z", "2096-02-29T11:00:00Z", " x"),
            // A year in the line counts.
            ("2004 Sep  7 10:00:00 x", "2026-11-21T21:45:15Z", "2004-09-07T08:00:00Z", " x"),
            ("Sep  7 2004 10:00:00 x", "2026-11-21T21:45:15Z", "2004-09-07T08:00:00Z", " x"),
            ("Sep  7 10:00:00 2004 x", "2026-11-21T21:45:15Z", "2004-09-07T08:00:00Z", " x"),
            ("Sep  7 10:00:00 2004x x", "2026-11-21T21:45:15Z", "2026-09-07T08:00:00Z", " 2004x x"),
        ] {
            assert_eq!(at(text, observed), Some((nanos(expected), rest)), "{text} seen {observed}");
        }
        for text in ["", "Nov", "nov 21 22:45:14", "Nov 31 22:45:14", "Nov 21 24:45:14", "2004 Nov", "Nov 21", "99"] {
            assert_eq!(at(text, "2026-11-21T21:45:15Z"), None, "{text}");
        }
    }

    #[test]
    fn rfc3339_and_numbers() {
        assert_eq!(rfc3339(b"2026-11-21T21:57:09.1234567891Z"), Some(nanos("2026-11-21T21:57:09.123456789Z")));
        assert_eq!(rfc3339(b"2026-11-21T23:57:09+02:00"), Some(nanos("2026-11-21T21:57:09Z")));
        let mut clock = berlin();
        assert_eq!(clock.rfc3339(b"2026-11-21 22:57:09,5").unwrap().time, nanos("2026-11-21T21:57:09.5Z"));
        assert_eq!(clock.rfc3339(b"2026-11-21T21:57:09-0030").unwrap().time, nanos("2026-11-21T22:27:09Z"));
        for (digits, expected) in [
            ("1795298229", "2026-11-21T21:57:09Z"),
            ("1795298229.25", "2026-11-21T21:57:09.25Z"),
            ("1795298229250", "2026-11-21T21:57:09.25Z"),
            ("1795298229250001", "2026-11-21T21:57:09.250001Z"),
            ("1795298229250001002", "2026-11-21T21:57:09.250001002Z"),
        ] {
            assert_eq!(epoch(digits.as_bytes()).map(|time| time - nanos(expected)), Some(0), "{digits}");
        }
        for digits in ["", "-1", "1e9", "99999999999999999999", "1795298229x"] {
            assert_eq!(epoch(digits.as_bytes()), None, "{digits}");
        }
    }

    #[test]
    fn stamps_are_rfc3339() {
        let mut stamp = Stamp::new();
        for (time, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (nanos("2026-11-21T21:57:09.995845Z"), "2026-11-21T21:57:09.995845Z"),
            (nanos("2024-02-29T23:59:59.000000001Z"), "2024-02-29T23:59:59.000000001Z"),
            (-1, "1969-12-31T23:59:59.999999999Z"),
            (i64::MAX, "2262-04-11T23:47:16.854775807Z"),
            (i64::MIN, "1677-09-21T00:12:43.145224192Z"),
        ] {
            let mut out = Vec::new();
            stamp.write(&mut out, time);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
