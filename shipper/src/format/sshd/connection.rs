//! What earlier lines said of the connection that a process of sshd serves, for the lines that lack its client or user.
//!
//! `Disconnecting: Too many authentication failures`, `error: connect_to …`, `pam_unix(sshd:session): session closed for user x` name
//! no address; they have the process id of those that do. What a line tells goes by the id in its header alone, which sshd's
//! client cannot choose, and only what a message says in sshd's own words is remembered. Ids are used again: a connection is
//! forgotten soon after its last line, some time after one that should not have been the last, and at once where a line tells of
//! another client.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::format::address::Version;
use crate::format::join::{self, Join, Text};
use crate::format::object::Object;
use crate::format::peer::source;
use crate::format::record::{Field, Record};
use crate::format::settings::Outcome;

/// Nanoseconds.
const SECOND: u64 = 1_000_000_000;

/// A process, by the host of the header (empty: none) and the digits of its id.
#[derive(Debug, Clone, Copy)]
pub(in crate::format) struct Process<'n> {
    pub(in crate::format) host: &'n [u8],
    pub(in crate::format) pid: &'n [u8],
}

/// How far a connection has come.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nobody was let in yet.
    #[default]
    Before,
    Inside,
    /// Its last line was read. PAM's modules may add something.
    Over,
}

impl Stage {
    /// How long after its last line a connection is remembered, in nanoseconds.
    fn lasts(self) -> u64 {
        match self {
            // LoginGraceTime is two minutes unless someone changes it.
            Self::Before => 600 * SECOND,
            Self::Inside => 12 * 3600 * SECOND,
            Self::Over => 10 * SECOND,
        }
    }
}

/// What is known of the connection that a process serves. Empty: nothing.
#[derive(Debug, Default)]
pub(in crate::format) struct Known {
    host: Text,
    pid: Text,
    address: Text,
    port: Text,
    user: Text,
    /// Lines named several users, so that it is certain of none.
    several: bool,
    stage: Stage,
    /// The time of the last line, in nanoseconds since 1970 UTC; once it is over, of the line that said so.
    last: i64,
}

impl join::Known for Known {
    type Name<'n> = Process<'n>;

    fn hash(process: Process<'_>) -> u64 {
        xxh3_64_with_seed(process.host, xxh3_64(process.pid))
    }

    fn begin(&mut self, process: Process<'_>) -> bool {
        for text in [&mut self.address, &mut self.port, &mut self.user] {
            text.clear();
        }
        (self.several, self.stage, self.last) = (false, Stage::Before, 0);
        self.host.set(process.host) && self.pid.set(process.pid)
    }

    fn is(&self, process: Process<'_>) -> bool {
        self.pid.get() == process.pid && self.host.get() == process.host
    }

    // Who comes and goes without being let in does not push out those who are.
    fn stays(&self) -> bool {
        self.stage == Stage::Inside
    }
}

impl Known {
    fn is_past(&self, time: i64) -> bool {
        time.abs_diff(self.last) > self.stage.lasts()
    }

    fn contradicts(&self, told: &Told<'_>) -> bool {
        let (own, told_port) = (self.address.get(), told.port.unwrap_or_default());
        let Some(address) = told.address.filter(|_| !own.is_empty()) else { return false };
        if !is_same(own, address) {
            // A name and an address can be the same client's.
            return Version::of(own).is_some() == Version::of(address).is_some();
        }
        !told_port.is_empty() && !self.port.get().is_empty() && self.port.get() != told_port
    }

    fn take(&mut self, told: &Told<'_>, time: i64) {
        if let Some(address) = told.address {
            // An address says more than the name that its owner gave it.
            if self.address.get().is_empty() || Version::of(self.address.get()).is_none() {
                self.address.set(address);
            }
            if let Some(port) = told.port {
                self.port.set(port);
            }
        }
        if let Some(user) = told.user {
            if self.user.get().is_empty() {
                self.user.set(user);
            } else if self.user.get() != user {
                self.several = true;
            }
        }
        if self.stage != Stage::Over {
            self.last = time;
            self.stage = told.stage.unwrap_or(self.stage);
        }
    }
}

/// Whether two texts are the same address. Some lines have IPv4 addresses in the form of IPv6.
fn is_same(left: &[u8], right: &[u8]) -> bool {
    let [left, right] = [left, right].map(|text| text.strip_prefix(b"::ffff:").unwrap_or(text));
    left.eq_ignore_ascii_case(right)
}

/// What a line says of its process's connection.
#[derive(Debug, Default)]
struct Told<'r> {
    address: Option<&'r [u8]>,
    port: Option<&'r [u8]>,
    user: Option<&'r [u8]>,
    /// How far the connection has come with this line.
    stage: Option<Stage>,
    /// Whether it is the first line of a connection.
    begins: bool,
    /// Whether it is one of those that do not come after the last.
    attempts: bool,
}

impl<'r> Told<'r> {
    fn of(record: &Record<'r>) -> Self {
        let action = record.get(Field::EventAction).unwrap_or_default();
        let is_pam = record.dataset == "pam";
        let mut told = Self { stage: stage(record, action), ..Self::default() };
        // What has two readings teaches nothing.
        if record.suspect.is_some() {
            return told;
        }
        let names_client = is_pam || NAME_CLIENT.contains(&action);
        if names_client && let Some(address) = record.get(Field::SourceAddress) {
            (told.address, told.port) = (Some(address), record.get(Field::SourcePort));
        }
        // Of PAM's texts not all name the user where he is looked for.
        let names_user = !is_pam || matches!(action, b"session-opened" | b"pam-authentication");
        told.user = record.get(Field::UserName).filter(|user| names_user && !user.is_empty());
        told.begins = action == b"connection" && record.types.contains("start");
        told.attempts = matches!(
            action,
            b"ssh_login" | b"ssh_login_partial" | b"ssh_login_postponed" | b"invalid-user" | b"user-not-allowed"
        );
        told
    }
}

