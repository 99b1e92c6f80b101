//! What syslog daemons, journald and container runtimes put before a program's message.
//!
//! Read are RFC 3164 (with or without priority, year, fraction of a second), RFC 5424, the ISO 8601 headers of newer rsyslog,
//! what `journalctl` prints in its short forms, the headers of `BusyBox`, FreeBSD, `OpenWrt`, Solaris and AIX, which name facility and
//! level, those that a relay put before another one, and what OpenSSH on Windows writes.
//! A header ends before the first byte that a program's client could have chosen, and nothing behind that end is looked at.

use super::time::{Clock, Moment, epoch};

/// What stands before a message, and the message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Header<'a> {
    pub(super) moment: Option<Moment>,
    pub(super) host: Option<&'a [u8]>,
    /// The program as it calls itself, such as `sshd` or `sshd(pam_unix)`; empty if there is no tag.
    pub(super) program: &'a [u8],
    /// Digits.
    pub(super) pid: Option<&'a [u8]>,
    pub(super) message: &'a [u8],
}

/// Longest name of a program that is taken as a tag.
const LONGEST_TAG: usize = 64;

/// Reads a header; `None` if the line has none. Of a line with a date alone, everything behind that is the message.
pub(super) fn parse<'a>(line: &'a [u8], clock: &mut Clock, observed: i64) -> Option<Header<'a>> {
    let (prioritised, rest) = match priority(line) {
        Some(rest) => (true, rest),
        None => (false, behind_container(line)),
    };
    if let Some(rest) = rest.strip_prefix(b"1 ")
        && (prioritised || is_iso(rest))
    {
        return rfc5424(rest, clock);
    }
    if let Some((moment, rest)) = time(rest, clock, observed) {
        let rest = behind_runtime(rest);
        let header = tagged(rest).or_else(|| relayed(rest, clock, observed)).or_else(|| tagged(behind_zone(rest)));
        let header = header.unwrap_or(Header { message: rest, ..Header::default() });
        return Some(Header { moment: header.moment.or(Some(moment)), ..header });
    }
    if let Some(rest) = behind_uptime(rest) {
        return tagged(rest);
    }
    // Without a time only a tag right at the beginning counts, or a host behind a priority.
    tag(rest).or_else(|| prioritised.then(|| tagged(rest)).flatten()).or_else(|| windows(rest, clock, observed))
}

/// Reads `host program[pid]: message`, which journald's readers and some relays write, of a program that `knows` says is one of
/// the format's own: without a time nothing else tells a header from a message.
pub(super) fn untimed(line: &[u8], knows: impl Fn(&[u8]) -> bool) -> Option<Header<'_>> {
    // sshd's own "User NAME from …": NAME is the client's.
    if line.starts_with(b"User ") {
        return None;
    }
    tagged(line).filter(|header| header.host.is_some() && header.pid.is_some() && knows(header.program))
}

/// Whether a text begins with `2026-11-21T`.
fn is_iso(text: &[u8]) -> bool {
    text.get(4) == Some(&b'-') && text.get(7) == Some(&b'-') && text.get(10) == Some(&b'T')
}

/// What follows the mark of a container's runtime behind its time.
fn behind_runtime(text: &[u8]) -> &[u8] {
    [&b"stdout F "[..], b"stderr F "].iter().find_map(|mark| text.strip_prefix(*mark)).unwrap_or(text)
}

/// What follows the seconds since the start, `[   12.345678] `: the kernel's, and `journalctl -o short-monotonic`'s.
pub(super) fn behind_uptime(text: &[u8]) -> Option<&[u8]> {
    let inside = text.strip_prefix(b"[")?.trim_ascii_start();
    let end = inside.iter().take(24).position(|byte| !byte.is_ascii_digit() && *byte != b'.').filter(|end| *end > 0)?;
    inside[end..].strip_prefix(b"] ")
}

/// `sender time host program[pid]: message`: a relay put its own time and the sender's name before the sender's header.
fn relayed<'a>(text: &'a [u8], clock: &mut Clock, observed: i64) -> Option<Header<'a>> {
    let (host, rest) = host(text)?;
    let (moment, rest) = time(rest, clock, observed)?;
    let header = tagged(rest)?;
    Some(Header { moment: Some(moment), host: header.host.or(Some(host)), ..header })
}

