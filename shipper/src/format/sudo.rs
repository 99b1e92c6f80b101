//! sudo and sudo-rs: `USER : [REASON ; ] KEY=value ; … ; COMMAND=…` in syslog and in sudo's own file, and what `su` and `doas` say.
//!
//! `COMMAND=` is last and free text, so the first one counts and nothing behind it is a key, but for the `EXIT=` and `SIGNAL=`
//! with which a command's end is reported. Values before it are not quoted either: sudo escapes the blanks of a folder's name only
//! since 1.9.13, so a line in which the keys come twice has a second reading, and is marked as suspect.

use super::object::Object;
use super::record::{Field, Record};
use super::settings::Outcome::{Allow, Deny, Error, Success};
use super::sshd::{AUTHENTICATION, rsplit, split};

const PROCESS: &str = "\"process\"";

/// The keys that stand before the command, and their names in `waybill.sudo`. The empty ones go to fields of the record.
const KEYS: [(&[u8], &str); 11] = [
    (b"HOST=", "host"),
    (b"TTY=", "tty"),
    (b"CHROOT=", "chroot"),
    (b"PWD=", ""),
    (b"CWD=", ""),
    (b"USER=", ""),
    (b"GROUP=", "group"),
    (b"TSID=", "session"),
    (b"ENV=", "environment"),
    (b"EXIT=", "exit"),
    (b"SIGNAL=", "signal"),
];

/// Refusals that are nobody's decision.
const PROBLEMS: [&[u8]; 10] = [
    b"unable to ",
    b"problem with ",
    b"parse error in ",
    b"syntax error",
    b"unknown ",
    b"internal error",
    b"PAM authentication error",
    b"error initializing ",
    b"unsupported ",
    b"timestamp ",
];

/// Reads a message of sudo. False, and nothing set, if it is of another form.
pub(super) fn parse<'a>(record: &mut Record<'a>, message: &'a [u8], detail: &mut Vec<u8>) -> bool {
    let text = message.trim_ascii();
    // In sudo's own file the date is followed by " : ".
    let text = text.strip_prefix(b": ").map_or(text, <[u8]>::trim_ascii_start);
    if let Some(reason) = text.strip_prefix(b"pam_authenticate: ") {
        record.name(Field::EventAction, "sudo-refused");
        record.set(Field::EventReason, reason);
        record.set(Field::Message, text);
        record.dataset = "sudo";
        (record.category, record.types, record.outcome) = (AUTHENTICATION, "\"start\"", Some(Deny));
        return true;
    }
    let Some((name, rest)) = split(text, b" : ") else { return false };
    // The colon separates the fields of passwd, so no name has one.
    if name.is_empty() || name.len() > 256 || name.contains(&b':') {
        return false;
    }
    if let Some(rest) = rest.strip_prefix(b"(command continued) ") {
        common(record, text, name);
        record.name(Field::EventAction, "sudo-command-continued");
        record.types = "\"info\"";
        record.set(Field::ProcessCommandLine, rest);
        return true;
    }
    let parts = Parts::read(rest);
    if parts.reason.is_none() && !parts.keyed {
        return false;
    }
    common(record, text, name);
    let mut waybill = Object::member_after(detail, "sudo");
    for (key, value) in parts.values.into_iter().flatten() {
        match key {
            "PWD" => record.set(Field::ProcessWorkingDirectory, value),
            "USER" => record.set(Field::UserEffectiveName, value),
            key => waybill.text(key, value),
        }
    }
    if let Some(command) = parts.command {
        record.set(Field::ProcessCommandLine, command);
        if command.starts_with(b"/") {
            let end = program_end(command);
            record.set(Field::ProcessExecutable, &command[..end]);
        }
    }
    record.suspect = parts.suspect.then_some("ambiguous");
    match parts.reason {
        None => {
            record.name(Field::EventAction, if parts.ended { "sudo-command-ended" } else { "sudo-command" });
            (record.outcome, record.types) = (Some(Allow), if parts.ended { "\"end\"" } else { "\"start\"" });
        }
        Some(reason) => {
            record.name(Field::EventAction, "sudo-refused");
            record.set(Field::EventReason, reason);
            let failed = PROBLEMS.iter().any(|problem| reason.starts_with(problem));
            record.outcome = Some(if failed { Error } else { Deny });
            record.types = "\"start\"";
            if memchr::memmem::find(reason, b"password").is_some() {
                record.category = "\"authentication\",\"process\"";
            }
        }
    }
    true
}

