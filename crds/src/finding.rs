//! What is found to be wrong with a document.

use std::fmt;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The document can't be used.
    Error,
    /// One source or sink is left out, because this release does not know its kind; the rest runs.
    Skipped,
    /// It is ignored, or works differently than it may seem.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
        })
    }
}

/// One thing that is wrong with a document, where, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Where in the document, such as `spec.sources[2].file.paths[0]`. Empty if the whole document is meant.
    pub path: String,
    /// The line in the text, counted from 1. For something that is missing, the line of what should hold it.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub remedy: String,
}

impl Finding {
    pub(crate) fn new(
        severity: Severity,
        path: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { severity, path: path.into(), line: None, message: message.into(), remedy: remedy.into() }
    }

    pub(crate) fn error(path: impl Into<String>, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Severity::Error, path, message, remedy)
    }

    pub(crate) fn warning(path: impl Into<String>, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Severity::Warning, path, message, remedy)
    }

    pub(crate) fn at(mut self, line: usize) -> Self {
        self.line = Some(line);
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        write!(f, "{}: ", self.severity)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "{}", self.message)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}
