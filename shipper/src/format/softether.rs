//! SoftEther VPN: server log, security logs and packet logs, of all editions and languages (`src/Cedar/Logging.c`).
//!
//! ```text
//! YYYY-MM-DD SP HH:MM:SS.mmm SP [ '[HUB "' hub '"] ' ] { prefix } message
//! YYYY-MM-DD "," HH:MM:SS.mmm "," columns
//! "[" machine "/VPN" [ "/" hub ] "] (" time ") <" ( "SERVER" | "SECURITY" | "PACKET" ) "_LOG>: " ( message | columns )
//! ```
//!
//! The third form is what the program sends by syslog. In foreground mode it writes all logs to its standard output, so each
//! format takes lines of every kind, behind whatever a supervisor put before them.
//!
//! A hub's event stands in the hub's security log and, as `[HUB "…"]`, in the server log. Both records have the same
//! `event.id`, made of hub, time and text, so that the event counts once and outlives either log.

use xxhash_rust::xxh3::Xxh3;

use self::known::Known;
use self::text::{Found, Value, ValueKind};
use super::StreamInfo;
use super::address::Endpoint;
use super::base::is_decimal;
use super::join::Join;
use super::object::Object;
use super::record::{Field, Record, Side};
use super::settings::{Kind, Outcome};
use super::time::{Clock, Moment};

mod known;
mod packet;
mod text;

/// How far into a line its date may begin.
const PREFIX: usize = 160;

/// What the records of one stream have in common, and what was learnt from them.
#[derive(Debug)]
pub(super) struct Context {
    /// From the path: `…/security_log/{hub}/…`.
    hub: Vec<u8>,
    /// The language of the last message.
    language: usize,
    join: Join<Known>,
}

impl Context {
    pub(super) fn new(info: &StreamInfo) -> Self {
        let captured = info.captures.iter().find(|(name, _)| name == "hub").map(|(_, hub)| hub.as_bytes().to_vec());
        let hub = captured.or_else(|| folder(&info.path)).unwrap_or_default();
        Self { hub, language: 0, join: Join::default() }
    }

    /// Goes to the place of a record.
    pub(super) fn at(&mut self, seq: u64) {
        self.join.at(seq);
    }

    /// How many bytes before a record may say what it refers to; 0 if they are known.
    pub(super) fn reach(&self, seq: u64) -> u64 {
        self.join.reach(seq)
    }

    /// Begins a place that ends before a record.
    pub(super) fn recall_before(&mut self, seq: u64) {
        self.join.open(seq);
    }
}

/// The folder that is a hub's.
fn folder(path: &[u8]) -> Option<Vec<u8>> {
    let mut parts = path.rsplit(|byte| *byte == b'/').skip(1);
    let hub = parts.next()?;
    matches!(parts.next()?, b"security_log" | b"packet_log").then(|| hub.to_vec())
}

/// Which log a line belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Log {
    Server,
    Security,
    Packet,
}

/// What stands before a message or the columns of a packet.
struct Head<'a> {
    moment: Moment,
    /// The time as it is written.
    time: &'a [u8],
    log: Option<Log>,
    machine: Option<&'a [u8]>,
    hub: Option<&'a [u8]>,
    rest: &'a [u8],
}

/// Reads a line.
pub(super) fn parse<'a>(
    record: &mut Record<'a>,
    line: &'a [u8],
    kind: Kind,
    clock: &mut Clock,
    context: &'a mut Context,
    detail: &mut Vec<u8>,
) {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let Some(head) = dated(line, clock).or_else(|| sent(line, clock)) else { return };
    (record.time, record.ambiguous) = (Some(head.moment.time), head.moment.ambiguous);
    let log = head.log.unwrap_or(match kind {
        Kind::SoftEtherSecurity => Log::Security,
        _ => Log::Server,
    });
    record.parsed = if log == Log::Packet {
        packet::parse(record, &head, &context.hub, detail)
    } else {
        message(record, &head, log, context, detail);
        true
    };
}

/// Reads a line of a file: it begins with its date, or nearly so.
fn dated<'a>(line: &'a [u8], clock: &mut Clock) -> Option<Head<'a>> {
    if let Some(found) = dated_here(line, clock) {
        return Some(found);
    }
    let head = &line[..line.len().min(PREFIX)];
    memchr::memchr_iter(b'-', head).find_map(|dash| {
        let start = dash.checked_sub(4)?;
        let before = line.get(start.checked_sub(1)?)?;
        matches!(before, b' ' | b'\t').then(|| dated_here(&line[start..], clock))?
    })
}

