//! What `internal-sftp` and `sftp-server` log of files, from their level INFO on (`sftp-server.c`).
//!
//! ```text
//! open "/x" flags READ mode 0666         close "/x" bytes read 5 written 0         remove name "/x"
//! ```
//!
//! A path is the user's and stands in quotes that may hold quotes: it ends at the last one.

use crate::format::record::{Field, Record};
use crate::format::settings::Outcome::{Deny, Error, Success};

/// How messages about one path begin, and what they say.
const OPERATIONS: [(&[u8], &str, &str); 12] = [
    (b"open \"", "sftp-open", "\"access\""),
    (b"close \"", "sftp-close", "\"end\""),
    (b"forced close \"", "sftp-close", "\"end\""),
    (b"opendir \"", "sftp-opendir", "\"access\""),
    (b"closedir \"", "sftp-closedir", "\"end\""),
    (b"remove name \"", "sftp-remove", "\"deletion\""),
    (b"rmdir name \"", "sftp-rmdir", "\"deletion\""),
    (b"mkdir name \"", "sftp-mkdir", "\"creation\""),
    (b"set \"", "sftp-set", "\"change\""),
    (b"rename old \"", "sftp-rename", "\"change\""),
    (b"posix-rename old \"", "sftp-rename", "\"change\""),
    (b"symlink old \"", "sftp-symlink", "\"creation\""),
];

/// Reads a message. `None`, and nothing set, if it is none of those.
pub(super) fn parse<'a>(record: &mut Record<'a>, text: &'a [u8]) -> Option<()> {
    if let Some(status) = text.strip_prefix(b"sent status ") {
        record.name(Field::EventAction, "sftp-status");
        record.set(Field::EventReason, status);
        record.outcome = Some(match status {
            b"Success" | b"End of file" => Success,
            b"Permission denied" => Deny,
            _ => Error,
        });
        (record.category, record.types) = ("\"file\"", "\"info\"");
        return Some(());
    }
    let (begins, action, types) = OPERATIONS.iter().find(|(begins, ..)| text.starts_with(begins))?;
    let rest = &text[begins.len()..];
    let end = memchr::memrchr(b'"', rest)?;
    record.name(Field::EventAction, action);
    (record.category, record.types) = ("\"file\"", types);
    // Where two paths stand, either of them could end where the other begins.
    if !begins.ends_with(b"old \"") {
        record.set(Field::FilePath, &rest[..end]);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files() {
        for (text, expected) in [
            ("open \"/a b\" flags WRITE,CREATE mode 0666", Some(("sftp-open", "/a b", None))),
            (
                "open \"/a\" flags READ\" mode 0\" flags READ mode 0666",
                Some(("sftp-open", "/a\" flags READ\" mode 0", None)),
            ),
            ("close \"/x\" bytes read 0 written 5", Some(("sftp-close", "/x", None))),
            ("remove name \"/x\"", Some(("sftp-remove", "/x", None))),
            ("rename old \"/x\" new \"/y\"", Some(("sftp-rename", "-", None))),
            ("sent status Permission denied", Some(("sftp-status", "-", Some(Deny)))),
            ("sent status No such file", Some(("sftp-status", "-", Some(Error)))),
            ("open \"", None),
            ("open x", None),
            ("", None),
        ] {
            let mut record = Record::new("sshd", "sshd");
            let found = parse(&mut record, text.as_bytes()).map(|()| {
                let text = |field| record.get(field).map_or("-", |text| std::str::from_utf8(text).unwrap());
                (text(Field::EventAction), text(Field::FilePath), record.outcome)
            });
            assert_eq!(found, expected, "{text}");
        }
    }
}
