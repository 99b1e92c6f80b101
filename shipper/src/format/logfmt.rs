//! What Go's `log/slog` prints as text, turned into the object that its JSON handler would have printed:
//! `time=… level=INFO msg="…" key=value …`, and, of a program that sets no handler, `2026/05/26 12:00:00 INFO … key=value …`.

use super::base::is_decimal;
use super::object::string;

/// More attributes than this, and it is no line of slog.
const MOST: usize = 128;

/// Writes the line as one JSON object. False, and nothing to be used, if it is of another form.
pub(super) fn to_json(line: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    out.push(b'{');
    write(line.trim_ascii(), out).is_some() && {
        out.push(b'}');
        true
    }
}

fn write(line: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut rest = line;
    if !line.starts_with(b"time=") && !line.starts_with(b"level=") {
        // The date and the level of the default handler; the message goes up to the first attribute.
        let date = line.get(..19).filter(|date| date[4] == b'/' && date[10] == b' ')?;
        let behind = line.get(20..)?;
        let end = memchr::memchr(b' ', behind)?;
        let (level, message) = (&behind[..end], &behind[end + 1..]);
        if ![&b"DEBUG"[..], b"INFO", b"WARN", b"ERROR"].contains(&level) {
            return None;
        }
        let attributes = first_attribute(message);
        let text = message[..attributes].trim_ascii_end();
        out.extend_from_slice(b"\"time\":\"");
        for byte in date {
            out.push(match byte {
                b'/' => b'-',
                b' ' => b'T',
                b'0'..=b'9' | b':' => *byte,
                _ => return None,
            });
        }
        out.extend_from_slice(b"\",\"level\":");
        string(out, level);
        out.extend_from_slice(b",\"msg\":");
        string(out, text);
        rest = &message[attributes..];
    }
    for _ in 0..MOST {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return Some(());
        }
        let equals = memchr::memchr(b'=', rest).filter(|at| *at > 0)?;
        let (key, value) = (&rest[..equals], &rest[equals + 1..]);
        if !is_key(key) {
            return None;
        }
        if out.len() > 1 {
            out.push(b',');
        }
        string(out, key);
        out.push(b':');
        rest = if value.starts_with(b"\"") { quoted(value, out)? } else { bare(value, out) };
    }
    None
}

fn is_key(key: &[u8]) -> bool {
    key.len() <= 64 && key.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(byte))
}

/// Where ` key=` begins for the first time.
fn first_attribute(message: &[u8]) -> usize {
    let begins = |at: usize| {
        let word = &message[at..];
        memchr::memchr(b'=', word).is_some_and(|equals| equals > 0 && is_key(&word[..equals]))
    };
    let blanks = memchr::memchr_iter(b' ', message).take(MOST).map(|blank| blank + 1);
    blanks.into_iter().find(|at| begins(*at)).unwrap_or(message.len())
}

/// A value up to the next blank.
fn bare<'a>(value: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let end = memchr::memchr(b' ', value).unwrap_or(value.len());
    if is_decimal(&value[..end]) {
        out.extend_from_slice(&value[..end]);
    } else {
        string(out, &value[..end]);
    }
    &value[end..]
}

/// A value as `strconv.Quote` prints it, whose escapes are almost those of JSON.
fn quoted<'a>(value: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    out.push(b'"');
    let mut at = 1;
    loop {
        match *value.get(at)? {
            b'"' => break,
            b'\\' => {
                let (text, taken): (&[u8], usize) = match *value.get(at + 1)? {
                    b'a' => (b"\\u0007", 2),
                    b'v' => (b"\\u000b", 2),
                    b'x' => {
                        let digits = value.get(at + 2..at + 4).filter(|two| two.iter().all(u8::is_ascii_hexdigit))?;
                        out.extend_from_slice(b"\\u00");
                        (digits, 4)
                    }
                    b'U' => (b"\\ufffd", 10),
                    b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't' => (&value[at..at + 2], 2),
                    b'u' => (value.get(at..at + 6).filter(|six| six[2..].iter().all(u8::is_ascii_hexdigit))?, 6),
                    _ => return None,
                };
                out.extend_from_slice(text);
                at += taken;
            }
            byte if byte < 0x20 => return None,
            byte => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out.push(b'"');
    Some(&value[at + 1..])
}

#[cfg(test)]
mod tests {
    use super::to_json;

    #[test]
    fn lines_of_slog() {
        for (line, json) in [
            (
                r#"time=2026-05-26T12:00:00.000Z level=INFO msg=tunnel.proxy.allow latency_ms=12 who="a \"b\"\x1b\n""#,
                r#"{"time":"2026-05-26T12:00:00.000Z","level":"INFO","msg":"tunnel.proxy.allow","latency_ms":12,"who":"a \"b\"\u001b\n"}"#,
            ),
            (
                "2026/05/26 12:00:00 WARN audit: buffer-full drops observed dropped_total=7",
                r#"{"time":"2026-05-26T12:00:00","level":"WARN","msg":"audit: buffer-full drops observed","dropped_total":7}"#,
            ),
            ("2026/05/26 12:00:00 INFO started", r#"{"time":"2026-05-26T12:00:00","level":"INFO","msg":"started"}"#),
        ] {
            let mut out = b"before".to_vec();
            assert!(to_json(line.as_bytes(), &mut out), "{line}");
            assert_eq!(String::from_utf8(out).unwrap(), json);
        }
        for line in ["", "hello", "time=", "time=1 x", "level=\"", "2026/05/26 12:00:00 hello", "level=a \"=b"] {
            let found = to_json(line.as_bytes(), &mut Vec::new());
            assert_eq!(found, line == "time=", "{line}");
        }
    }
}