fn dated_here<'a>(line: &'a [u8], clock: &mut Clock) -> Option<Head<'a>> {
    let separator = *line.get(10)?;
    let log = match separator {
        b' ' => None,
        b',' => Some(Log::Packet),
        _ => return None,
    };
    let (moment, length) = clock.separated(line, b'-', separator)?;
    let rest = line[length..].strip_prefix(&[separator])?;
    Some(Head { moment, time: &line[..length], log, machine: None, hub: None, rest })
}

/// Reads what the program sends by syslog.
fn sent<'a>(line: &'a [u8], clock: &mut Clock) -> Option<Head<'a>> {
    let head = &line[..line.len().min(1024)];
    let mark = memchr::memmem::find(head, b"_LOG>: ")?;
    let open = memchr::memrchr(b'<', &line[..mark])?;
    let log = match &line[open + 1..mark] {
        b"SERVER" => Log::Server,
        b"SECURITY" => Log::Security,
        b"PACKET" => Log::Packet,
        _ => return None,
    };
    let before = line[..open].strip_suffix(b") ")?;
    let bracket = memchr::memrchr(b'(', before)?;
    let time = &before[bracket + 1..];
    let moment = clock.rfc3339(time)?;
    let origin = before[..bracket].strip_suffix(b"] ")?;
    // A hub's name may hold a bracket, the machine's may not: what stands before is a relay's.
    let origin = &origin[memchr::memchr(b'[', origin)? + 1..];
    let product = memchr::memmem::find(origin, b"/VPN")?;
    let hub = match &origin[product + 4..] {
        [] => None,
        [b'/', hub @ ..] => Some(hub),
        _ => return None,
    };
    Some(Head { moment, time, log: Some(log), machine: Some(&origin[..product]), hub, rest: &line[mark + 7..] })
}

/// Reads what follows the date in a server or security log.
fn message<'a>(record: &mut Record<'a>, head: &Head<'a>, log: Log, context: &'a mut Context, detail: &mut Vec<u8>) {
    let (tag, body) = hub_tag(head.rest);
    let of_hub = tag.is_some() || log == Log::Security;
    record.dataset = if of_hub { "softether.security" } else { "softether.server" };
    record.set(Field::Message, body);
    let mut waybill = Object::member_after(detail, "softether");
    waybill.text("log", if log == Log::Security { b"security" } else { b"server" });
    if tag.is_some() && log == Log::Server {
        waybill.flag("copy");
    }
    if let Some(machine) = head.machine {
        waybill.text("machine", machine);
    }
    let mut text = body.trim_ascii_end();
    let mut names = Names { hub: tag.or(head.hub), ..Names::default() };
    if let Some(rest) = text.strip_prefix(b"SecureNAT: ") {
        waybill.text("module", b"SecureNAT");
        text = rest;
    }
    let mut tagged = false;
    // A protocol's prefix may hold another.
    for _ in 0..2 {
        let Some((prefix, rest)) = text::prefix(text) else { break };
        tagged |= matches!(prefix.meaning.key, "LA_TAG_1" | "LA_TAG_2");
        take(record, &prefix, &mut names, &mut waybill);
        text = rest;
    }
    let found = text::find(text, tagged, &mut context.language);
    match &found {
        Some(found) => {
            let meaning = found.meaning;
            record.set(Field::EventCode, meaning.key.as_bytes());
            record.set(Field::EventAction, meaning.action.as_bytes());
            (record.category, record.types, record.outcome) = (&meaning.category, &meaning.types, meaning.outcome);
            record.suspect = found.ambiguous.then_some("ambiguous");
            take(record, found, &mut names, &mut waybill);
            if meaning.key == "LS_CONNECTION_ERROR" {
                record.outcome = record.get(Field::ErrorCode).map_or(meaning.outcome, ended);
            }
            integrity(record, meaning.key);
        }
        None => {
            other(record, text);
            names.by_shape(text);
        }
    }
    let key = found.as_ref().map_or("", |found| found.meaning.key);
    learn(&mut context.join, key, record, &names);
    let context: &'a Context = context;
    if names.hub.is_none() && !context.hub.is_empty() && log == Log::Security {
        names.hub = Some(&context.hub);
    }
    complete(record, &mut names, &context.join, &mut waybill);
    if of_hub {
        record.event_id = Some(event_id(names.hub.unwrap_or_default(), head.time, body));
    }
}

/// `[HUB "CORP"] `, which is the same in every language.
fn hub_tag(text: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let found = text.strip_prefix(b"[HUB \"").and_then(|rest| {
        let end = memchr::memmem::find(rest, b"\"] ")?;
        Some((&rest[..end], &rest[end + 3..]))
    });
    found.map_or((None, text), |(hub, rest)| (Some(hub), rest))
}

