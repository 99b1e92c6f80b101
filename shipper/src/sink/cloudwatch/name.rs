//! The name of a log stream, from the policy's template.

use std::collections::HashSet;

/// Longest name, in characters.
const LONGEST: usize = 512;
/// Names that one sink uses at most; hubs beyond share one. A line may name any hub it likes.
const NAMES: usize = 1000;
/// Stands for a part that a record does not have, or one too many.
const OTHER: &str = "other";

/// Fills in a template.
#[derive(Debug)]
pub struct Names {
    template: String,
    node: String,
    seen: HashSet<String>,
}

impl Names {
    /// A template with `{node}`, `{source}` and `{hub}`.
    pub fn new(template: &str, node: &str) -> Self {
        Self { template: template.to_owned(), node: node.to_owned(), seen: HashSet::new() }
    }

    /// The name for records of a source and hub.
    pub fn name(&mut self, source: &str, hub: Option<&str>) -> String {
        let name = fill(&self.template, &self.node, source, hub.unwrap_or(OTHER));
        if self.seen.contains(&name) {
            return name;
        }
        if self.seen.len() >= NAMES {
            return fill(&self.template, &self.node, source, OTHER);
        }
        self.seen.insert(name.clone());
        name
    }
}

/// One pass over the template, so that a value that looks like a place for another is only text.
fn fill(template: &str, node: &str, source: &str, hub: &str) -> String {
    let mut name = String::new();
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        let (before, place) = rest.split_at(at);
        name.push_str(before);
        let values = [("{node}", node), ("{source}", source), ("{hub}", hub)];
        match values.iter().find_map(|(key, value)| Some((value, place.strip_prefix(key)?))) {
            Some((value, after)) => {
                let value = if value.is_empty() { OTHER } else { *value };
                push(&mut name, value);
                rest = after;
            }
            None => {
                name.push('_');
                rest = &place[1..];
            }
        }
    }
    name.push_str(rest);
    name.chars().take(LONGEST).collect()
}

/// Colons and asterisks are what a name must not have; slashes would make up levels that are none.
fn push(name: &mut String, value: &str) {
    name.extend(value.chars().map(|c| if matches!(c, ':' | '*' | '/') || c.is_control() { '_' } else { c }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_parts_of_a_name() {
        let mut names = Names::new("{node}/{source}-{hub}", "node-1");
        assert_eq!(names.name("gate", Some("HUB")), "node-1/gate-HUB");
        assert_eq!(names.name("gate", None), "node-1/gate-other");
        assert_eq!(names.name("", Some("a:b*c/d\n{node}")), "node-1/other-a_b_c_d_{node}");
        assert_eq!(names.name("g", Some(&"\u{e9}".repeat(600))).chars().count(), LONGEST);
    }

    #[test]
    fn hubs_without_number_make_no_streams_without_number() {
        let mut names = Names::new("{hub}", "n");
        let found: HashSet<String> = (0..5000).map(|n| names.name("s", Some(&format!("hub{n}")))).collect();
        assert!(found.len() <= NAMES + 1);
        assert_eq!(names.name("s", Some("hub1")), "hub1");
    }
}
