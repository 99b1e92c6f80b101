//! Whether two path patterns can match the same file.
//!
//! A class such as `[a-z]` counts as any character, so that the answer is at worst a needless yes.

/// A character of a component, or what stands for characters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    One(char),
    Any,
    Many,
}

/// A component of a path, or `**`.
enum Component {
    Named(Vec<Token>),
    Deep,
}

/// Whether some path matches both.
pub(super) fn overlap(left: &str, right: &str) -> bool {
    let (left, right) = (components(left), components(right));
    meet(&left, &right, |component| matches!(component, Component::Deep), &|left, right| match (left, right) {
        (Component::Named(left), Component::Named(right)) => {
            meet(left, right, |token| *token == Token::Many, &|left, right| match (left, right) {
                (Token::One(left), Token::One(right)) => left == right,
                _ => true,
            })
        }
        _ => true,
    })
}

fn components(pattern: &str) -> Vec<Component> {
    let named = |part: &str| if part == "**" { Component::Deep } else { Component::Named(tokens(part)) };
    pattern.split('/').filter(|part| !part.is_empty()).map(named).collect()
}

fn tokens(component: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut chars = component.chars();
    while let Some(char) = chars.next() {
        tokens.push(match char {
            '*' => Token::Many,
            '?' => Token::Any,
            '{' => {
                let _name = chars.by_ref().find(|char| *char == '}');
                Token::Many
            }
            '[' => {
                // A bracket that comes first stands for itself.
                let mut first = chars.next();
                if matches!(first, Some('!' | '^')) {
                    first = chars.next();
                }
                if first.is_some() {
                    let _rest = chars.by_ref().find(|char| *char == ']');
                }
                Token::Any
            }
            '\\' => chars.next().map_or(Token::Any, Token::One),
            char => Token::One(char),
        });
    }
    tokens
}

/// Whether two sequences, in which some items stand for any number of others, have an expansion in common.
fn meet<T>(left: &[T], right: &[T], many: impl Fn(&T) -> bool, same: &dyn Fn(&T, &T) -> bool) -> bool {
    let width = right.len() + 1;
    let mut seen = vec![false; (left.len() + 1) * width];
    let mut open = vec![(0, 0)];
    while let Some((i, j)) = open.pop() {
        if std::mem::replace(&mut seen[i * width + j], true) {
            continue;
        }
        let (here, there) = (left.get(i), right.get(j));
        match (here, there) {
            (None, None) => return true,
            _ if here.is_some_and(&many) => {
                open.push((i + 1, j));
                if there.is_some() {
                    open.push((i, j + 1));
                }
            }
            _ if there.is_some_and(&many) => {
                open.push((i, j + 1));
                if here.is_some() {
                    open.push((i + 1, j));
                }
            }
            (Some(here), Some(there)) if same(here, there) => open.push((i + 1, j + 1)),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_that_share_a_path_overlap_and_others_do_not() {
        for (left, right, expected) in [
            ("/var/log/a.log", "/var/log/a.log", true),
            ("/var/log/a.log", "/var/log/b.log", false),
            ("/var/log/*.log", "/var/log/a*", true),
            ("/var/log/*.log", "/var/log/a.txt", false),
            ("/var/log/**/a.log", "/var/log/x/y/a.log", true),
            ("/var/log/**/a.log", "/var/log/a.log", true),
            ("/var/log/**/a.log", "/srv/**/a.log", false),
            ("/var/log/{hub}/x", "/var/log/*/x", true),
            ("/var/log/{hub}/x", "/var/log/y/z/x", false),
            ("/var/log/[ab].log", "/var/log/c.log", true),
            ("/var/log/[]].log", "/var/log/c.log", true),
            ("/var/log/\\*.log", "/var/log/a.log", false),
            ("/var/log/?b*d", "/var/log/a*cd", true),
            ("/var/log/a", "/var/log/a/b", false),
            ("/var/**/x/**/y", "/var/a/**/y", true),
        ] {
            assert_eq!(overlap(left, right), expected, "{left} {right}");
            assert_eq!(overlap(right, left), expected, "{right} {left}");
        }
    }

    #[test]
    fn hostile_patterns_cost_little() {
        let left = format!("/{}b", "*a".repeat(250));
        let right = format!("/{}c", "a*".repeat(250));
        let start = std::time::Instant::now();
        assert!(!overlap(&left, &right));
        assert!(start.elapsed() < std::time::Duration::from_secs(2));
    }
}