/// What a line says that other lines may need.
#[derive(Debug, Default)]
struct Names<'a> {
    hub: Option<&'a [u8]>,
    connection: Option<&'a [u8]>,
    session: Option<&'a [u8]>,
    admin_session: Option<&'a [u8]>,
}

impl<'a> Names<'a> {
    /// Looks for names in a message that is not known: `"CID-7"`, `"SID-ALICE-3"`.
    fn by_shape(&mut self, text: &'a [u8]) {
        let quoted = |begins: &[u8]| {
            let start = memchr::memmem::find(text, begins)? + 1;
            let length = text[start..].iter().position(|byte| *byte == b'"').filter(|length| *length < 256)?;
            Some(&text[start..start + length])
        };
        self.connection = self.connection.or_else(|| quoted(b"\"CID-"));
        self.session = self.session.or_else(|| quoted(b"\"SID-"));
    }
}

/// Takes the values of a message.
fn take<'a>(record: &mut Record<'a>, found: &Found<'a>, names: &mut Names<'a>, waybill: &mut Object<'_>) {
    for (Value { name, kind }, text) in found.values() {
        match name {
            "hub" => names.hub = names.hub.or(Some(text)),
            "connection" => names.connection = Some(text),
            "session" => names.session = Some(text),
            "admin_session" => names.admin_session = Some(text),
            _ if text.is_empty() => {}
            "user" => record.set(Field::UserName, text),
            "source" => record.endpoint(Side::Source, &Endpoint::host_only(text)),
            "destination" => record.endpoint(Side::Destination, &Endpoint::host_only(text)),
            "source_port" => port(record, Field::SourcePort, text),
            "destination_port" => port(record, Field::DestinationPort, text),
            "destination_name" => {
                if record.get(Field::DestinationAddress).is_none() {
                    record.endpoint(Side::Destination, &Endpoint::host_only(text));
                }
                waybill.text(name, text);
            }
            "host" => {
                let host = Endpoint::host_only(text);
                if host.is_domain() {
                    record.set(Field::SourceDomain, text);
                }
            }
            "cause" => record.set(Field::ErrorMessage, text),
            "code" => record.set(Field::ErrorCode, text),
            // "L2TP ": the blank is the value's in some languages.
            "ppp_postfix" => waybill.text(name, text.trim_ascii()),
            "method" => record.set(Field::HttpMethod, text),
            "path" => record.set(Field::UrlPath, text),
            "file_name" => record.set(Field::FilePath, text),
            _ if kind == ValueKind::Number && is_decimal(text) => waybill.value(name).extend_from_slice(text),
            _ => waybill.text(name, text),
        }
    }
}

fn port<'a>(record: &mut Record<'a>, field: Field, text: &'a [u8]) {
    record.set_checked(field, text);
}

/// What is no message of a string table.
fn other<'a>(record: &mut Record<'a>, text: &'a [u8]) {
    let is_banner = [&b"SoftEther "[..], b"PacketiX "].iter().any(|name| text.starts_with(name));
    let (code, action) = if is_banner && memchr::memmem::find(text, b" Build ").is_some() {
        if let Some(at) = memchr::memmem::find(text, b" Version ") {
            let version = &text[at + 9..];
            let end = memchr::memmem::find(version, b"  ").unwrap_or(version.len());
            record.set(Field::ServiceVersion, &version[..end]);
        }
        ("LS_START_2", "version")
    } else if text.starts_with(b"Compiled ") {
        ("LS_START_3", "build")
    } else if !text.is_empty() && text.iter().all(|byte| *byte == b'-') {
        ("L_LINE", "separator")
    } else {
        return;
    };
    record.name(Field::EventCode, code);
    record.name(Field::EventAction, action);
    (record.category, record.types) = ("\"process\"", "\"info\"");
}

/// What the end of a connection comes to, by the number of its cause (`ERR_…` in `src/Cedar/Cedar.h`): it is logged as an error also
/// where a user logs off.
fn ended(code: &[u8]) -> Option<Outcome> {
    match code {
        // None, interrupted, cancelled by the user, the hub stops, the session was deleted, its time is over.
        b"0" | b"3" | b"6" | b"10" | b"11" | b"126" => None,
        // The method of authentication, the hub, the password, access; too many sessions of one user; no password from elsewhere;
        // rights; monitoring and bridging; the address; a method that this edition lacks.
        b"7" | b"8" | b"9" | b"12" | b"20" | b"51" | b"52" | b"107" | b"108" | b"109" | b"143" => Some(Outcome::Deny),
        _ => Some(Outcome::Error),
    }
}