/// `5108 2026-11-21 14:22:33.123 message`, in the files of OpenSSH on Windows.
fn windows<'a>(text: &'a [u8], clock: &mut Clock, observed: i64) -> Option<Header<'a>> {
    let (pid, rest) = digits(text)?;
    let rest = rest.strip_prefix(b" ")?;
    let (moment, message) = (rest.get(4) == Some(&b'-')).then(|| time(rest, clock, observed))??;
    Some(Header { moment: Some(moment), pid: Some(pid), message, ..Header::default() })
}

/// What follows `message repeated N times: [ ` up to `]`, and N: rsyslog's folding.
pub(super) fn unfolded(message: &[u8]) -> Option<(&[u8], &[u8])> {
    let (count, rest) = digits(message.strip_prefix(b"message repeated ")?)?;
    let rest = rest.strip_prefix(b" times: [")?;
    Some((count, rest.trim_ascii_end().strip_suffix(b"]")?.strip_prefix(b" ").unwrap_or(&rest[..rest.len() - 1])))
}

/// N of `last message repeated N times`, which the BSDs and sysklogd write; what was repeated stands somewhere before.
pub(super) fn repeated(message: &[u8]) -> Option<&[u8]> {
    let (count, rest) = digits(message.strip_prefix(b"last message repeated ")?)?;
    (rest == b" times" || rest == b" time").then_some(count)
}

/// Digits at the beginning that make a number.
fn digits(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().take(11).take_while(|byte| byte.is_ascii_digit()).count();
    super::base::is_decimal(&text[..end]).then(|| text.split_at(end))
}

/// What follows `<38>`.
fn priority(line: &[u8]) -> Option<&[u8]> {
    let (_, rest) = digits(line.strip_prefix(b"<")?)?;
    rest.strip_prefix(b">")
}

/// What follows `name  | ` of docker compose, or `[pod/name/container] ` of kubectl.
pub(super) fn behind_container(line: &[u8]) -> &[u8] {
    if line.starts_with(b"[pod/") {
        return memchr::memmem::find(line, b"] ").map_or(line, |at| &line[at + 2..]);
    }
    let name =
        line.iter().take(LONGEST_TAG).take_while(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(byte)).count();
    let behind = line[name..].trim_ascii_start();
    match behind.strip_prefix(b"| ") {
        Some(message) if name > 0 && behind.len() < line.len() - name => message,
        _ => line,
    }
}

/// Reads the time and the blank behind it.
fn time<'a>(text: &'a [u8], clock: &mut Clock, observed: i64) -> Option<(Moment, &'a [u8])> {
    let (weekday, text) = behind_weekday(text);
    let first = *text.first()?;
    if first.is_ascii_alphabetic() {
        let (moment, length) = clock.bsd(text, observed)?;
        // syslog-ng and Cisco put a colon there, and sudo's own file a blank and one.
        let rest = text[length..].strip_prefix(b":").unwrap_or(&text[length..]);
        return Some((moment, rest.strip_prefix(b" ")?));
    }
    if !first.is_ascii_digit() {
        return None;
    }
    let end = memchr::memchr(b' ', text)?;
    let (token, rest) = (&text[..end], &text[end + 1..]);
    if let Some(moment) = clock.rfc3339(token) {
        return Some((moment, rest));
    }
    if token.len() == 10 && token[4] == b'/' {
        let (moment, length) = clock.slashed(text)?;
        return Some((moment, text[length..].strip_prefix(b" ")?));
    }
    if token.len() == 10 && token[4] == b'-' {
        let next = end + 1 + memchr::memchr(b' ', rest)?;
        let moment = clock.rfc3339(&text[..next])?;
        let rest = &text[next + 1..];
        return Some((moment, if weekday { behind_zone(rest) } else { rest }));
    }
    if token.len() == 4 {
        let (moment, length) = clock.bsd(text, observed)?;
        return Some((moment, text[length..].strip_prefix(b" ")?));
    }
    // journalctl -o short-unix
    let plain = token.len() >= 17 && token.get(10) == Some(&b'.');
    let time = plain.then(|| epoch(token))??;
    Some((Moment { time, ambiguous: false }, rest))
}

fn behind_weekday(text: &[u8]) -> (bool, &[u8]) {
    const DAYS: [&[u8]; 7] = [b"Mon ", b"Tue ", b"Wed ", b"Thu ", b"Fri ", b"Sat ", b"Sun "];
    match text.split_at_checked(4) {
        Some((day, rest)) if DAYS.contains(&day) => (true, rest),
        _ => (false, text),
    }
}

