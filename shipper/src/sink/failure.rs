//! What can be in the way of a delivery. What a sink says of one record alone is an [`Answer`].

use std::fmt;

/// Why records could not be delivered. Nothing is lost by either: the lane waits, and they are tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It may pass by itself: the server cannot be reached, is busy or slow, or cut an answer.
    Again {
        /// What happened, with the address.
        what: String,
    },
    /// A person has to do something: a credential, a right, a certificate, a name, or an answer that is not known.
    Held {
        /// What happened, with the address or the key of the secret.
        what: String,
        /// What would mend it.
        remedy: String,
    },
    /// What it needs is brought to this pod by its next start, which whoever runs it brings about.
    AwaitingRestart {
        /// What is missing.
        what: String,
    },
}

impl Failure {
    /// It may pass by itself.
    pub fn again(what: impl Into<String>) -> Self {
        Self::Again { what: line(what.into()) }
    }

    /// A person has to do something.
    pub fn held(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Held { what: line(what.into()), remedy: line(remedy.into()) }
    }

    /// Whether it does not pass by itself.
    pub fn is_held(&self) -> bool {
        !matches!(self, Self::Again { .. })
    }

    /// Whether the agent's next start brings what is missing.
    pub fn awaits_restart(&self) -> bool {
        matches!(self, Self::AwaitingRestart { .. })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Again { what } => f.write_str(what),
            Self::Held { what, remedy } => write!(f, "{what}; {remedy}"),
            Self::AwaitingRestart { what } => write!(f, "{what}; it comes with the pod's next start"),
        }
    }
}

impl std::error::Error for Failure {}

/// Longest part of a sentence, in characters.
const CLIP: usize = 1_000;

/// On one line, whatever foreign text is in it, and no longer than anyone reads.
fn line(text: String) -> String {
    if text.len() <= CLIP && !text.contains(char::is_control) {
        return text;
    }
    let mut line =
        text.split(char::is_control).map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    if let Some((at, _)) = line.char_indices().nth(CLIP) {
        line.truncate(at);
        line.push('…');
    }
    line
}

/// What a sink says of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The sink has it.
    Acknowledged,
    /// The sink refuses the record itself, for this reason: it does not parse or map, or is too large. Nothing else is a refusal.
    Refused(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_on_one_line() {
        let failure = Failure::held("no credentials. Attempted:\n\n\t- the environment\r\n", "look\x1b[2J there");
        assert_eq!(failure.to_string(), "no credentials. Attempted: - the environment; look [2J there");
        assert!(Failure::again("x".repeat(5_000)).to_string().chars().count() == CLIP + 1);
    }
}
