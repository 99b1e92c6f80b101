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

/// Reads a message of the kernel about its own log. Sets nothing if it is another one.
pub(super) fn kernel<'a>(record: &mut Record<'a>, message: &'a [u8], detail: &mut Vec<u8>) {
    if !LOSSES.iter().any(|loss| message.starts_with(loss)) {
        return;
    }
    record.parsed = true;
    record.name(Field::EventAction, "audit-records-lost");
    record.set(Field::Message, message);
    record.category = "\"configuration\"";
    record.types = "\"info\"";
    record.outcome = Some(Error);
    let mut waybill = Object::member_after(detail, "audit");
    waybill.flag("integrity");
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
    if !matches!(number, 1200..=1209 | 1305 | 1328 | 1329 | 2000) {
        return;
    }
    waybill.flag("integrity");
    if number != 1305 {
        return;
    }
    if found.get(Key::Lost, scratch).is_some() {
        // The counter was read and set to zero; the old value is what was lost.
        record.name(Field::EventAction, "audit-records-lost");
        record.outcome = Some(Error);
        if let Some(lost) = found.get(Key::Old, scratch).filter(|digits| super::super::base::is_decimal(digits)) {
            waybill.value("lost").extend_from_slice(lost);
        }
    } else if let Some(enabled) = found.get(Key::Enabled, scratch) {
        record.name(Field::EventAction, if enabled == b"0" { "audit-disabled" } else { "audit-enabled" });
    } else if let Some(op) = found.get(Key::Op, scratch) {
        match op {
            b"add_rule" | b"add rule" => record.name(Field::EventAction, "audit-rule-added"),
            b"remove_rule" | b"remove rule" => record.name(Field::EventAction, "audit-rule-removed"),
            _ => {}
        }
    }
}
