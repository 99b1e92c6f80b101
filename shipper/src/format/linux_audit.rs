//! The Linux audit log: `audit.log` of auditd 2.x to 4.x, raw or enriched, the same lines behind a syslog header, those that the
//! kernel itself logs where no daemon listens, those that journald passes on, and what `ausearch` makes of them.
//!
//! ```text
//! [ "node=" name SP ] "type=" TYPE SP [ "msg=" ] "audit(" stamp ")" [ SP ] [ ":" ] SP fields
//! stamp = seconds "." milliseconds ":" serial          ausearch -i: a local date, such as 11/21/2026 22:57:09.995:621
//! "audit[" pid "]: " TYPE SP fields                     journald: behind a header, without time and serial of its own
//! ```
//!
//! An event is several lines of one node, time and serial. Each line is a record of its own, with `event.id` in common; the record
//! that closes an event carries what its parts said together (see [`assembly`]).

use super::address::Version;
use super::object::Object;
use super::peer::source;
use super::record::{Field, Record};
use super::settings::Outcome::{Deny, Error, Success};
use super::syslog;
use super::time::{Clock, epoch};
pub(super) use assembly::Assembly;
use assembly::Id;
use fields::divide;
use found::{Found, Key, Text};
use types::Type;

mod assembly;
mod detail;
mod dictionary;
mod fields;
mod flood;
mod found;
mod integrity;
mod packet;
mod socket;
mod types;
mod user;
mod verdict;

/// What stands before the fields.
struct Head<'a> {
    node: Option<&'a [u8]>,
    kind: &'a [u8],
    /// Journald leaves it out.
    stamp: Option<Stamp<'a>>,
    fields: &'a [u8],
}

/// When a record was written, and its number.
struct Stamp<'a> {
    /// `seconds.milliseconds:serial`, if the line has it so.
    text: Option<&'a [u8]>,
    time: i64,
    serial: &'a [u8],
    ambiguous: bool,
}

impl<'a> Stamp<'a> {
    fn read(text: &'a [u8], clock: &mut Clock) -> Option<Self> {
        let colon = memchr::memrchr(b':', text)?;
        let (time, serial) = (&text[..colon], &text[colon + 1..]);
        if !(1..=10).contains(&serial.len()) || !serial.iter().all(u8::is_ascii_digit) {
            return None;
        }
        if memchr::memchr(b'.', time).is_some_and(|dot| time.len() == dot + 4 && dot <= 11)
            && let Some(time) = epoch(time)
        {
            return Some(Self { text: Some(text), time, serial, ambiguous: false });
        }
        let moment = clock.written(time)?;
        Some(Self { text: None, time: moment.time, serial, ambiguous: moment.ambiguous })
    }

    fn id(&self, node: Option<&[u8]>) -> Id {
        let node = node.map_or(0, xxhash_rust::xxh3::xxh3_64);
        let serial = std::str::from_utf8(self.serial).ok().and_then(|digits| digits.parse().ok()).unwrap_or_default();
        Id { node, time: self.time, serial }
    }

    /// Appends `seconds.milliseconds:serial`.
    fn write(&self, out: &mut Vec<u8>) {
        match self.text {
            Some(text) => out.extend_from_slice(text),
            None => {
                let milliseconds = self.time.div_euclid(1_000_000);
                out.extend_from_slice(itoa::Buffer::new().format(milliseconds.div_euclid(1000)).as_bytes());
                let rest = milliseconds.rem_euclid(1000);
                out.extend([
                    b'.',
                    b'0' + (rest / 100) as u8,
                    b'0' + (rest / 10 % 10) as u8,
                    b'0' + (rest % 10) as u8,
                    b':',
                ]);
                out.extend_from_slice(self.serial);
            }
        }
    }
}

