//! Writing an `AuditPolicy`. JSON is YAML, so no path needs quoting rules.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// A policy under construction.
#[derive(Debug, Clone)]
pub struct Policy(Value);

impl Policy {
    /// A policy without sources and sinks.
    pub fn new(name: &str) -> Self {
        Self(json!({
            "apiVersion": "waybill.dev/v1alpha1",
            "kind": "AuditPolicy",
            "metadata": {"name": name},
            "spec": {"sources": [], "sinks": []},
        }))
    }

    /// A policy with one `Text` source for `pattern` and one File sink at `archive`.
    pub fn plain(name: &str, pattern: &str, archive: &Path) -> Self {
        Self::new(name).source(text("app", pattern)).sink(file("archive", archive))
    }

    /// Adds a source.
    #[must_use]
    pub fn source(mut self, source: Value) -> Self {
        if let Some(list) = self.0["spec"]["sources"].as_array_mut() {
            list.push(source);
        }
        self
    }

    /// Adds a sink.
    #[must_use]
    pub fn sink(mut self, sink: Value) -> Self {
        if let Some(list) = self.0["spec"]["sinks"].as_array_mut() {
            list.push(sink);
        }
        self
    }

    /// Sets a field of the spec, such as `limits`.
    #[must_use]
    pub fn with(mut self, field: &str, value: Value) -> Self {
        self.0["spec"][field] = value;
        self
    }

    /// Throws the policy's kill switch.
    #[must_use]
    pub fn engaged(self, mode: &str, reason: &str) -> Self {
        self.with("killSwitch", switch(true, mode, reason))
    }

    /// Lifts it again.
    #[must_use]
    pub fn lifted(self, reason: &str) -> Self {
        self.with("killSwitch", switch(false, "Hold", reason))
    }

    /// The document as a value.
    pub fn value(&self) -> Value {
        self.0.clone()
    }

    /// The document.
    pub fn text(&self) -> String {
        format!("{:#}\n", self.0)
    }

    /// Puts the document in place of the one that is there, in one step.
    pub fn write(&self, path: &Path) -> Result<()> {
        replace(path, &self.text())
    }

    /// Puts the document in place as Kubernetes does with a mounted `ConfigMap`: `path` is a link through `..data`, which is swapped.
    pub fn swap(&self, path: &Path, generation: u32) -> Result<()> {
        let folder = path.parent().context("a policy has a folder")?;
        let name = path.file_name().context("a policy has a name")?;
        let fresh = format!("..generation_{generation}");
        fs::create_dir_all(folder.join(&fresh))?;
        fs::write(folder.join(&fresh).join(name), self.text())?;
        symlink(&fresh, folder.join("..data_tmp"))?;
        fs::rename(folder.join("..data_tmp"), folder.join("..data"))?;
        if !path.is_symlink() {
            symlink(Path::new("..data").join(name), path)?;
        }
        Ok(())
    }
}

/// Puts text in place of a file in one step.
pub fn replace(path: &Path, text: &str) -> Result<()> {
    let fresh = path.with_extension("new");
    fs::write(&fresh, text)?;
    fs::rename(&fresh, path).with_context(|| format!("failed to write {}", path.display()))
}

/// A kill switch.
pub fn switch(engaged: bool, mode: &str, reason: &str) -> Value {
    json!({"engaged": engaged, "mode": mode, "reason": reason, "requestedBy": "tests"})
}

/// A source of a given format.
pub fn source(name: &str, pattern: &str, format: &str) -> Value {
    json!({"name": name, "file": {"paths": [pattern]}, "format": format})
}

/// A source of plain lines.
pub fn text(name: &str, pattern: &str) -> Value {
    source(name, pattern, "Text")
}

/// A File sink without rotation to speak of.
pub fn file(name: &str, path: &Path) -> Value {
    json!({"name": name, "type": "File", "file": {"path": path}})
}

/// Sets a field deep in a value, by a JSON pointer whose parents exist or are made.
#[must_use]
pub fn with(mut value: Value, pointer: &str, new: Value) -> Value {
    let mut at = &mut value;
    for key in pointer.split('/').skip(1) {
        at = match (at.is_array(), key.parse::<usize>()) {
            (true, Ok(index)) => &mut at[index],
            _ => &mut at[key],
        };
    }
    *at = new;
    value
}