/// A line of sudo's own file that goes on with the one before.
pub(super) fn continuation<'a>(record: &mut Record<'a>, line: &'a [u8]) -> bool {
    let text = line.trim_ascii();
    if !line.starts_with(b"    ") || text.is_empty() {
        return false;
    }
    record.name(Field::EventAction, "sudo-line-continued");
    record.set(Field::Message, text);
    (record.category, record.types) = (PROCESS, "\"info\"");
    if let Some((_, command)) = split(text, b"COMMAND=") {
        record.set(Field::ProcessCommandLine, command);
    }
    true
}

fn common<'a>(record: &mut Record<'a>, text: &'a [u8], name: &'a [u8]) {
    record.dataset = "sudo";
    record.category = PROCESS;
    record.set(Field::Message, text);
    record.set(Field::UserName, name);
}

/// Where a command's path ends: at a blank that is not escaped.
fn program_end(command: &[u8]) -> usize {
    memchr::memchr_iter(b' ', command).find(|at| *at > 0 && command[at - 1] != b'\\').unwrap_or(command.len())
}

/// What stands behind the user's name.
#[derive(Default)]
struct Parts<'a> {
    reason: Option<&'a [u8]>,
    /// Key or name, and value; a key once.
    values: [Option<(&'static str, &'a [u8])>; KEYS.len()],
    command: Option<&'a [u8]>,
    /// There was a key.
    keyed: bool,
    /// The command has ended.
    ended: bool,
    suspect: bool,
}

impl<'a> Parts<'a> {
    fn read(text: &'a [u8]) -> Self {
        let mut parts = Self::default();
        let (head, command) = match text.strip_prefix(b"COMMAND=") {
            Some(command) => (&text[..0], Some(command)),
            None => match split(text, b"; COMMAND=").or_else(|| split(text, b"  COMMAND=")) {
                Some((head, command)) => (head, Some(command)),
                None => (text, None),
            },
        };
        let mut behind = None;
        if let Some(command) = command {
            parts.keyed = true;
            parts.suspect = memchr::memmem::find(command, b" ; COMMAND=").is_some();
            // "… ; EXIT=0", "… ; SIGNAL=TERM ; EXIT=143"
            let is_end = |at: &usize| {
                command[at + 3..].iter().all(|byte| byte.is_ascii_alphanumeric() || b" ;=+".contains(byte))
            };
            let end_at = |mark: &[u8]| memchr::memmem::rfind(command, mark).filter(is_end);
            let end = [end_at(b" ; EXIT="), end_at(b" ; SIGNAL=")].into_iter().flatten().min();
            parts.ended = end.is_some();
            let end = end.unwrap_or(command.len());
            parts.command = Some(&command[..end]);
            behind = Some(&command[end..]);
        }
        let mut from = 0;
        while from <= head.len() {
            let end = memchr::memmem::find(&head[from..], b" ;").map_or(head.len(), |at| from + at);
            let segment = head[from..end].trim_ascii();
            if !parts.value(segment) && !segment.is_empty() {
                if parts.keyed && parts.values.iter().any(Option::is_some) {
                    // Behind the first key there are only keys, unless a folder's name holds the separator.
                    parts.suspect = true;
                } else if parts.reason.is_none() {
                    parts.reason = Some(segment);
                }
            }
            from = end + 2;
        }
        for segment in behind.unwrap_or_default().split(|byte| *byte == b';') {
            parts.value(segment.trim_ascii());
        }
        parts
    }

    /// Takes `KEY=value`.
    fn value(&mut self, segment: &'a [u8]) -> bool {
        let found =
            KEYS.iter().enumerate().find_map(|(index, (key, name))| Some((index, *name, segment.strip_prefix(*key)?)));
        let Some((index, name, value)) = found else { return false };
        self.keyed = true;
        let name = match (name, index) {
            ("", 5) => "USER",
            ("", _) => "PWD",
            (name, _) => name,
        };
        let index = if index == 4 { 3 } else { index };
        match &mut self.values[index] {
            Some(_) => self.suspect = true,
            place => *place = Some((name, value)),
        }
        true
    }
}

/// Reads a message of `su` (shadow's, util-linux', BSD's) or `doas`. False, and nothing set, if it is of another form.
pub(super) fn parse_su<'a>(record: &mut Record<'a>, message: &'a [u8], detail: &mut Vec<u8>) -> bool {
    let text = message.trim_ascii();
    // "(to bob) alice on none", "FAILED SU (to root) alice on pts/1"
    let (refused, rest) = match text.strip_prefix(b"FAILED SU ").or_else(|| text.strip_prefix(b"FAILED su ")) {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let Some((refused, by, target, tty)) = to(refused, rest)
        .or_else(|| for_by(text))
        .or_else(|| signed(text))
        .or_else(|| changing(text))
        .or_else(|| bsd(text))
        .or_else(|| doas(record, text))
    else {
        return false;
    };
    record.dataset = "su";
    record.category = AUTHENTICATION;
    record.types = "\"start\"";
    record.set(Field::Message, message);
    record.set(Field::UserName, by);
    if !target.is_empty() {
        record.set(Field::UserEffectiveName, target);
    }
    if !tty.is_empty() {
        Object::member_after(detail, "su").text("tty", tty);
    }
    record.name(Field::EventAction, if refused { "su-refused" } else { "su" });
    record.outcome = Some(if refused { Deny } else { Success });
    true
}

