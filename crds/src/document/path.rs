//! How a place in a document is written: `spec.sources[2].file.paths[0]`, `spec.agent.nodeSelector[kubernetes.io/os]`.

/// The place of a member.
pub(super) fn member(path: &str, key: &str) -> String {
    let simple = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    match (path.is_empty(), simple) {
        (true, true) => key.to_owned(),
        (false, true) => format!("{path}.{key}"),
        (_, false) => {
            let shown: String = key.chars().take(64).flat_map(char::escape_debug).collect();
            format!("{path}[{shown}]")
        }
    }
}

/// The place of an item of a list.
pub(super) fn index(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

/// The place that holds this one.
pub(super) fn parent(path: &str) -> Option<&str> {
    let cut = if path.ends_with(']') { path.rfind('[') } else { path.rfind(['.', ']']) };
    match cut {
        Some(cut) => Some(&path[..cut]),
        None => (!path.is_empty()).then_some(""),
    }
}