/// Actions of messages whose source is the client that the process serves. Those of the listening process, and those about
/// forwarded connections, name others.
const NAME_CLIENT: [&[u8]; 20] = [
    b"ssh_login",
    b"ssh_login_partial",
    b"ssh_login_postponed",
    b"invalid-user",
    b"user-not-allowed",
    b"max-authentication-attempts",
    b"pam-refused",
    b"root-login-refused",
    b"key-not-permitted",
    b"connection",
    b"connection-closed",
    b"connection-reset",
    b"connection-timeout",
    b"connection-failed",
    b"disconnected",
    b"disconnecting",
    b"negotiation-failed",
    b"protocol-error",
    b"session-started",
    b"session-closed",
];

fn stage(record: &Record<'_>, action: &[u8]) -> Option<Stage> {
    // sshd's own "Close session" is one of several of a connection.
    let closes_last = record.dataset == "pam"
        || record.get(Field::Message).is_some_and(|message| message.starts_with(b"session closed for local user "));
    let over = match action {
        b"session-closed" => closes_last,
        b"connection-closed"
        | b"connection-reset"
        | b"connection-timeout"
        | b"connection-failed"
        | b"connection-refused"
        | b"disconnected"
        | b"negotiation-failed"
        | b"no-identification"
        | b"bad-identification"
        | b"protocol-error"
        | b"authentication-timeout" => true,
        _ => record.get(Field::LogLevel) == Some(b"fatal".as_slice()),
    };
    let inside = match action {
        b"ssh_login" => record.outcome == Some(Outcome::Allow),
        _ => matches!(action, b"session-opened" | b"session-started" | b"session-process"),
    };
    if over { Some(Stage::Over) } else { inside.then_some(Stage::Inside) }
}

/// Remembers what a line says of its process's connection.
pub(in crate::format) fn learn(join: &mut Join<Known>, process: Process<'_>, record: &Record<'_>, time: i64) {
    let action = record.get(Field::EventAction).unwrap_or_default();
    if action == b"listening" {
        // The process that takes connections has none.
        join.end(process);
        return;
    }
    let told = Told::of(record);
    let is_another = join.get(process).is_none_or(|known| {
        told.begins || known.is_past(time) || known.contradicts(&told) || (told.attempts && known.stage == Stage::Over)
    });
    if is_another {
        join.end(process);
        if told.address.is_none() && told.user.is_none() {
            return;
        }
        join.begin(process);
    }
    if let Some(known) = join.get_mut(process) {
        known.take(&told, time);
    }
    if action == b"session-process"
        && let Some(pid) =
            record.get(Field::Message).and_then(|text| text.trim_ascii_end().rsplit(|b| *b == b' ').next())
        && crate::format::base::is_decimal(pid)
    {
        hand_on(join, process, Process { pid, ..process }, time);
    }
}

/// `User child is on pid N`: that process goes on with the connection, and logs under its own id.
fn hand_on(join: &mut Join<Known>, process: Process<'_>, child: Process<'_>, time: i64) {
    let Some(known) = join.get_mut(process) else { return };
    let several = known.several;
    let texts = [&mut known.address, &mut known.port, &mut known.user].map(std::mem::take);
    if let Some(heir) = join.begin(child) {
        for (own, text) in [&mut heir.address, &mut heir.port, &mut heir.user].into_iter().zip(&texts) {
            own.set(text.get());
        }
        (heir.several, heir.stage, heir.last) = (several, Stage::Inside, time);
    }
    if let Some(known) = join.get_mut(process) {
        [known.address, known.port, known.user] = texts;
    }
}

/// Adds what earlier lines said, and says so in `waybill.sshd.joined`.
pub(in crate::format) fn complete<'a>(
    record: &mut Record<'a>,
    join: &'a Join<Known>,
    process: Process<'_>,
    detail: &mut Vec<u8>,
) {
    let Some(known) = join.get(process) else { return };
    let (address, port, user) = (known.address.get(), known.port.get(), known.user.get());
    let mut joined = [""; 3];
    let own = record.get(Field::SourceAddress);
    if own.is_none() && !address.is_empty() {
        source(record, address, None);
        joined[0] = "source.address";
    }
    let is_client = own.is_none_or(|own| is_same(own, address)) && !address.is_empty();
    if is_client && record.get(Field::SourcePort).is_none() && record.set_checked(Field::SourcePort, port) {
        joined[1] = "source.port";
    }
    if record.get(Field::UserName).is_none() && !user.is_empty() && !known.several {
        record.set(Field::UserName, user);
        joined[2] = "user.name";
    }
    if joined == [""; 3] {
        return;
    }
    let names = joined.iter().filter(|name| !name.is_empty()).map(|name| name.as_bytes());
    match record.dataset {
        "sshd" => Object::again(detail),
        _ => Object::member_after(detail, "sshd"),
    }
    .texts("joined", names);
}

#[cfg(test)]
mod tests;
