//! What came of it: whether a call, a login or a command succeeded, and whether it was let through or refused.

use super::super::record::{Field, Record};
use super::super::settings::Outcome::{self, Allow, Deny, Error, Success};
use super::found::{Found, Key};
use super::types::Type;

/// Whether it succeeded, or was let through.
pub(super) fn result(record: &mut Record<'_>, kind: Option<&Type>, found: &Found<'_>, scratch: &[u8]) {
    let decides = kind.is_some_and(|kind| kind.decides);
    if let Some(success) = found.get(Key::Success, scratch) {
        let refused = found.get(Key::Exit, scratch).is_some_and(is_refusal);
        record.outcome = Some(match success {
            b"yes" => Success,
            _ if refused => Deny,
            _ => Error,
        });
    } else if let Some(result) = found.get(Key::Result, scratch) {
        record.outcome = match (result, decides) {
            (b"success" | b"1" | b"yes", true) => Some(Allow),
            (b"success" | b"1" | b"yes", false) => Some(Success),
            (b"failed" | b"0" | b"no" | b"fail", true) => Some(Deny),
            (b"failed" | b"0" | b"no" | b"fail", false) => Some(Error),
            _ => None,
        };
    }
    match found.get(Key::Apparmor, scratch) {
        Some(b"DENIED") => record.outcome = Some(Deny),
        Some(b"ALLOWED" | b"AUDIT") => record.outcome = Some(Allow),
        _ => {}
    }
    match kind.map(|kind| kind.number) {
        Some(1326) => record.outcome = found.get(Key::Code, scratch).map_or(Some(Deny), seccomp),
        Some(1331) => record.outcome = found.get(Key::Response, scratch).and_then(fanotify),
        // Landlock tells of what it refused only.
        Some(1423) => record.outcome = Some(Deny),
        Some(1701 | 1202 | 1209) => record.outcome = Some(Error),
        // "success" is that it was noticed; who is turned away for it has failed.
        Some(2100..2105) => record.outcome = (record.outcome == Some(Error)).then_some(Deny),
        _ => {}
    }
}

/// What a filter of calls did (`SECCOMP_RET_…` in `linux/seccomp.h`, `auparse`'s names): `None` if another program decided.
fn seccomp(code: &[u8]) -> Option<Outcome> {
    match code {
        // Logged, or allowed.
        b"0x7ffc0000" | b"0x7fff0000" | b"log" | b"allow" => Some(Allow),
        // A tracer, or who listens for it.
        b"0x7ff00000" | b"0x7fc00000" | b"trace" | b"user_notif" => None,
        _ => Some(Deny),
    }
}

/// What a daemon answered that is asked for each access (`FAN_ALLOW`, `FAN_DENY`, which may have a reason in its upper bits).
fn fanotify(answer: &[u8]) -> Option<Outcome> {
    match answer {
        b"allow" => return Some(Allow),
        b"deny" => return Some(Deny),
        _ => {}
    }
    let answer: u32 = std::str::from_utf8(answer).ok()?.parse().ok()?;
    match answer & 3 {
        1 => Some(Allow),
        2 => Some(Deny),
        _ => None,
    }
}

/// `avc:  denied  { read } for …`. What would be denied is let through where the policy is `permissive`.
pub(super) fn decision<'a>(record: &mut Record<'a>, text: &'a [u8], permissive: bool) {
    let head = &text[..text.len().min(64)];
    if memchr::memmem::find(head, b" denied ").is_some() {
        record.outcome = Some(if permissive { Allow } else { Deny });
    } else if memchr::memmem::find(head, b" granted ").is_some() {
        record.outcome = Some(Allow);
    }
    if let Some((_, rest)) = super::super::sshd::split(text, b"{ ")
        && let Some((permissions, _)) = super::super::sshd::split(rest, b" }")
    {
        record.set(Field::EventReason, permissions);
    }
}

/// `-13` and `-1`, or their names in lines that a tool has interpreted: EACCES, EPERM.
pub(super) fn is_refusal(exit: &[u8]) -> bool {
    matches!(exit, b"-13" | b"-1") || exit.starts_with(b"EACCES") || exit.starts_with(b"EPERM")
}
