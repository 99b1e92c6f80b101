//! What sshd prints of a key or of a certificate.

use super::super::object::Object;
use super::{rsplit, split};

/// `RSA SHA256:…`, before 6.8 `RSA 1e:2d:…`
pub(super) fn is_key(info: &[u8]) -> bool {
    split(info, b" ").is_some_and(|(kind, fingerprint)| is_word(kind) && is_fingerprint(fingerprint))
}

pub(super) fn begins_with_key(info: &[u8]) -> bool {
    split(info, b" ID ").is_some_and(|(key, _)| is_key(key))
}

/// `… (serial 0) CA ED25519 SHA256:…`
pub(super) fn is_certificate_end(text: &[u8]) -> bool {
    rsplit(text, b" CA ").is_some_and(|(before, authority)| before.ends_with(b")") && is_key(authority))
}

fn is_word(text: &[u8]) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_@.".contains(byte))
}

fn is_fingerprint(text: &[u8]) -> bool {
    text.len() <= 160 && text.iter().all(u8::is_ascii_graphic) && memchr::memchr(b':', text).is_some()
}

/// Writes what is said about a key: `RSA SHA256:…[ ID id (serial 0) CA ED25519 SHA256:…]`, or of another method what it says.
pub(super) fn write(waybill: &mut Object<'_>, method: &[u8], info: &[u8]) {
    if method != b"publickey" && method != b"hostbased" {
        waybill.text("info", info);
        return;
    }
    if method == b"hostbased"
        && let Some((shown, client)) = split(info, b", client user \"")
        && let Some((user, host)) = rsplit(client, b"\", client host \"")
    {
        write(waybill, b"publickey", shown);
        waybill.text("client_user", user);
        waybill.text("client_host", host.strip_suffix(b"\"").unwrap_or(host));
        return;
    }
    let (shown, rest) = split(info, b" ID ").unwrap_or((info, b""));
    match split(shown, b" ") {
        Some((kind, fingerprint)) if is_word(kind) => {
            waybill.text("key_type", kind);
            waybill.text("fingerprint", fingerprint.strip_suffix(b",").unwrap_or(fingerprint));
        }
        _ => waybill.text("info", info),
    }
    if let Some((id, rest)) = rsplit(rest, b" (serial ") {
        waybill.text("certificate_id", id);
        if let Some((serial, authority)) = split(rest, b") CA ") {
            waybill.text("certificate_serial", serial);
            waybill.text("authority", authority);
        }
    }
}
