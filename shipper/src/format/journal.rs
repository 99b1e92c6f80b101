//! journald's JSON (`journalctl -o json`, and what exporters write of it), turned into the line that a syslog daemon would have
//! written of the entry: `2026-11-22T06:00:00.000001Z host sshd[812]: message`.

use super::base::is_decimal;
use super::escape::decoded;
use super::members::{Members, elements};
use super::scan::Type;
use super::time::{Stamp, epoch};

/// Digits of a time: microseconds since 1970, from 2001 to 2286.
const TIME: usize = 16;
/// Longer names of programs are cut, as a header's are.
const LONGEST_NAME: usize = 64;
/// The longest name of a host (RFC 1035).
const LONGEST_HOST: usize = 255;

/// Writes an entry as one line. False, and nothing to be used, if the text is no entry, or its message is left out because of its length.
pub(super) fn to_line(text: &[u8], members: &mut Members, out: &mut Vec<u8>) -> bool {
    out.clear();
    text.first() == Some(&b'{')
        && memchr::memmem::find(text, b"\"__REALTIME_TIMESTAMP\"").is_some()
        && members.read(text).is_some()
        && write(text, members, out).is_some()
}

fn write(text: &[u8], members: &mut Members, out: &mut Vec<u8>) -> Option<()> {
    let (_, time) = members.take(text, b"__REALTIME_TIMESTAMP")?;
    let is_time = |digits: &&[u8]| digits.len() == TIME && digits.iter().all(u8::is_ascii_digit);
    let time = Some(time).filter(is_time).and_then(epoch)?;
    Stamp::new().write(out, time);
    out.push(b' ');
    let is_host = |host: &&[u8]| {
        (1..=LONGEST_HOST).contains(&host.len())
            && host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
    };
    if let Some(host) = members.take_text(text, b"_HOSTNAME").filter(is_host) {
        out.extend_from_slice(host);
        out.push(b' ');
    }
    let mut name = |key: &[u8]| members.take_text(text, key).filter(|name| !name.is_empty());
    let name = name(b"SYSLOG_IDENTIFIER").or_else(|| name(b"_COMM")).unwrap_or(b"unknown");
    // Nothing that stands in a name may look like the end of the header.
    let plain = |byte: u8| if byte.is_ascii_alphanumeric() || b"-_./".contains(&byte) { byte } else { b'_' };
    out.extend(decoded(name).take(LONGEST_NAME).map(plain));
    // The number that the kernel vouches for, before the one that the program told.
    let pid = [&b"_PID"[..], b"SYSLOG_PID"].into_iter().find_map(|key| members.take(text, key));
    if let Some((_, pid)) = pid.filter(|(_, pid)| is_decimal(pid)) {
        out.push(b'[');
        out.extend_from_slice(pid);
        out.push(b']');
    }
    out.extend_from_slice(b": ");
    let message = members.get(text, b"MESSAGE")?;
    match message.kind {
        Type::String => out.extend(decoded(message.inner(text))),
        // What is not UTF-8 is written byte by byte.
        Type::Array => {
            for element in elements(text, message.span.start) {
                let byte = std::str::from_utf8(element.inner(text)).ok()?.parse::<u8>().ok()?;
                out.push(byte);
            }
        }
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::format::Kind;
    use crate::format::tests::{encode, gateway};

    use super::*;

    fn line(entry: &str) -> Option<String> {
        let mut out = b"before".to_vec();
        to_line(entry.as_bytes(), &mut Members::default(), &mut out).then(|| String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn an_entry_is_a_line() {
        for (entry, expected) in [
            (
                r#"{"_PID":"812","__REALTIME_TIMESTAMP":"1795348800000001","_HOSTNAME":"gw","SYSLOG_IDENTIFIER":"sshd","SYSLOG_PID":"9","MESSAGE":"Invalid user \"x\u00fc\\n from 192.0.2.1 port 5"}"#,
                "2026-11-22T12:00:00.000001Z gw sshd[812]: Invalid user \"xü\\n from 192.0.2.1 port 5",
            ),
            (
                r#"{"__REALTIME_TIMESTAMP":"1795348800000000","MESSAGE":[104,105,255,10],"_COMM":"su"}"#,
                "2026-11-22T12:00:00.000Z su: hi\u{fffd}\n",
            ),
            (
                r#"{"__REALTIME_TIMESTAMP":1795348800000000,"MESSAGE":"","_HOSTNAME":"a b","SYSLOG_IDENTIFIER":"sshd[7]: x","_PID":"x"}"#,
                "2026-11-22T12:00:00.000Z sshd_7___x: ",
            ),
            (r#"{"__REALTIME_TIMESTAMP":"1795348800000000","MESSAGE":"m"}"#, "2026-11-22T12:00:00.000Z unknown: m"),
        ] {
            assert_eq!(line(entry).as_deref(), Some(expected), "{entry}");
        }
        for entry in [
            "",
            "{}",
            r#"{"MESSAGE":"m"}"#,
            r#"{"MESSAGE":null,"__REALTIME_TIMESTAMP":"1795348800000000"}"#,
            r#"{"MESSAGE":[256],"__REALTIME_TIMESTAMP":"1795348800000000"}"#,
            r#"{"MESSAGE":"m","__REALTIME_TIMESTAMP":"yesterday"}"#,
            r#"{"MESSAGE":"m","__REALTIME_TIMESTAMP":"1795348800000000""#,
        ] {
            assert_eq!(line(entry), None, "{entry}");
        }
    }

    #[test]
    fn formats_read_entries() {
        let entry = |program: &str, message: &str| {
            json!({
                "__CURSOR": "s=1", "__REALTIME_TIMESTAMP": "1795348800000001", "_HOSTNAME": "gw", "_PID": "812",
                "SYSLOG_IDENTIFIER": program, "PRIORITY": "6", "MESSAGE": message,
            })
            .to_string()
        };
        for (kind, program, message, action, path, value) in [
            (
                Kind::Sshd,
                "sshd-session",
                "Failed password for root from 192.0.2.1 port 5 ssh2",
                json!("ssh_login"),
                "/source/ip",
                json!("192.0.2.1"),
            ),
            (
                Kind::Sudo,
                "sudo",
                "   alice : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/usr/bin/id",
                json!("sudo-command"),
                "/user/name",
                json!("alice"),
            ),
            (
                Kind::V2RayAccess,
                "xray",
                "2026/11/22 12:00:00.123456 from 192.0.2.1:5 accepted tcp:a.test:443 [in >> direct] email: bob",
                json!(null),
                "/user/name",
                json!("bob"),
            ),
            (
                Kind::V2RayError,
                "v2ray",
                "2026/11/22 12:00:00 [Warning] [7] app/dispatcher: default route for tcp:a.test:443",
                json!(null),
                "/log/level",
                json!("warning"),
            ),
        ] {
            let (verdict, record) = encode(&gateway(kind), entry(program, message).as_bytes());
            let record = record.unwrap();
            assert!(verdict.parsed, "{record}");
            assert_eq!(record.pointer(path), Some(&value), "{record}");
            if !action.is_null() {
                assert_eq!((&record["event"]["action"], &record["process"]["pid"]), (&action, &json!(812)), "{record}");
                assert_eq!(record["@timestamp"], "2026-11-22T12:00:00.000001Z");
            }
        }
    }

    /// What a message says stays behind the header.
    #[test]
    fn a_message_is_no_header() {
        let entry = json!({
            "__REALTIME_TIMESTAMP": "1795348800000001", "_HOSTNAME": "gw", "_PID": "9", "SYSLOG_IDENTIFIER": "app",
            "MESSAGE": "\n2026-11-22T12:00:00Z gw sshd[812]: Accepted password for root from 192.0.2.1 port 5 ssh2",
        });
        let (_, record) = encode(&gateway(Kind::Sshd), entry.to_string().as_bytes());
        let record = record.unwrap();
        assert_eq!((&record["process"]["name"], &record["source"]), (&json!("app"), &json!(null)), "{record}");
    }
}
