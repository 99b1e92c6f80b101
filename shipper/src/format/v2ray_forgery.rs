//! Lines that a client may have written into a log of V2Ray or Xray.
//!
//! The SOCKS inbound prints the name that it refuses, raw: `… invalid domain name: <name>`. A name with a newline in it ends that
//! line and begins others, which look like the program's own. A name of SOCKS has 255 bytes at most, so a forged line stands
//! whole within the 255 bytes behind the mark. What stands there and goes back in time, or is not of the form that the line
//! before had, gives itself away; for the rest of it nobody can tell, and the record says so.

use memchr::memmem::Finder;

use super::record::Record;

/// The longest name that SOCKS can carry (RFC 1928, section 5).
const LONGEST_NAME: usize = 255;
/// Times are printed by several goroutines: this much disorder is no sign, in nanoseconds.
const DISORDER: i64 = 2_000_000_000;
/// Times this much later than the line before are a sign, in nanoseconds.
const AHEAD: i64 = 86_400_000_000_000;
/// Nothing gives the line away, nor does anything vouch for it.
const UNDECIDED: &str = "after-refused-name";

/// What is remembered of the line that carried a name.
#[derive(Debug)]
pub(super) struct Forgery {
    mark: Finder<'static>,
    /// The record that may be forged next.
    next: u64,
    /// How much of the name may still come.
    left: usize,
    time: Option<i64>,
    form: Form,
}

/// What all lines of one program have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Form {
    /// The time has a fraction.
    fraction: bool,
    /// Access lines begin with "from ".
    from: Option<bool>,
}

impl Forgery {
    pub(super) fn new() -> Self {
        Self { mark: Finder::new("invalid domain name: "), next: 0, left: 0, time: None, form: Form::default() }
    }

    /// Marks a record that a client may have written.
    pub(super) fn check(&mut self, record: &mut Record<'_>, line: &[u8], seq: u64) {
        let form = Form::of(record, line);
        // Empty lines are not handed on; each is a byte of the name.
        let taken = seq.checked_sub(self.next).map_or(usize::MAX, |empty| line.len().saturating_add(empty as usize));
        let within = taken < self.left;
        self.next = seq.saturating_add(1);
        self.left = if within { self.left - taken - 1 } else { 0 };
        let mut given_away = false;
        if within {
            let reason = self.reason(record, form);
            given_away = reason != UNDECIDED;
            record.suspect = Some(reason);
        }
        // A line that cannot be told may carry a name of its own.
        if !given_away && let Some(at) = self.mark.find(line) {
            self.left = self.left.max(LONGEST_NAME.saturating_sub(line.len() - at - self.mark.needle().len()));
            (self.time, self.form) = (record.time, form);
        }
    }

    fn reason(&self, record: &Record<'_>, form: Form) -> &'static str {
        let time = match (record.time, self.time) {
            (Some(now), Some(before)) => now.saturating_sub(before),
            _ => 0,
        };
        let other_form = |left: Option<bool>, right: Option<bool>| left.is_some() && right.is_some() && left != right;
        if !(-DISORDER..=AHEAD).contains(&time) {
            "time-out-of-order"
        } else if !record.parsed || form.fraction != self.form.fraction || other_form(form.from, self.form.from) {
            "form-differs"
        } else {
            UNDECIDED
        }
    }
}

impl Form {
    fn of(record: &Record<'_>, line: &[u8]) -> Self {
        let date =
            memchr::memchr(b'/', &line[..line.len().min(160)]).and_then(|slash| line.get(slash.checked_sub(4)?..));
        let date = date.unwrap_or_default();
        let fraction = date.get(19) == Some(&b'.');
        let message = date.get(if fraction { 27 } else { 20 }..).unwrap_or_default();
        let from = (record.dataset == "v2ray.access" && record.parsed).then(|| message.starts_with(b"from "));
        Self { fraction, from }
    }
}

#[cfg(test)]
mod tests {
    use crate::format::tests::{frame, gateway, info, record};
    use crate::format::{Encoder, Frame, Kind};
    use serde_json::{Value, json};

    /// `waybill.suspect` of each line of a stream.
    fn suspects(lines: &[&str]) -> Vec<Value> {
        let mut encoder = Encoder::new(&gateway(Kind::V2RayAccess), &info()).unwrap();
        let handed_on = lines.iter().zip(1..).filter(|(line, _)| !line.is_empty());
        let frames = handed_on.map(|(line, seq)| Frame { seq, ..frame(line.as_bytes()) });
        frames
            .map(|frame| {
                let mut out = Vec::new();
                encoder.encode(&frame, &mut out);
                record(&out)["waybill"]["suspect"].clone()
            })
            .collect()
    }

    const CARRIER: &str = "2026/11/21 22:27:15.704255 from tcp:127.0.0.1:36836 rejected  proxy/socks: failed to read address > common/protocol: invalid domain name: evil.test";
    const PLAIN: &str = "2026/11/21 22:27:15.804255 from 127.0.0.1:5 accepted tcp:a.test:443 [in >> direct]";

    #[test]
    fn what_gives_itself_away_is_told_from_what_cannot_be_told() {
        for (line, reason) in [
            (
                "2026/01/01 00:00:00 from 192.0.2.9:1 accepted tcp:forged.test:443 [in-socks >> direct] email: x",
                "time-out-of-order",
            ),
            (
                "2027/11/21 22:27:15.704255 from 192.0.2.9:1 accepted tcp:forged.test:443 [in >> direct]",
                "time-out-of-order",
            ),
            ("2026/11/21 22:27:15 from 192.0.2.9:1 accepted tcp:forged.test:443 [in >> direct]", "form-differs"),
            ("2026/11/21 22:27:15.804255 192.0.2.9:1 accepted tcp:forged.test:443 [direct]", "form-differs"),
            ("anything", "form-differs"),
            (PLAIN, "after-refused-name"),
        ] {
            assert_eq!(suspects(&[PLAIN, CARRIER, line])[2], json!(reason), "{line}");
            assert_eq!(suspects(&[PLAIN, line])[1], Value::Null, "{line}");
        }
    }

    #[test]
    fn a_name_is_not_endless() {
        assert_eq!(suspects(&[CARRIER, "", "", PLAIN]), [Value::Null, json!("after-refused-name")]);
        let long = format!("{CARRIER}{}", "x".repeat(240));
        assert_eq!(suspects(&[&long, PLAIN]), [Value::Null, Value::Null]);
        let many: Vec<Value> = suspects(&[CARRIER, PLAIN, PLAIN, PLAIN, PLAIN]);
        assert!(many[1].is_string() && many[2].is_string());
        assert_eq!(many[4], Value::Null);
        let forged = CARRIER.replace("2026/11", "2026/10");
        let again = suspects(&[CARRIER, &forged, PLAIN, PLAIN]);
        assert_eq!((&again[1], &again[3]), (&json!("time-out-of-order"), &Value::Null));
    }
}