impl<'a> Head<'a> {
    fn read(text: &'a [u8], clock: &mut Clock) -> Option<Self> {
        let (node, rest) = match text.strip_prefix(b"node=") {
            Some(rest) => {
                let end = memchr::memchr(b' ', rest)?;
                (Some(&rest[..end]), &rest[end + 1..])
            }
            None => (None, text),
        };
        let (kind, rest) = match rest.strip_prefix(b"type=") {
            Some(rest) => {
                let end = memchr::memchr(b' ', rest).filter(|end| (1..=40).contains(end))?;
                (&rest[..end], &rest[end + 1..])
            }
            // Some plugins leave the type out.
            None => (&b"UNKNOWN"[..], rest),
        };
        let rest = rest.strip_prefix(b"msg=").unwrap_or(rest).strip_prefix(b"audit(")?;
        let end = rest.iter().take(64).position(|byte| *byte == b')')?;
        let (stamp, rest) = (&rest[..end], &rest[end + 1..]);
        if !kind.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_[]".contains(byte)) {
            return None;
        }
        let stamp = Some(Stamp::read(stamp, clock)?);
        let fields = rest.strip_prefix(b":").or_else(|| rest.strip_prefix(b" :")).unwrap_or(rest);
        Some(Self { node, kind, stamp, fields })
    }

    /// `TYPE fields`, as journald passes them on. Only known types count.
    fn passed_on(text: &'a [u8]) -> Option<Self> {
        let end = memchr::memchr(b' ', text).filter(|end| *end <= 40)?;
        let (kind, fields) = text.split_at(end);
        types::find(kind).filter(|_| kind.first().is_some_and(u8::is_ascii_uppercase))?;
        Some(Self { node: None, kind, stamp: None, fields })
    }
}

/// Whether a program writes records, or passes them on, under a header of syslog. Those who read `audit.log` into syslog name their
/// tag after it: `tag_audit_log`, `audisp-syslog`.
fn is_writer(program: &[u8]) -> bool {
    program == b"kernel" || program == b"augenrules" || program == b"audispd" || {
        let has = |part: &[u8]| memchr::memmem::find(program, part).is_some();
        has(b"audit") || has(b"audisp")
    }
}

/// What the audit system wrote of a line, without what syslog and the kernel put before it, and what stood there. What other programs
/// say is not looked at, because their clients choose the words.
fn own<'a>(line: &'a [u8], (clock, observed): (&mut Clock, i64)) -> (Option<&'a [u8]>, syslog::Header<'a>) {
    let none = syslog::Header { message: line, ..Default::default() };
    if [&b"type="[..], b"node=", b"audit("].iter().any(|begin| line.starts_with(begin)) {
        return (Some(line), none);
    }
    let (known, header) = match syslog::parse(line, clock, observed) {
        Some(header) if is_writer(header.program) => (true, header),
        Some(header) if !header.program.is_empty() || header.host.is_some() => return (None, header),
        _ => (false, none),
    };
    let message = syslog::behind_uptime(header.message).unwrap_or(header.message).trim_ascii_start();
    match message.strip_prefix(b"audit: ") {
        Some(message) => (Some(message), header),
        None => (known.then_some(message), header),
    }
}

/// What `ausearch` prints between events.
fn is_separator(line: &[u8]) -> bool {
    line == b"----" || line == b"<no matches>" || line.starts_with(b"time->")
}

