//! What says whether the audit log itself is complete: records lost, auditing switched off, rules changed, the daemon stopped.

use super::super::object::Object;
use super::super::record::{Field, Record};
use super::super::settings::Outcome::Error;
use super::found::{Found, Key};
use super::types::Type;

/// How the kernel's own messages about lost records begin, behind `audit: ` (`kernel/audit.c`).
const LOSSES: [&[u8]; 6] = [
    b"audit_lost=",
    b"backlog limit exceeded",
    b"rate limit exceeded",
    b"out of memory",
    b"kauditd hold queue overflow",
    b"kauditd retry queue overflow",
];

/// Parts of what the daemons say in syslog about their own log (`auditd-event.c`, `audispd`): what they come to.
const DAEMONS: [(&[u8], &str); 14] = [
    (b"queue is full - dropping event", "audit-records-lost"),
    (b"queue to plugins is full - dropping event", "audit-records-lost"),
    (b"event lost", "audit-records-lost"),
    (b"queue full reported", "audit-records-lost"),
    (b"is suspending logging", "audit-suspended"),
    (b"has been suspended", "audit-suspended"),
    (b"is now changing the system to single user mode", "audit-suspended"),
    (b"is now halting the system", "audit-suspended"),
    (b"is now resuming logging", "audit-resumed"),
    (b"no space left on logging partition", "audit-disk-full"),
    (b"is low on disk space for logging", "audit-disk-nearly-full"),
    (b"Error writing an event to disk", "audit-records-lost"),
    // The kernel had no room for what the daemon did not take from it.
    (b"Error receiving audit netlink packet (No buffer space available)", "audit-records-lost"),
    (b"Error receiving audit netlink packet", "audit-failed"),
];

/// Reads a message of the kernel or of the daemons about their own log. Sets nothing if it is another one.
pub(super) fn kernel<'a>(record: &mut Record<'a>, message: &'a [u8], detail: &mut Vec<u8>) {
    if !LOSSES.iter().any(|loss| message.starts_with(loss)) {
        // What stands behind the daemon's own words may be a path, nothing more.
        let head = &message[..message.len().min(256)];
        let Some((_, action)) = DAEMONS.iter().find(|(part, _)| memchr::memmem::find(head, part).is_some()) else {
            return;
        };
        record.parsed = true;
        record.name(Field::EventAction, action);
        record.set(Field::Message, message);
        record.category = "\"configuration\"";
        record.types = "\"info\"";
        record.outcome = (*action != "audit-resumed").then_some(Error);
        mark(record, action);
        return;
    }
    record.parsed = true;
    record.name(Field::EventAction, "audit-records-lost");
    record.set(Field::Message, message);
    record.category = "\"configuration\"";
    record.types = "\"info\"";
    record.outcome = Some(Error);
    mark(record, "audit-records-lost");
    let mut waybill = Object::member_after(detail, "audit");
    if let Some((_, rest)) = super::super::sshd::split(message, LOSSES[0]) {
        let end = rest.iter().take(10).take_while(|byte| byte.is_ascii_digit()).count();
        if super::super::base::is_decimal(&rest[..end]) {
            waybill.value("lost").extend_from_slice(&rest[..end]);
        }
    }
}

/// Gives the changes of the audit system their own names.
pub(super) fn refine(
    record: &mut Record<'_>,
    kind: Option<&Type>,
    found: &Found<'_>,
    scratch: &[u8],
    waybill: &mut Object<'_>,
) {
    let Some(number) = kind.map(|kind| kind.number) else { return };
    match number {
        1200 => mark(record, "audit-started"),
        1206 => mark(record, "audit-resumed"),
        1201 => mark(record, "audit-stopped"),
        1202 | 1209 => mark(record, "audit-failed"),
        1203 | 1204 | 1305 | 1328 | 1329 => mark(record, "audit-configured"),
        // A rotation and the kernel's start are no sign of anything missing.
        _ => return,
    }
    if number != 1305 {
        return;
    }
    if found.get(Key::Lost, scratch).is_some() {
        // The counter was read and set to zero; the old value is what was lost.
        record.name(Field::EventAction, "audit-records-lost");
        record.outcome = Some(Error);
        mark(record, "audit-records-lost");
        if let Some(lost) = found.get(Key::Old, scratch).filter(|digits| super::super::base::is_decimal(digits)) {
            waybill.value("lost").extend_from_slice(lost);
        }
    } else if let Some(enabled) = found.get(Key::Enabled, scratch) {
        let action = if enabled == b"0" { "audit-disabled" } else { "audit-enabled" };
        record.name(Field::EventAction, action);
        mark(record, action);
    } else if let Some(op) = found.get(Key::Op, scratch) {
        match op {
            b"add_rule" | b"add rule" => record.name(Field::EventAction, "audit-rule-added"),
            b"remove_rule" | b"remove rule" => record.name(Field::EventAction, "audit-rule-removed"),
            _ => {}
        }
    }
}

/// Says why an auditor must know: `waybill.integrity`, as the other formats do.
fn mark(record: &mut Record<'_>, reason: &'static str) {
    record.integrity = Some(reason);
    if matches!(
        reason,
        "audit-records-lost" | "audit-suspended" | "audit-disabled" | "audit-disk-full" | "audit-failed"
    ) {
        record.kind = "alert";
    }
}
