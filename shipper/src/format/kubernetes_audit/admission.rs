//! Whether an answer's message is a refusal by admission. Webhooks and policies choose their own code, most often that of a request
//! with a mistake in it, so only the message tells.
//!
//! ```text
//! admission webhook "NAME" denied the request: …
//! [ RESOURCE [ SP "OBJECT" ] " is forbidden: " ] ValidatingAdmissionPolicy 'NAME' with binding 'NAME' denied request: …
//! ```
//!
//! The object's name is the client's. Other messages that quote it begin with its kind, in capitals.

use crate::format::sshd::split;

const POLICY: &[u8] = b"ValidatingAdmissionPolicy '";

/// Whether admission refused. The message is the inside of a JSON string, so its quotes are escaped.
pub(super) fn refused(message: &[u8]) -> bool {
    by_webhook(message) || by_policy(message).is_some()
}

fn by_webhook(message: &[u8]) -> bool {
    let named = message.strip_prefix(b"admission webhook \\\"").and_then(|rest| split(rest, b"\\\""));
    named.is_some_and(|(_, rest)| rest.starts_with(b" denied the request"))
}

fn by_policy(message: &[u8]) -> Option<()> {
    let text = message.strip_prefix(POLICY).or_else(|| {
        let length = message.iter().take_while(|byte| is_name(**byte)).count();
        let mut rest = &message[length..];
        if let Some(quoted) = rest.strip_prefix(b" \\\"") {
            let end = memchr::memmem::find(quoted, b"\\\" is forbidden: ValidatingAdmissionPolicy '")?;
            rest = &quoted[end + 2..];
        }
        rest.strip_prefix(b" is forbidden: ")?.strip_prefix(POLICY)
    })?;
    let (policy, rest) = split(text, b"' with binding '")?;
    let (binding, rest) = split(rest, b"'")?;
    let named = policy.iter().chain(binding).all(|byte| is_name(*byte));
    (named && rest.starts_with(b" denied request")).then_some(())
}

/// Names of resources, policies and bindings: lower case.
fn is_name(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals() {
        for message in [
            r#"admission webhook \"v.x\" denied the request: no"#,
            r#"admission webhook \"v.x\" denied the request without explanation"#,
            "ValidatingAdmissionPolicy 'p.x' with binding 'b-1' denied request: no",
            r#"deployments.apps \"web\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no"#,
            "pods is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
        ] {
            assert!(refused(message.as_bytes()), "{message}");
        }
        for message in [
            "",
            r#"admission webhook \"v.x\" failed"#,
            // What a client calls an object.
            r#"Pod \"admission webhook \\\"x\\\" denied the request\" is invalid"#,
            r#"Deployment.apps \"x\\\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: \" is invalid: x"#,
            r#"the name \"ValidatingAdmissionPolicy 'p' with binding 'b' denied request\" is too long"#,
            "ValidatingAdmissionPolicy 'p' with binding 'b' warned",
        ] {
            assert!(!refused(message.as_bytes()), "{message}");
        }
    }
}
