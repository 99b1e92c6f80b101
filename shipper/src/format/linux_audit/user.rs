//! Who did what a record tells of, and with whose account.

use super::super::record::{Field, Record};
use super::found::{Found, Key};
use super::types::Type;

/// Who did it: the login uid, which stays with a person through su and sudo; what he ran as is the effective one.
pub(super) fn fill<'a>(record: &mut Record<'a>, kind: Option<&Type>, found: &Found<'a>, scratch: &'a [u8]) {
    let login = found.get(Key::Auid, scratch).filter(|id| is_set(id));
    let own = found.get(Key::Uid, scratch);
    let account = found.get(Key::Acct, scratch);
    let managed = kind.is_some_and(|kind| kind.category == "\"iam\"");
    if let (Some(account), None, false) = (account, login, managed) {
        // Before anyone is logged in, the account is who he says he is.
        record.set(Field::UserName, account);
        if let Some(id) = found.get(Key::Id, scratch) {
            record.set(Field::UserId, id);
        }
        return;
    }
    if let Some(id) = login.or(own) {
        record.set(numbered(id, Field::UserId, Field::UserName), id);
    }
    let name = if login.is_some() { Key::LoginName } else { Key::UserName };
    if let Some(name) = found.get(name, scratch).filter(|name| is_name(name)) {
        record.set(Field::UserName, name);
    }
    if let Some(id) = found.get(Key::Euid, scratch).or(own.filter(|_| login.is_some())) {
        record.set(numbered(id, Field::UserEffectiveId, Field::UserEffectiveName), id);
    }
    target(record, kind, found, scratch);
    if kind.is_some_and(|kind| kind.number == 1108)
        && let Some(op) = found.get(Key::Op, scratch)
    {
        account_change(record, op);
    }
}

/// The account that was dealt with.
fn target<'a>(record: &mut Record<'a>, kind: Option<&Type>, found: &Found<'a>, scratch: &'a [u8]) {
    let about_user = kind.is_some_and(Type::is_about_user);
    let id = found.get(Key::Target, scratch).or_else(|| found.get(Key::Id, scratch).filter(|_| about_user));
    if let Some(id) = id.filter(|id| is_set(id)) {
        record.set(numbered(id, Field::UserTargetId, Field::UserTargetName), id);
    }
    let name = found.get(Key::TargetName, scratch).filter(|name| is_name(name));
    let name = name.filter(|_| about_user || found.has(Key::Target));
    if let Some(name) = found.get(Key::Acct, scratch).or(name) {
        record.set(Field::UserTargetName, name);
    }
}

/// What became of an account: the type says "password" where other things of it were changed, too.
fn account_change(record: &mut Record<'_>, op: &[u8]) {
    if op != b"PAM:chauthtok" && memchr::memmem::find(op, b"passw").is_none() {
        record.name(Field::EventAction, "account-changed");
    }
}

/// Whether an id is one: the highest number says that there is none.
fn is_set(id: &[u8]) -> bool {
    !matches!(id, b"4294967295" | b"-1" | b"unset")
}

/// Where a user goes that is a number, or a name: `ausearch -i` prints the name in place of the number.
fn numbered(user: &[u8], id: Field, name: Field) -> Field {
    if user.iter().all(u8::is_ascii_digit) { id } else { name }
}

/// What `ENRICHED` prints for numbers without a name.
fn is_name(name: &[u8]) -> bool {
    name != b"unset" && !name.starts_with(b"unknown(")
}