/// Reads a line.
pub(super) fn parse<'a>(
    record: &mut Record<'a>,
    line: &'a [u8],
    offset: u64,
    times: (&mut Clock, i64),
    assembly: &mut Assembly,
    scratch: &'a mut Vec<u8>,
    detail: &mut Vec<u8>,
) {
    assembly.begin(offset);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (clock, observed) = times;
    let (message, header) = own(line, (&mut *clock, observed));
    if let Some(moment) = header.moment {
        (record.time, record.ambiguous) = (Some(moment.time), moment.ambiguous);
    }
    let head = message.and_then(|message| {
        let passed_on = || (header.program == b"audit").then(|| Head::passed_on(message)).flatten();
        Head::read(message, clock).or_else(passed_on)
    });
    let Some(head) = head else {
        other(record, message, &header, line, detail);
        return;
    };
    let kind = types::find(head.kind);
    record.parsed = true;
    if let Some(stamp) = &head.stamp {
        (record.time, record.ambiguous) = (Some(stamp.time), stamp.ambiguous);
    }
    record.set(Field::EventCode, kind.map_or(head.kind, |kind| kind.name.as_bytes()));
    record.set(Field::EventAction, kind.map_or(head.kind, |kind| kind.action.as_bytes()));
    if let Some(kind) = kind {
        (record.category, record.types) = (kind.category, kind.types);
    }
    scratch.clear();
    let mut found = Found::default();
    if let Some(stamp) = &head.stamp {
        if let Some(node) = head.node {
            scratch.extend_from_slice(node);
            scratch.push(b':');
        }
        stamp.write(scratch);
        found.set(Key::EventId, Text::Scratch(0, scratch.len()));
    }
    // ausearch prints the time in words where it puts names in the place of numbers.
    let interpreted = head.stamp.as_ref().is_none_or(|stamp| stamp.text.is_none());
    let (main, enriched) = divide(head.fields, interpreted);
    let mut waybill = Object::member_after(detail, "audit");
    if let Some(node) = head.node {
        waybill.text("node", node);
    }
    if let Some(stamp) = &head.stamp {
        waybill.value("serial").extend_from_slice(trimmed(stamp.serial));
    }
    detail::fields(&mut waybill, main, is_execve(kind), &mut found, scratch);
    detail::names(&mut waybill, enriched, &mut found);
    socket::address(&mut found, scratch);
    if let Some(stamp) = &head.stamp
        && kind.is_none_or(|kind| kind.number == 1006 || (1300..2000).contains(&kind.number))
    {
        assemble(record, kind, stamp.id(head.node), assembly, &mut found, scratch, &mut waybill);
    }
    let scratch: &'a [u8] = scratch;
    fill(record, kind, &found, scratch);
    integrity::refine(record, kind, &found, scratch, &mut waybill);
    if is_firewall(kind) {
        let text = |key: Key| found.get(key, scratch).unwrap_or_default();
        let table = text(Key::Table).split(|byte| *byte == b':').next().unwrap_or_default();
        let texts = [text(Key::Comm), table, text(Key::Family), text(Key::Op)];
        let fate = assembly.flood.count(texts, record.time.unwrap_or(observed));
        record.noise = fate == flood::Fate::Repeats;
        detail::netfilter(&mut waybill, &found, scratch, fate);
    }
    if main.trim_ascii_start().starts_with(b"avc:")
        || found.get(Key::Nested, scratch).is_some_and(|text| text.starts_with(b"avc:"))
    {
        let permissive = found.get(Key::Permissive, scratch) == Some(b"1");
        verdict::decision(record, found.get(Key::Nested, scratch).unwrap_or(main), permissive);
    } else if kind.is_some_and(|kind| matches!(kind.number, 1005 | 1121 | 1107))
        && let Some(text) = found.get(Key::Nested, scratch)
    {
        record.set(Field::Message, text);
    }
}

/// Reads a line that is no audit record: what the kernel and the daemons say about the log, a packet that a rule logged, a separator,
/// or, if only its header is understood, another program's message.
fn other<'a>(
    record: &mut Record<'a>,
    message: Option<&'a [u8]>,
    header: &syslog::Header<'a>,
    line: &'a [u8],
    detail: &mut Vec<u8>,
) {
    if let Some(message) = message {
        integrity::kernel(record, message, detail);
        if record.parsed || (header.program == b"kernel" && packet::parse(record, message, detail)) {
            return;
        }
    }
    if is_separator(line) {
        record.parsed = true;
        record.set(Field::Message, line);
    } else if header.host.is_some() && !header.program.is_empty() {
        record.parsed = true;
        record.dataset = "syslog";
        record.set(Field::SyslogAppname, header.program);
        record.set(Field::Message, header.message);
    }
    if let Some(host) = header.host.filter(|_| record.parsed) {
        record.set(Field::SyslogHostname, host);
    }
}

/// Without leading zeros, which JSON does not take.
fn trimmed(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take(digits.len() - 1).take_while(|digit| **digit == b'0').count();
    &digits[zeros..]
}

fn is_execve(kind: Option<&Type>) -> bool {
    kind.is_some_and(|kind| kind.number == 1309)
}

fn is_firewall(kind: Option<&Type>) -> bool {
    kind.is_some_and(|kind| kind.number == 1325)
}

/// Keeps what the event's last record is to repeat; repeats it if this is the last.
fn assemble(
    record: &mut Record<'_>,
    kind: Option<&Type>,
    id: Id,
    assembly: &mut Assembly,
    found: &mut Found<'_>,
    scratch: &mut Vec<u8>,
    waybill: &mut Object<'_>,
) {
    let number = kind.map_or(0, |kind| kind.number);
    let event = assembly.event(id);
    event.records += 1;
    for (key, slot) in found::KEPT {
        if let Some(text) = found.get(key, scratch) {
            event.texts.put(slot, text);
        }
    }
    match number {
        1300 => {
            event.call = true;
            event.success = found.get(Key::Success, scratch).map(|text| text == b"yes");
            event.denied = found.get(Key::Exit, scratch).is_some_and(verdict::is_refusal);
        }
        1325 => {
            event.firewall += 1;
            by_process(id, assembly, found, scratch, waybill);
        }
        1320 | 1327 => close(record, id, assembly, found, scratch, waybill),
        _ => {}
    }
}

