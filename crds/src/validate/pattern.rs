//! Path patterns.
//!
//! A pattern is an absolute path. `*`, `?` and `[a-z]` match within one component; `**` is a component of its own and matches
//! any number of folders; `{name}` is a component of its own or a part of one, matches as `*` does, and keeps what it matched
//! under that name. A backslash takes the meaning from the character behind it.

use crate::bounds::OTHER_NAME_LENGTH;

/// What is wrong with a pattern, and what to write instead.
pub(super) fn fault(pattern: &str) -> Option<(String, &'static str)> {
    if let Some(fault) = path_fault(pattern) {
        return Some(fault);
    }
    if pattern.ends_with('/') {
        return Some(("it ends with a slash".to_owned(), "name files, such as /var/log/v2ray/*.log"));
    }
    let mut captures = Vec::new();
    for component in pattern.split('/') {
        if component.contains("**") && component != "**" {
            return Some((
                format!("** is only a part of {component:?}"),
                "write ** between two slashes to cross folders, or * within one",
            ));
        }
        if let Some(fault) = component_fault(component, &mut captures) {
            return Some(fault);
        }
    }
    if pattern.ends_with("/**") {
        return Some(("it ends with **".to_owned(), "name the files too, such as /**/*.log"));
    }
    None
}

/// What is wrong with a path that is no pattern.
pub(super) fn plain_fault(path: &str) -> Option<(String, &'static str)> {
    path_fault(path).or_else(|| {
        path.contains(['*', '?', '[', ']', '{', '}'])
            .then(|| ("it is a pattern".to_owned(), "write the path of one file or folder"))
    })
}

fn path_fault(path: &str) -> Option<(String, &'static str)> {
    if !path.starts_with('/') {
        return Some(("it is not absolute".to_owned(), "begin with a slash, such as /var/log/v2ray/access.log"));
    }
    if path.contains('\0') || path.contains('\n') {
        return Some(("it has a control character".to_owned(), "write the path without it"));
    }
    let component = |name: &str| path.split('/').any(|component| component == name);
    if component("..") {
        return Some(("it goes up with ..".to_owned(), "write the path without .."));
    }
    if component(".") {
        return Some(("it has a component that is only a dot".to_owned(), "leave the dot out"));
    }
    if path.contains("//") {
        return Some(("it has two slashes in a row".to_owned(), "write one"));
    }
    None
}

fn component_fault<'a>(component: &'a str, captures: &mut Vec<&'a str>) -> Option<(String, &'static str)> {
    let mut rest = component;
    while let Some(at) = rest.find(['\\', '[', '{', '}']) {
        let special = rest.as_bytes()[at];
        rest = &rest[at + 1..];
        match special {
            b'\\' => match rest.chars().next() {
                Some(escaped) => rest = &rest[escaped.len_utf8()..],
                None => {
                    return Some(("it ends with a backslash".to_owned(), "write two for a backslash in a name"));
                }
            },
            b'[' => match class_end(rest) {
                Ok(end) => rest = &rest[end..],
                Err(fault) => return Some(fault),
            },
            b'{' => {
                let Some(end) = rest.find('}') else {
                    return Some((
                        "a { is not closed".to_owned(),
                        "write {name} for a capture, or \\{ for the character",
                    ));
                };
                let name = &rest[..end];
                if !is_identifier(name) {
                    return Some((
                        format!("{name:?} can't name a capture"),
                        "write a letter or underscore, then letters, digits and underscores, such as {hub}",
                    ));
                }
                if captures.contains(&name) {
                    return Some((format!("{{{name}}} stands in it twice"), "give each capture a name of its own"));
                }
                captures.push(name);
                rest = &rest[end + 1..];
            }
            _ => {
                return Some(("a } closes nothing".to_owned(), "write {name} for a capture, or \\} for the character"));
            }
        }
    }
    None
}

/// Where a class of characters ends, behind its bracket.
fn class_end(class: &str) -> Result<usize, (String, &'static str)> {
    let negated = usize::from(class.starts_with(['!', '^']));
    let body = &class[negated..];
    // A bracket that comes first stands for itself.
    let first = body.chars().next().map_or(0, char::len_utf8);
    let Some(length) = body[first..].find(']').map(|end| end + first) else {
        return Err(("a [ is not closed".to_owned(), "write a class such as [a-z], or \\[ for the character"));
    };
    let chars: Vec<char> = body[..length].chars().collect();
    let mut at = 0;
    while at < chars.len() {
        if at + 2 < chars.len() && chars[at + 1] == '-' {
            if chars[at] > chars[at + 2] {
                let range: String = chars[at..=at + 2].iter().collect();
                return Err((format!("the range {range} is the wrong way round"), "write the smaller character first"));
            }
            at += 3;
        } else {
            at += 1;
        }
    }
    Ok(negated + length + 1)
}

fn is_identifier(name: &str) -> bool {
    name.len() <= OTHER_NAME_LENGTH
        && name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usable_patterns_have_no_fault() {
        for pattern in [
            "/var/log/v2ray/access.log",
            "/var/log/softether/security_log/{hub}/sec_*.log",
            "/var/log/pods/kube-system_*/*/*.log",
            "/var/log/**/audit.log",
            "/**/*.log",
            "/a/[a-z0-9]?.log",
            "/a/[!a-z].log",
            "/a/[]x].log",
            "/a/\\{x\\}/\\[b",
            "/a/{node}-{hub}/x",
            "/var/log/ä/日本.log",
        ] {
            assert_eq!(fault(pattern), None, "{pattern}");
        }
    }

    #[test]
    fn faults_are_named() {
        for (pattern, message) in [
            ("", "it is not absolute"),
            ("log/x", "it is not absolute"),
            ("/var/../etc/x", "it goes up with .."),
            ("/var/./x", "it has a component that is only a dot"),
            ("/var//x", "it has two slashes in a row"),
            ("/var/log/", "it ends with a slash"),
            ("/var/**", "it ends with **"),
            ("/var/a**/x", "** is only a part of \"a**\""),
            ("/var/***/x", "** is only a part of \"***\""),
            ("/var/[a-z", "a [ is not closed"),
            ("/var/[z-a]", "the range z-a is the wrong way round"),
            ("/var/[a/b]", "a [ is not closed"),
            ("/var/{a", "a { is not closed"),
            ("/var/a}", "a } closes nothing"),
            ("/var/{}/x", "\"\" can't name a capture"),
            ("/var/{1a}/x", "\"1a\" can't name a capture"),
            ("/var/{a}/{a}", "{a} stands in it twice"),
            ("/var/x\\", "it ends with a backslash"),
            ("/var/a\nb", "it has a control character"),
        ] {
            assert_eq!(fault(pattern).map(|fault| fault.0).as_deref(), Some(message), "{pattern:?}");
        }
    }

    #[test]
    fn a_plain_path_is_no_pattern() {
        assert_eq!(plain_fault("/var/lib/waybill/archive/audit.log"), None);
        assert!(plain_fault("/var/lib/*.log").is_some());
        assert!(plain_fault("audit.log").is_some());
    }
}
