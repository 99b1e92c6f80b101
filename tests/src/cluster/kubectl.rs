//! `kubectl`, as a person uses it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// `kubectl` as one user and in one namespace.
#[derive(Debug, Clone)]
pub struct Kubectl {
    options: Vec<String>,
}

impl Kubectl {
    /// The administrator of the cluster, in the namespace `default`.
    pub fn administrator() -> Self {
        Self { options: Vec::new() }
    }

    fn with(&self, option: String) -> Self {
        let mut options = self.options.clone();
        options.push(option);
        Self { options }
    }

    /// The same user in another namespace.
    #[must_use]
    pub fn namespace(&self, name: &str) -> Self {
        self.with(format!("--namespace={name}"))
    }

    /// Another user, who has the rights that were given to this name only.
    #[must_use]
    pub fn user(&self, name: &str) -> Self {
        self.with(format!("--as={name}"))
    }

    fn output(&self, words: &[&str], input: Option<&str>) -> Result<Output> {
        let mut command = Command::new("kubectl");
        command.args(&self.options).args(words).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        let mut child = command.spawn().context("failed to start kubectl")?;
        if let (Some(text), Some(mut pipe)) = (input, child.stdin.take()) {
            // A kubectl that does not read all of it says why by itself.
            let _ignored = pipe.write_all(text.as_bytes());
        }
        child.wait_with_output().context("failed to wait for kubectl")
    }

    fn done(&self, words: &[&str], input: Option<&str>) -> Result<String> {
        let output = self.output(words, input)?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kubectl {}: {}", words.join(" "), error.trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a command and gives back what it printed.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        self.done(words, None)
    }

    /// Runs a command that may fail in part, and gives back what it printed and what it complained of.
    pub fn told(&self, words: &[&str]) -> Result<(String, String)> {
        let output = self.output(words, None)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((text(&output.stdout), text(&output.stderr)))
    }

    /// Runs a command that must be refused, and gives back the reason.
    pub fn refused(&self, words: &[&str]) -> Result<String> {
        self.complaint(words, None)
    }

    fn complaint(&self, words: &[&str], input: Option<&str>) -> Result<String> {
        let output = self.output(words, input)?;
        if output.status.success() {
            bail!("kubectl {} was not refused: {}", words.join(" "), String::from_utf8_lossy(&output.stdout));
        }
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Runs a command with `--output=json`.
    pub fn json(&self, words: &[&str]) -> Result<Value> {
        let text = self.run(&[words, &["--output=json"]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("kubectl {} did not print JSON", words.join(" ")))
    }

    /// An object, if it is there.
    pub fn find(&self, kind: &str, name: &str) -> Result<Option<Value>> {
        let text = self.run(&["get", kind, name, "--ignore-not-found", "--output=json"])?;
        if text.trim().is_empty() {
            return Ok(None);
        }
        Ok(Some(serde_json::from_str(&text).with_context(|| format!("{kind} {name} is not JSON"))?))
    }

    /// The objects of a kind, all or those that a label selects.
    pub fn list(&self, kind: &str, selector: &str) -> Result<Vec<Value>> {
        let mut list = self.json(&["get", kind, &format!("--selector={selector}")])?;
        match list["items"].take() {
            Value::Array(items) => Ok(items),
            _ => bail!("{kind} is not a list"),
        }
    }

    /// Applies an object, server-side; its fields are the tests' from then on.
    pub fn apply(&self, object: &Value) -> Result<()> {
        self.done(&["apply", "--server-side", "--force-conflicts", "--filename=-"], Some(&object.to_string()))?;
        Ok(())
    }

    /// Applies part of an object as another field manager, who owns what it names.
    pub fn apply_as(&self, manager: &str, object: &Value) -> Result<()> {
        let manager = format!("--field-manager={manager}");
        self.done(
            &["apply", "--server-side", "--force-conflicts", &manager, "--filename=-"],
            Some(&object.to_string()),
        )?;
        Ok(())
    }

    /// Applies a file or a folder of files.
    pub fn apply_file(&self, path: &Path) -> Result<()> {
        let path = path.to_str().context("the path is not UTF-8")?;
        self.run(&["apply", "--server-side", "--force-conflicts", "--filename", path])?;
        Ok(())
    }

    /// Asks the API server to judge an object as if it were applied, unknown fields included.
    pub fn judge(&self, object: &Value) -> Result<String> {
        self.done(&JUDGE, Some(&object.to_string()))
    }

    /// The API server's objection to an object, which it must have.
    pub fn objection(&self, object: &Value) -> Result<String> {
        self.complaint(&JUDGE, Some(&object.to_string()))
    }

    /// Why an object can't be applied, as it must not be.
    pub fn unappliable(&self, object: &Value) -> Result<String> {
        self.complaint(&["apply", "--server-side", "--force-conflicts", "--filename=-"], Some(&object.to_string()))
    }

    /// Why an object can't take the place of the one that is there, as it must not.
    pub fn unreplaceable(&self, object: &Value) -> Result<String> {
        self.complaint(&["replace", "--filename=-"], Some(&object.to_string()))
    }

    /// Deletes an object, if it is there, and waits until it is gone.
    pub fn delete(&self, kind: &str, name: &str) -> Result<()> {
        self.run(&["delete", kind, name, "--ignore-not-found"])?;
        Ok(())
    }

    /// Changes an object by a JSON merge patch.
    pub fn patch(&self, kind: &str, name: &str, patch: &Value) -> Result<()> {
        self.run(&["patch", kind, name, "--type=merge", "--patch", &patch.to_string()])?;
        Ok(())
    }
}

const JUDGE: [&str; 5] = ["create", "--dry-run=server", "--validate=strict", "--output=yaml", "--filename=-"];