/// Completes a record from what its process was last seen to execute.
fn by_process(id: Id, assembly: &Assembly, found: &mut Found<'_>, scratch: &mut Vec<u8>, waybill: &mut Object<'_>) {
    let process = match (found.get(Key::Pid, scratch), found.get(Key::Comm, scratch)) {
        (Some(pid), Some(name)) => assembly.process(id, pid, name),
        _ => None,
    };
    if let Some(texts) = process {
        found.join(texts, scratch);
        waybill.text("joined", b"process");
    }
}

/// Completes the record that closes an event.
fn close(
    record: &mut Record<'_>,
    id: Id,
    assembly: &mut Assembly,
    found: &mut Found<'_>,
    scratch: &mut Vec<u8>,
    waybill: &mut Object<'_>,
) {
    let Some(event) = assembly.close(id) else { return };
    found.join(&event.texts, scratch);
    let (records, firewall, success, denied) = (event.records, event.firewall, event.success, event.denied);
    for (name, set) in [("incomplete", !event.call), ("truncated", event.texts.truncated)] {
        if set {
            waybill.flag(name);
        }
    }
    let executed = found.get(Key::Arguments, scratch).is_some();
    if !executed {
        by_process(id, assembly, found, scratch, waybill);
    }
    waybill.value("records").extend_from_slice(itoa::Buffer::new().format(records).as_bytes());
    let refused = if denied { Deny } else { Error };
    record.outcome = success.map(|success| if success { Success } else { refused });
    if firewall > 0 {
        record.name(Field::EventAction, "firewall-change-attributed");
        record.category = "\"configuration\",\"network\"";
        record.types = "\"change\"";
        waybill.value("firewall_changes").extend_from_slice(itoa::Buffer::new().format(firewall).as_bytes());
    } else if executed {
        let tool = found.get(Key::Exe, scratch).is_some_and(found::is_firewall_tool)
            || found.get(Key::Comm, scratch).is_some_and(found::is_firewall_tool);
        record.name(Field::EventAction, if tool { "firewall-command" } else { "executed" });
        record.types = "\"start\"";
        if tool {
            record.category = "\"configuration\",\"process\"";
        }
    }
}

/// Sets the fields of the record.
fn fill<'a>(record: &mut Record<'a>, kind: Option<&Type>, found: &Found<'a>, scratch: &'a [u8]) {
    for (key, field) in found::FIELDS {
        if let Some(text) = found.get(key, scratch) {
            record.set_checked(field, text);
        }
    }
    user::fill(record, kind, found, scratch);
    if let Some(arguments) = found.get(Key::Arguments, scratch) {
        record.set(Field::ProcessArgs, arguments.strip_prefix(b"\0").unwrap_or(arguments));
    }
    let of_user = kind.is_some_and(|kind| (1100..1200).contains(&kind.number) || kind.number > 2000);
    if of_user {
        // Beside what PAM and logins say, the host's name is that of the machine itself.
        let remote = found.get(Key::Op, scratch).is_some_and(|op| op.starts_with(b"PAM:") || op == b"login");
        let host = found.get(Key::Addr, scratch).or_else(|| found.get(Key::Hostname, scratch).filter(|_| remote));
        if let Some(host) = host.filter(|host| super::peer::is_host(host)) {
            let port = found.get(Key::RemotePort, scratch).filter(|port| super::address::is_port(port));
            source(record, host, port);
        }
    }
    if kind.is_some_and(|kind| kind.number == 1324)
        && let (Some(from), Some(to)) = (found.get(Key::Saddr, scratch), found.get(Key::DestinationAddress, scratch))
    {
        let port = |key: Key| found.get(key, scratch);
        packet::ends(record, (from, port(Key::SourcePort)), (to, port(Key::DestinationPort)));
        packet::transport(record, found.get(Key::Protocol, scratch));
    }
    if let Some(address) = found.get(Key::SocketAddress, scratch) {
        let port = found.get(Key::SocketPort, scratch).filter(|port| super::address::is_port(port));
        if Version::of(address).is_some() {
            super::host_log::destination(record, address, port);
        } else {
            record.set(Field::DestinationAddress, address);
        }
    }
    verdict::result(record, kind, found, scratch);
}

#[cfg(test)]
mod tests;
