//! A record as a message of RFC 5424. What comes from a log line is an attacker's text: here it becomes data of one message.

use std::fmt::Write as _;

use waybill_crds::SyslogSink;

use crate::sink::View;

/// The name of our structured data. 32473 is the enterprise number that RFC 5612 sets aside for documentation; Waybill has none of its
/// own.
pub const STRUCTURED_DATA: &str = "waybill@32473";
/// Longest value of a parameter, in bytes; the whole value is in the message's body.
const VALUE: usize = 1024;
/// Longest host name (RFC 5424, section 6).
const HOSTNAME: usize = 255;
/// Longest name of an application.
const APP_NAME: usize = 48;
/// Longest message id.
const MSGID: usize = 32;
/// What says that the body is UTF-8.
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// Writes messages of one sink.
#[derive(Debug, Clone)]
pub struct Writer {
    /// Priority and version, up to the blank before the time.
    start: String,
    host: String,
}

impl Writer {
    /// With the facility and severity of the policy, and the node's name.
    pub fn new(plan: &SyslogSink, host: &str) -> Self {
        let priority = u16::from(plan.facility.code()) * 8 + u16::from(plan.severity.code());
        let mut name = String::new();
        push_name(&mut name, host, HOSTNAME);
        Self { start: format!("<{priority}>1 "), host: name }
    }

    /// Appends a message. `record` is the canonical record, `body` what is delivered of it.
    pub fn write(&self, out: &mut Vec<u8>, record: &[u8], body: &[u8]) {
        let mut head = self.start.clone();
        match View::of(record) {
            Some(view) => {
                push_time(&mut head, view.time);
                head.push(' ');
                head.push_str(&self.host);
                head.push(' ');
                push_name(&mut head, &view.source, APP_NAME);
                head.push_str(" - ");
                push_name(&mut head, view.outcome.unwrap_or_default(), MSGID);
                let _infallible = write!(head, " [{STRUCTURED_DATA}");
                push_param(&mut head, "id", Some(view.id));
                push_param(&mut head, "outcome", view.outcome);
                push_param(&mut head, "user", view.user.as_deref());
                push_param(&mut head, "address", view.address.as_deref());
                head.push_str("] ");
            }
            // Only damage brings this about; the body still goes out.
            None => {
                let _infallible = write!(head, "- {} - - - - ", self.host);
            }
        }
        out.extend_from_slice(head.as_bytes());
        if !body.is_ascii() && std::str::from_utf8(body).is_ok() {
            out.extend_from_slice(BOM);
        }
        out.extend_from_slice(body);
    }
}

/// A time with at most six digits of a second, as RFC 5424 wants it; what is no time of its calendar becomes `-`.
fn push_time(out: &mut String, text: &str) {
    match text.parse::<jiff::Timestamp>() {
        Ok(time) if (0..=9999).contains(&time.to_zoned(jiff::tz::TimeZone::UTC).year()) => {
            let _infallible = write!(out, "{time:.6}");
        }
        _ => out.push('-'),
    }
}

/// A name of printable ASCII without blanks, cut to `most` bytes; every other character becomes `_`, nothing becomes `-`.
fn push_name(out: &mut String, text: &str, most: usize) {
    if text.is_empty() {
        out.push('-');
    }
    out.extend(text.chars().take(most).map(|c| if c.is_ascii_graphic() { c } else { '_' }));
}

