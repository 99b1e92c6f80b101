//! What PAM answers to sshd: the texts of the library's `pam_strerror`, which sshd prints as they are, before ` for USER`. Some of
//! them hold those words themselves, so they are known whole.

use crate::format::settings::Outcome::{self, Deny, Error};

/// Texts and what they come to: someone was refused, or nobody could decide.
const REASONS: [(&[u8], Outcome); 39] = [
    // Linux-PAM, `libpam/pam_strerror.c`.
    (b"Authentication failure", Deny),
    (b"Permission denied", Deny),
    (b"User not known to the underlying authentication module", Deny),
    (b"Have exhausted maximum number of retries for service", Deny),
    (b"User account has expired", Deny),
    (b"User credentials expired", Deny),
    (b"Authentication token expired", Deny),
    (b"Authentication token is no longer valid; new one required", Deny),
    (b"Insufficient credentials to access authentication data", Error),
    (b"Authentication service cannot retrieve authentication info", Error),
    (b"Authentication service cannot retrieve user credentials", Error),
    (b"Authentication token manipulation error", Error),
    (b"Authentication information cannot be recovered", Error),
    (b"Authentication token lock busy", Error),
    (b"Authentication token aging disabled", Error),
    (b"Failed preliminary check by password service", Error),
    (b"Failure setting user credentials", Error),
    (b"Cannot make/remove an entry for the specified session", Error),
    (b"Critical error - immediate abort", Error),
    (b"Failed to load module", Error),
    (b"Symbol not found", Error),
    (b"Error in service module", Error),
    (b"System error", Error),
    (b"Memory buffer error", Error),
    (b"No module specific data is present", Error),
    (b"Bad item passed to pam_*_item()", Error),
    (b"Conversation error", Error),
    (b"Conversation is waiting for event", Error),
    (b"The return value should be ignored by PAM dispatch", Error),
    (b"Module is unknown", Error),
    (b"Application needs to call libpam again", Error),
    (b"Unknown PAM error", Error),
    // OpenPAM and older versions.
    (b"authentication error", Deny),
    (b"authentication failed", Deny),
    (b"unknown user", Deny),
    (b"no account present for user", Deny),
    (b"user account is locked", Deny),
    (b"maximum number of tries exceeded", Deny),
    (b"have exhausted maximum number of retries", Deny),
];

/// The reason with which a text begins, what it comes to, and what follows ` for `.
pub(super) fn split(text: &[u8]) -> Option<(&[u8], Outcome, &[u8])> {
    REASONS.iter().find_map(|(known, outcome)| {
        let (reason, rest) = text.split_at_checked(known.len())?;
        let rest = rest.strip_prefix(b" for ").filter(|_| reason.eq_ignore_ascii_case(known))?;
        Some((reason, *outcome, rest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_known_whole() {
        for (text, expected) in [
            ("Have exhausted maximum number of retries for service for root", Some(("root", Deny))),
            ("have exhausted maximum number of retries for root", Some(("root", Deny))),
            ("authentication failure for a for b", Some(("a for b", Deny))),
            ("Module is unknown for root", Some(("root", Error))),
            ("Module is unknown", None),
            ("x for root", None),
            ("", None),
        ] {
            let found = split(text.as_bytes()).map(|(_, outcome, rest)| (std::str::from_utf8(rest).unwrap(), outcome));
            // The text without a service begins the one with it.
            assert_eq!(found, expected, "{text}");
        }
        for (index, (text, _)) in REASONS.iter().enumerate() {
            assert!(REASONS[..index].iter().all(|(other, _)| !other.eq_ignore_ascii_case(text)));
        }
    }
}