/// journalctl -o short-full prints the zone's abbreviation, in which the time is, and so do some relays. Anything but UTC is taken
/// for the source's.
fn behind_zone(text: &[u8]) -> &[u8] {
    match memchr::memchr(b' ', text) {
        Some(end) if (1..=5).contains(&end) && text[..end].iter().all(u8::is_ascii_uppercase) => &text[end + 1..],
        _ => text,
    }
}

/// `host [facility.level] tag: message`
fn tagged(text: &[u8]) -> Option<Header<'_>> {
    let text = behind_level(text.trim_ascii_start());
    if let Some(header) = tag(text) {
        return Some(header);
    }
    if let Some(header) = forwarded(text) {
        return Some(header);
    }
    let (host, rest) = host(text)?;
    let (host, rest) = (Some(host), behind_level(rest));
    if let Some(header) = forwarded(rest) {
        return Some(header);
    }
    if let Some(header) = tag(rest).or_else(|| spaced(rest)) {
        return Some(Header { host, ..header });
    }
    (repeated(rest).is_some() || rest == b"-- MARK --").then_some(Header { host, message: rest, ..Header::default() })
}

/// `Message forwarded from host: tag: message`, as AIX passes on what others sent.
fn forwarded(text: &[u8]) -> Option<Header<'_>> {
    let (name, rest) = host(text.strip_prefix(b"Message forwarded from ")?)?;
    Some(Header { host: Some(name.strip_suffix(b":")?), ..tag(rest)? })
}

/// The name of a host and what follows it.
fn host(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (host, rest) = text.split_at(memchr::memchr(b' ', text)?);
    let named =
        !host.is_empty() && host.iter().all(|byte| byte.is_ascii_alphanumeric() || b".-_:/[]%@*".contains(byte));
    named.then(|| (host, rest.trim_ascii_start()))
}

/// Skips `auth.info`, `<auth.info>`, `<4.6>`, or AIX's `auth|security:info`.
fn behind_level(text: &[u8]) -> &[u8] {
    const FACILITIES: [&[u8]; 9] =
        [b"auth", b"authpriv", b"daemon", b"user", b"security", b"syslog", b"cron", b"kern", b"local"];
    let Some(end) = memchr::memchr(b' ', text) else { return text };
    let token = &text[..end];
    let rest = text[end + 1..].trim_ascii_start();
    if let [b'<', inside @ .., b'>'] = token {
        return if inside.len() <= 20 && memchr::memchr(b'.', inside).is_some() { rest } else { text };
    }
    let Some(dot) = memchr::memchr2(b'.', b':', token) else { return text };
    let (facility, level) = (&token[..dot], &token[dot + 1..]);
    let facility = &facility[..memchr::memchr(b'|', facility).unwrap_or(facility.len())];
    let facility = facility.strip_suffix(b"0").unwrap_or(facility);
    let facility = match facility {
        [name @ .., b'1'..=b'7'] => name,
        _ => facility,
    };
    let known = FACILITIES.contains(&facility)
        && [&b"debug"[..], b"info", b"notice", b"warn", b"warning", b"err", b"error", b"crit", b"alert", b"emerg"]
            .contains(&level);
    if known { rest } else { text }
}

/// `program[pid]: message`. metalog writes `[program] message`.
fn tag(text: &[u8]) -> Option<Header<'_>> {
    if let Some(rest) = text.strip_prefix(b"[sshd]").or_else(|| text.strip_prefix(b"[sudo]")) {
        let message = rest.strip_prefix(b":").unwrap_or(rest).strip_prefix(b" ")?;
        return Some(Header { program: &text[1..5], message, ..Header::default() });
    }
    let end = match instance(text) {
        Some(end) => end,
        None => {
            let head = &text[..text.len().min(LONGEST_TAG + 16)];
            let other = |byte: &u8| !(byte.is_ascii_alphanumeric() || b"-_./()@+~=".contains(byte));
            head.iter().position(other).filter(|end| *end <= LONGEST_TAG)?
        }
    };
    let (program, rest) = text.split_at(end);
    // GDM calls itself "gdm-password]".
    let rest = if rest.starts_with(b"][") || rest.starts_with(b"]:") { &rest[1..] } else { rest };
    if end == 0 {
        return None;
    }
    let (pid, rest) = match rest.strip_prefix(b"[") {
        Some(inside) => {
            let (pid, rest) = digits(inside)?;
            (Some(pid), rest.strip_prefix(b"]")?)
        }
        None => (None, rest),
    };
    // Some templates leave the colon out.
    let rest = match rest.strip_prefix(b":") {
        Some(rest) => rest,
        None if pid.is_some() => rest,
        None => return None,
    };
    let message = match rest {
        [b' ', message @ ..] => message,
        [] => rest,
        _ => return None,
    };
    Some(Header { program, pid, message: behind_solaris(message), ..Header::default() })
}