/// Whether it was refused, who did it, whom he became, and his terminal.
type Switched<'a> = (bool, &'a [u8], &'a [u8], &'a [u8]);

fn to(refused: bool, text: &[u8]) -> Option<Switched<'_>> {
    let (target, rest) = split(text.strip_prefix(b"(to ")?, b") ")?;
    let (by, tty) = rsplit(rest, b" on ")?;
    Some((refused, by, target, tty))
}

/// `Successful su for root by alice`, `FAILED su for root by alice`
fn for_by(text: &[u8]) -> Option<Switched<'_>> {
    let refused = text.starts_with(b"FAILED ");
    let rest = text.strip_prefix(b"Successful su for ").or_else(|| text.strip_prefix(b"FAILED su for "))?;
    let (target, by) = rsplit(rest, b" by ")?;
    Some((refused, by, target, b""))
}

/// `+ pts/0 alice:root`, `- pts/0 alice-root`
fn signed(text: &[u8]) -> Option<Switched<'_>> {
    let rest = text.strip_prefix(b"+ ").or_else(|| text.strip_prefix(b"- "))?;
    let (tty, rest) = split(rest, b" ")?;
    let (by, target) = split(rest, b":").or_else(|| split(rest, b"-"))?;
    Some((text[0] == b'-', by, target, tty))
}

/// `failed: ttyq4 changing from alice to root`, `succeeded: …`
fn changing(text: &[u8]) -> Option<Switched<'_>> {
    let refused = text.starts_with(b"failed: ");
    let rest = text.strip_prefix(b"failed: ").or_else(|| text.strip_prefix(b"succeeded: "))?;
    let (tty, rest) = split(rest, b" changing from ")?;
    let (by, target) = split(rest, b" to ")?;
    Some((refused, by, target, tty))
}

/// `alice to root on /dev/pts/0`, `BAD SU alice to root on /dev/ttyp0`
fn bsd(text: &[u8]) -> Option<Switched<'_>> {
    let rest = text.strip_prefix(b"BAD SU ");
    // FreeBSD leaves the folder out, but only where it refuses.
    let (who, tty) = rsplit(rest.unwrap_or(text), b" on /dev/").or_else(|| rsplit(rest?, b" on "))?;
    let (by, target) = rsplit(who, b" to ")?;
    (!by.contains(&b' ')).then_some((rest.is_some(), by, target, tty))
}

/// `alice ran command ls as root from /home`, in the first versions `alice ran command as root: ls`, `failed auth for alice`,
/// `command not permitted for alice: ls` or `failed command for alice: ls`. Command and folder are alice's own words.
fn doas<'a>(record: &mut Record<'a>, text: &'a [u8]) -> Option<Switched<'a>> {
    if let Some(by) = text.strip_prefix(b"failed auth for ") {
        return Some((true, by, b"", b""));
    }
    let refused =
        text.strip_prefix(b"command not permitted for ").or_else(|| text.strip_prefix(b"failed command for "));
    if let Some((by, command)) = refused.and_then(|rest| split(rest, b": ")) {
        record.set(Field::ProcessCommandLine, command);
        return Some((true, by, b"", b""));
    }
    let (by, rest) = split(text, b" ran command ")?;
    let old = rest.strip_prefix(b"as ").and_then(|rest| split(rest, b": ")).filter(|(name, _)| !name.contains(&b' '));
    let new = rsplit(rest, b" as ");
    if (old.is_some() && new.is_some()) || new.is_some_and(|(command, _)| split(command, b" as ").is_some()) {
        record.suspect = Some("ambiguous");
    }
    let (command, target, folder) = match (new, old) {
        (Some((command, rest)), _) => {
            let (target, folder) = split(rest, b" from ").unwrap_or((rest, b""));
            (command, target, folder)
        }
        (None, Some((target, command))) => (command, target, &b""[..]),
        (None, None) => return None,
    };
    record.set(Field::ProcessCommandLine, command);
    if !folder.is_empty() {
        record.set(Field::ProcessWorkingDirectory, folder);
    }
    (!by.contains(&b' ')).then_some((false, by, target, b""))
}

#[cfg(test)]
mod tests;