/// One parameter, if it has a value. Quotes, backslashes and closing brackets are escaped. Characters that would start a new line or
/// steer a terminal become U+FFFD, which nobody can type by accident.
fn push_param(out: &mut String, name: &str, value: Option<&str>) {
    let Some(value) = value else { return };
    let _infallible = write!(out, " {name}=\"");
    let mut room = VALUE;
    for c in value.chars() {
        let c = if steers(c) { char::REPLACEMENT_CHARACTER } else { c };
        let Some(left) = room.checked_sub(c.len_utf8()) else { break };
        room = left;
        if matches!(c, '"' | '\\' | ']') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

/// Control characters, separators of lines and paragraphs, and marks that turn the direction of writing.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Appends a message with its length before it (RFC 6587, section 3.4.1): no byte of it can end it early.
pub fn frame(out: &mut Vec<u8>, message: &[u8]) {
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(digits.format(message.len()).as_bytes());
    out.push(b' ');
    out.extend_from_slice(message);
}

/// Cuts a message to at most `most` bytes, in front of the character that would not fit. Says whether it was longer.
pub fn cut(message: &mut Vec<u8>, most: usize) -> bool {
    if message.len() <= most {
        return false;
    }
    let mut end = most;
    // In UTF-8 a character has at most three bytes behind its first; other bytes are cut where the room ends.
    for back in 0..4 {
        let Some(at) = most.checked_sub(back) else { break };
        if message.get(at).is_some_and(|byte| byte & 0xC0 != 0x80) {
            end = at;
            break;
        }
    }
    message.truncate(end);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn writer(host: &str) -> Writer {
        let plan = serde_json::json!({"address": "siem:6514", "facility": "authpriv"});
        Writer::new(&serde_json::from_value(plan).unwrap(), host)
    }

    fn record(user: &str, source: &str, time: &str) -> Vec<u8> {
        let id = format!("{}-{:016x}-{:016x}", "0".repeat(32), 7, 9);
        serde_json::to_vec(&serde_json::json!({
            "@timestamp": time, "user": {"name": user}, "source": {"ip": "192.0.2.1"},
            "waybill": {"id": id, "source": source, "outcome": "deny"},
        }))
        .unwrap()
    }

    fn text(user: &str, body: &[u8]) -> String {
        let mut out = Vec::new();
        writer("gate-1").write(&mut out, &record(user, "gate", "2026-01-02T03:04:05.123456789Z"), body);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn a_message_as_the_standard_has_it() {
        assert_eq!(
            text("bob", b"{}"),
            format!(
                "<86>1 2026-01-02T03:04:05.123456Z gate-1 gate - deny [waybill@32473 id=\"{}-{:016x}-{:016x}\" \
                 outcome=\"deny\" user=\"bob\" address=\"192.0.2.1\"] {{}}",
                "0".repeat(32),
                7,
                9
            )
        );
    }

    #[test]
    fn a_user_name_forges_nothing() {
        for (user, value) in [
            ("a\"] <34>1 - - - - - - x", r#"a\"\] <34>1 - - - - - - x"#),
            ("a\\\"]", r#"a\\\"\]"#),
            ("a\n<34>1 x\r\0", "a\u{FFFD}<34>1 x\u{FFFD}\u{FFFD}"),
            ("a\u{1b}[2J\u{85}\u{2028}\u{202e}b", "a\u{FFFD}[2J\u{FFFD}\u{FFFD}\u{FFFD}b"),
            ("日本]", "日本\\]"),
        ] {
            let message = text(user, b"{}");
            assert!(message.contains(&format!("user=\"{value}\" address=")), "{message}");
            assert!(!message.contains(['\n', '\r', '\0']), "{message}");
        }
        let long = text(&"é".repeat(5000), b"{}");
        assert!(long.contains(&format!("user=\"{}\"", "é".repeat(512))));
    }

    #[test]
    fn only_text_beyond_ascii_bears_the_mark() {
        assert!(text("a", b"plain").ends_with("] plain"));
        assert!(text("a", "h\u{e9}".as_bytes()).ends_with("] \u{feff}h\u{e9}"));
        let mut out = Vec::new();
        writer("h").write(&mut out, &record("a", "s", "2026-01-02T03:04:05Z"), b"\xff\xfe");
        assert!(out.ends_with(b"] \xff\xfe"));
    }

    #[test]
    fn names_and_times_stay_in_their_bounds() {
        let mut out = Vec::new();
        let long = "n".repeat(400);
        writer(&format!("a b\n{long}")).write(&mut out, &record("u", &long, "-000001-01-01T00:00:00Z"), b"x");
        let out = String::from_utf8(out).unwrap();
        let parts: Vec<&str> = out.split(' ').collect();
        assert_eq!((parts[0], parts[1]), ("<86>1", "-"));
        assert_eq!((parts[2].len(), &parts[2][..4], parts[3].len()), (255, "a_b_", 48));
        let mut damaged = Vec::new();
        writer("").write(&mut damaged, b"not a record", b"body");
        assert_eq!(damaged, b"<86>1 - - - - - - body");
    }

    #[test]
    fn a_cut_never_splits_a_character() {
        let whole = "a\u{e9}\u{20ac}\u{10348}".as_bytes();
        for (most, left) in [(0, 0), (1, 1), (2, 1), (3, 3), (5, 3), (6, 6), (9, 6), (10, 10), (11, 10)] {
            let mut message = whole.to_vec();
            assert_eq!(cut(&mut message, most), most < 10);
            assert_eq!(message.len(), left, "cut to {most}");
        }
        let mut binary = vec![0x80; 9];
        assert!(cut(&mut binary, 8));
        assert_eq!(binary.len(), 8);
    }

    /// Reads structured data as the standard has it; `None` if it is broken.
    fn params(message: &str) -> Option<(Vec<(String, String)>, &str)> {
        let rest = message.splitn(7, ' ').nth(6)?.strip_prefix('[')?;
        let mut rest = rest.strip_prefix(STRUCTURED_DATA)?;
        let mut found = Vec::new();
        loop {
            if let Some(body) = rest.strip_prefix("] ") {
                return Some((found, body));
            }
            let (name, value) = rest.strip_prefix(' ')?.split_once("=\"")?;
            let (mut text, mut chars) = (String::new(), value.char_indices());
            rest = loop {
                match chars.next()? {
                    (_, '\\') => text.push(chars.next()?.1),
                    (_, ']') => return None,
                    (at, '"') => break &value[at + 1..],
                    (_, c) => text.push(c),
                }
            };
            found.push((name.to_owned(), text));
        }
    }

    proptest! {
        #[test]
        fn whatever_the_name_is_the_message_reads_back(user in "\\PC{0,80}|[\\]\\\\\" =\\[\\n<>0-9]{0,40}", body in "\\PC{0,40}") {
            let message = text(&user, body.as_bytes());
            let (found, rest) = params(&message).unwrap();
            prop_assert_eq!(found.len(), 4);
            let shown: String = user.chars().map(|c| if steers(c) { '\u{FFFD}' } else { c }).collect();
            prop_assert_eq!(&found[2], &("user".to_owned(), shown));
            prop_assert_eq!(rest.strip_prefix('\u{feff}').unwrap_or(rest), body);
        }
    }
}