/// Where the name of a unit ends that was started for one connection: `sshd@0-192.0.2.1:22-192.0.2.7:50216.service[812]: `, as
/// `journalctl -o with-unit` prints it.
fn instance(text: &[u8]) -> Option<usize> {
    const LONGEST: usize = 160;
    let begins = [&b"sshd@"[..], b"ssh@"].into_iter().find(|prefix| text.starts_with(prefix))?.len();
    let head = &text[begins..text.len().min(begins + LONGEST)];
    let end = memchr::memmem::find(head, b".service[")?;
    memchr::memchr(b' ', &head[..end]).is_none().then_some(begins + end + b".service".len())
}

/// `program pid - - message`: RFC 5424 without its beginning.
fn spaced(text: &[u8]) -> Option<Header<'_>> {
    let end = memchr::memchr(b' ', text).filter(|end| (1..=LONGEST_TAG).contains(end))?;
    let (program, rest) = (&text[..end], &text[end + 1..]);
    let (pid, rest) = match rest.strip_prefix(b"- ") {
        Some(rest) => (None, rest),
        None => {
            let (pid, rest) = digits(rest)?;
            (Some(pid), rest.strip_prefix(b" ")?)
        }
    };
    let message = rest.strip_prefix(b"- - ")?;
    let message = message.strip_prefix(b" ").unwrap_or(message);
    Some(Header { program, pid, message, ..Header::default() })
}

/// Skips `[ID 800047 auth.info] `.
fn behind_solaris(message: &[u8]) -> &[u8] {
    let Some((_, rest)) = message.strip_prefix(b"[ID ").and_then(digits) else { return message };
    match memchr::memchr(b']', rest) {
        Some(end) if end < 24 => rest[end + 1..].strip_prefix(b" ").unwrap_or(&rest[end + 1..]),
        _ => message,
    }
}

/// What follows `<PRI>1 `.
fn rfc5424<'a>(text: &'a [u8], clock: &mut Clock) -> Option<Header<'a>> {
    let mut rest = text;
    let mut next = || {
        let end = memchr::memchr(b' ', rest)?;
        let token = &rest[..end];
        rest = &rest[end + 1..];
        Some(token)
    };
    let (time, host, program, pid, _) = (next()?, next()?, next()?, next()?, next()?);
    let named = |token: &'a [u8]| (token != b"-").then_some(token);
    let moment = match named(time) {
        Some(time) => Some(clock.rfc3339(time)?),
        None => None,
    };
    let mut message = behind_structured_data(rest)?;
    message = message.strip_prefix(b" ").unwrap_or(message);
    message = message.strip_prefix(b"\xef\xbb\xbf").unwrap_or(message);
    Some(Header {
        moment,
        host: named(host),
        program: named(program).unwrap_or_default(),
        pid: named(pid).filter(|pid| super::base::is_decimal(pid)),
        // rsyslog keeps the blank that stood behind the tag.
        message: message.strip_prefix(b" ").unwrap_or(message),
    })
}

fn behind_structured_data(text: &[u8]) -> Option<&[u8]> {
    if let Some(rest) = text.strip_prefix(b"-") {
        return Some(rest);
    }
    let mut rest = text;
    while let Some(inside) = rest.strip_prefix(b"[") {
        let (mut quoted, mut escaped) = (false, false);
        let end = inside.iter().position(|byte| match byte {
            _ if escaped => {
                escaped = false;
                false
            }
            b'\\' => {
                escaped = quoted;
                false
            }
            b'"' => {
                quoted = !quoted;
                false
            }
            byte => *byte == b']' && !quoted,
        })?;
        rest = &inside[end + 1..];
    }
    (rest.len() < text.len()).then_some(rest)
}

#[cfg(test)]
mod tests;
