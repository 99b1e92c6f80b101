//! What a panel that runs V2Ray or Xray (x-ui and its kin, Marzban) writes around their lines, and its own.
//!
//! ```text
//! LEVEL " - " [ "XRAY: " ] message        x-ui, behind a date or not
//! LEVEL ": " blanks message               Marzban
//! ```
//!
//! x-ui prints the lines of its program without their dates, and with the level as its own.

use super::address::Version;
use super::peer::source;
use super::record::{Field, Record};
use super::settings::Outcome;
use super::sshd::{rsplit, split};
use super::v2ray_error;

const LEVELS: [(&[u8], &str); 7] = [
    (b"DEBUG", "debug"),
    (b"INFO", "info"),
    (b"NOTICE", "notice"),
    (b"WARNING", "warning"),
    (b"WARN", "warning"),
    (b"ERROR", "error"),
    (b"CRITICAL", "critical"),
];

/// The level and what follows its mark.
fn levelled(text: &[u8]) -> Option<(&'static str, &[u8])> {
    LEVELS.iter().find_map(|(word, level)| {
        let rest = text.strip_prefix(*word)?;
        let rest = rest.strip_prefix(b" - ").or_else(|| rest.strip_prefix(b": "))?;
        Some((*level, rest.trim_ascii_start()))
    })
}

/// A whole line of the program behind the panel's level.
pub(super) fn relayed(text: &[u8]) -> Option<&[u8]> {
    let (_, rest) = levelled(text)?;
    Some(rest.strip_prefix(b"XRAY: ").unwrap_or(rest))
}

/// Reads a message that has the panel's level and no date of its own. False, and nothing set, if it has no level.
pub(super) fn parse<'a>(record: &mut Record<'a>, text: &'a [u8], detail: &mut Vec<u8>) -> bool {
    let Some((level, rest)) = levelled(text) else { return false };
    if let Some(message) = rest.strip_prefix(b"XRAY: ") {
        v2ray_error::message(record, level, message, detail);
        return true;
    }
    record.dataset = "v2ray.panel";
    record.name(Field::LogLevel, level);
    record.set(Field::Message, rest);
    record.types = "\"info\"";
    login(record, rest);
    true
}

/// `alice login success,Ip Address:192.0.2.7`, x-ui's word on who came to it.
fn login<'a>(record: &mut Record<'a>, text: &'a [u8]) {
    let (name, address, outcome) = if let Some((name, address)) = rsplit(text, b" login success,Ip Address:") {
        (name, address, Outcome::Allow)
    } else if let Some(rest) = text.strip_prefix(b"wrong username") {
        let name = split(rest, b": \"").and_then(|(_, rest)| split(rest, b"\"")).map_or(&rest[..0], |(name, _)| name);
        let address = [&b", IP: \""[..], b", IP: "].iter().find_map(|mark| rsplit(rest, mark));
        (name, address.map_or(&rest[..0], |(_, address)| address.strip_suffix(b"\"").unwrap_or(address)), Outcome::Deny)
    } else {
        return;
    };
    record.name(Field::EventAction, "panel-login");
    record.category = "\"authentication\"";
    record.types = "\"start\"";
    record.outcome = Some(outcome);
    record.set(Field::UserName, name);
    let address = address.trim_ascii();
    if Version::of(address).is_some() {
        source(record, address, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &'static str) -> Record<'static> {
        let mut detail = Vec::new();
        let mut record = Record::new("v2ray", "");
        assert!(parse(&mut record, text.as_bytes(), &mut detail), "{text}");
        record
    }

    #[test]
    fn a_panel_says_who_came_to_it() {
        for (text, outcome, name, address) in [
            ("INFO - alice login success,Ip Address:192.0.2.7", Outcome::Allow, "alice", Some("192.0.2.7")),
            ("INFO - wrong username or password: \"bob\" \"***\"", Outcome::Deny, "bob", None),
            (
                "INFO - wrong username or password: \"bob\" \"***\", IP: 2001:db8::7",
                Outcome::Deny,
                "bob",
                Some("2001:db8::7"),
            ),
            (
                "WARNING - wrong username: \"bob\", password: \"***\", IP: \"192.0.2.7\"",
                Outcome::Deny,
                "bob",
                Some("192.0.2.7"),
            ),
        ] {
            let record = read(text);
            assert_eq!(record.outcome, Some(outcome), "{text}");
            assert_eq!(record.get(Field::UserName), Some(name.as_bytes()), "{text}");
            assert_eq!(record.get(Field::SourceIp), address.map(str::as_bytes), "{text}");
        }
        assert_eq!(read("WARNING - xray log not init in config.json").outcome, None);
        assert_eq!(read("INFO:     Started server process [1]").get(Field::LogLevel), Some(&b"info"[..]));
    }

    #[test]
    fn the_program_speaks_through_its_panel() {
        let record = read(
            "WARNING - XRAY: transport/internet/tcp: failed to accept raw connections > accept4: too many open files",
        );
        assert_eq!(record.get(Field::EventAction), Some(&b"resource-file-descriptors"[..]));
        assert_eq!(record.get(Field::LogLogger), Some(&b"transport/internet/tcp"[..]));
        assert_eq!(relayed(b"INFO - XRAY: 2026/01/27 14:46:57 x"), Some(&b"2026/01/27 14:46:57 x"[..]));
        assert_eq!(relayed(b"INFORMATION - x"), None);
    }
}
