//! `waybill setup`: prepares what the sinks deliver to.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use waybill_crds::Severity;

use crate::plan::resolve::resolve;
use crate::sink::{self, Administrator, Secrets};

/// Prepare the destinations of a policy, once, with an administrator's login: index template, retention and data stream.
///
/// Agents need far fewer rights afterwards. What is there already is left alone unless it is older than what this release brings, or
/// keeps records for another time than the policy says; so it can be run again at any time.
///
/// Exit codes: 0 done, 1 something failed, 3 the policy cannot be used.
#[derive(Debug, Args)]
pub struct SetupArgs {
    /// The AuditPolicy.
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
    /// Prepare this sink only; can be repeated.
    #[arg(long, value_name = "NAME")]
    pub sink: Vec<String>,
    /// Where secrets are: <DIR>/<secret>/<key>.
    #[arg(long, value_name = "DIR")]
    pub secrets_dir: Option<PathBuf>,
    /// An administrator's name, in place of the login that the policy names.
    #[arg(long, value_name = "NAME", requires = "password_file")]
    pub username: Option<String>,
    /// The file that holds the administrator's password.
    #[arg(long, value_name = "FILE", requires = "username")]
    pub password_file: Option<PathBuf>,
    /// The file that holds an administrator's API key for Elasticsearch.
    #[arg(long, value_name = "FILE", conflicts_with = "username")]
    pub api_key_file: Option<PathBuf>,
}

impl SetupArgs {
    /// Prepares, and prints what was done.
    pub fn run(self) -> ExitCode {
        match self.prepare() {
            Ok(code) => code,
            Err(error) => {
                eprintln!("waybill: {error:#}");
                ExitCode::FAILURE
            }
        }
    }

    fn prepare(&self) -> anyhow::Result<ExitCode> {
        let text = read(&self.file)?;
        let resolved = resolve(&text, None, None);
        for finding in resolved.findings.iter().filter(|f| f.severity == Severity::Error) {
            eprintln!("{}: {finding}", self.file.display());
        }
        let Some(plan) = resolved.plan else { return Ok(ExitCode::from(3)) };
        if let Some(unknown) = self.sink.iter().find(|name| plan.sinks.iter().all(|sink| sink.name != **name)) {
            anyhow::bail!("{} has no sink named {unknown}", self.file.display());
        }
        let secrets = Secrets::new(self.secrets_dir.clone());
        let login = self.login()?;
        let mut failed = false;
        for sink in plan.sinks.iter().filter(|s| self.sink.is_empty() || self.sink.contains(&s.name)) {
            match sink::setup(&sink.kind, &sink.context(&plan, "setup", &secrets), &login) {
                Ok(done) if done.is_empty() => println!("sink {}: nothing to prepare", sink.name),
                Ok(done) => done.iter().for_each(|line| println!("sink {}: {line}", sink.name)),
                Err(failure) => {
                    println!("sink {}: {failure}", sink.name);
                    failed = true;
                }
            }
        }
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn login(&self) -> anyhow::Result<Administrator> {
        let secret = |path: &Path| read(path).map(|text| text.trim_end_matches(['\r', '\n']).to_owned());
        Ok(match (&self.api_key_file, &self.username, &self.password_file) {
            (Some(key), ..) => Administrator::ApiKey(secret(key)?),
            (_, Some(user), Some(password)) => Administrator::User(user.clone(), secret(password)?),
            _ => Administrator::OfThePolicy,
        })
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    crate::input::read(path).map_err(anyhow::Error::msg)
}