/// Marks what an auditor must know of: something is missing from the logs, or soon will be.
fn integrity(record: &mut Record<'_>, key: &str) {
    record.integrity = match key {
        "LE_DELETE" => Some("log-deleted"),
        "LE_NOT_ENOUGH_FREE" => Some("disk-nearly-full"),
        "LH_PACKET_LOG_NO_LOG" | "LH_PACKET_LOG_NO_LOG_OSS" => Some("not-logged"),
        _ => return,
    };
    record.kind = "alert";
    record.outcome = Some(Outcome::Error);
}

/// Remembers what a line says of a connection.
fn learn(join: &mut Join<Known>, key: &str, record: &Record<'_>, names: &Names<'_>) {
    let text = |field: Field| record.get(field).unwrap_or_default();
    let begin = |join: &mut Join<Known>, connection: &[u8]| {
        if let Some(known) = join.begin(connection) {
            known.address.set(text(Field::SourceAddress));
            known.port.set(text(Field::SourcePort));
        }
    };
    if key == "LS_START_1" {
        join.forget();
    }
    let Some(connection) = names.connection else { return };
    match key {
        "LS_CONNECTION_START_1" => begin(join, connection),
        // In a security log nothing comes before it; in the server log it is about a connection that is known.
        "LH_CONNECT_CLIENT" => {
            let is_same =
                |known: &Known| known.address.get() == text(Field::SourceAddress) && known.session.get().is_empty();
            if !join.get(connection).is_some_and(is_same) {
                begin(join, connection);
            }
            if let Some(known) = join.get_mut(connection) {
                known.user.set(text(Field::UserName));
                known.hub.set(names.hub.unwrap_or_default());
            }
        }
        "LH_AUTH_OK" => {
            if let Some(known) = join.get_mut(connection) {
                known.user.set(text(Field::UserName));
            }
        }
        "LH_NEW_SESSION" => {
            if join.get(connection).is_none() {
                begin(join, connection);
            }
            let session = names.session.unwrap_or_default();
            if let Some(known) = join.get_mut(connection) {
                known.session.set(session);
                join.alias(session, connection);
            }
        }
        "LA_RPC_START" => {
            let session = names.admin_session.unwrap_or_default();
            if let Some(known) = join.get_mut(connection) {
                known.admin_session.set(session);
                join.alias(session, connection);
            }
        }
        _ => {}
    }
}

/// Adds what earlier lines said, and says so.
fn complete<'a>(record: &mut Record<'a>, names: &mut Names<'a>, join: &'a Join<Known>, waybill: &mut Object<'_>) {
    let name = names.connection.or(names.session).or(names.admin_session);
    let mut joined = [""; 6];
    let mut count = 0;
    let mut note = |name: &'static str| {
        joined[count] = name;
        count += 1;
    };
    if let Some(known) = name.and_then(|name| join.get(name)) {
        if record.get(Field::SourceAddress).is_none() && !known.address.get().is_empty() {
            record.endpoint(Side::Source, &Endpoint::host_only(known.address.get()));
            note("source.address");
            if record.get(Field::SourcePort).is_none() && record.set_checked(Field::SourcePort, known.port.get()) {
                note("source.port");
            }
        }
        if record.get(Field::UserName).is_none() && !known.user.get().is_empty() {
            record.set(Field::UserName, known.user.get());
            note("user.name");
        }
        for (place, text, name) in [
            (&mut names.connection, known.connection.get(), "waybill.softether.connection"),
            (&mut names.session, known.session.get(), "waybill.softether.session"),
            (&mut names.hub, known.hub.get(), "waybill.softether.hub"),
        ] {
            if place.is_none() && !text.is_empty() {
                *place = Some(text);
                note(name);
            }
        }
    }
    for (name, text) in [
        ("hub", names.hub),
        ("connection", names.connection),
        ("session", names.session),
        ("admin_session", names.admin_session),
    ] {
        if let Some(text) = text {
            waybill.text(name, text);
        }
    }
    if count > 0 {
        waybill.texts("joined", joined[..count].iter().map(|name| name.as_bytes()));
    }
}

/// The same for an event's line in the security log and in the server log.
fn event_id(hub: &[u8], time: &[u8], text: &[u8]) -> u128 {
    let mut hash = Xxh3::new();
    for part in [hub, b"\0", time, b"\0", text] {
        hash.update(part);
    }
    hash.digest128()
}

#[cfg(test)]
mod tests;
