//! `waybill check`: every mistake of a policy, with its place and its remedy.

mod rotation;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use waybill_crds::Severity;

use crate::plan::Plan;
use crate::plan::resolve::resolve;
use crate::sink::{self, Secrets};
use crate::source::discover::{Discovery, Target};

/// Say everything that is wrong with a policy, each with its path, its line and what to write instead.
///
/// Exit codes: 0 nothing is wrong, 3 something is, 1 the file cannot be read.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The AuditPolicy.
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
    /// Also open every path, and try every sink out: connect, log in, and look whether it would take records.
    #[arg(long)]
    pub probe: bool,
    /// Where secrets are mounted: <DIR>/<secret>/<key>.
    #[arg(long, value_name = "DIR")]
    pub secrets_dir: Option<PathBuf>,
    /// A folder from which paths are opened; links may not lead out of it. Can be repeated.
    #[arg(long, value_name = "DIR", default_value = "/var/log")]
    pub read_root: Vec<PathBuf>,
}

impl CheckArgs {
    /// Checks, and prints what it finds.
    pub fn run(self) -> ExitCode {
        let text = match crate::input::read(&self.file) {
            Ok(text) => text,
            Err(error) => {
                eprintln!("waybill: {error}");
                return ExitCode::FAILURE;
            }
        };
        let archive = std::env::var_os("WAYBILL_FILE").map(PathBuf::from);
        let resolved = resolve(&text, None, archive.as_deref());
        let mut wrong = 0;
        for finding in &resolved.findings {
            println!("{}: {finding}", self.file.display());
            wrong += usize::from(finding.severity != Severity::Warning);
        }
        if let (Some(plan), true) = (&resolved.plan, self.probe) {
            wrong += self.probe(plan);
        }
        if wrong == 0 {
            println!("{}: nothing is wrong", self.file.display());
            return ExitCode::SUCCESS;
        }
        println!("{}: {wrong} to mend", self.file.display());
        ExitCode::from(3)
    }

    /// Opens what the plan names; returns how much of it does not work.
    fn probe(&self, plan: &Plan) -> usize {
        let mut wrong = 0;
        let target = |(i, s): (usize, &crate::plan::SourcePlan)| Target {
            source: i,
            patterns: s.patterns.clone(),
            exclude: s.exclude.clone(),
        };
        let targets = plan.sources.iter().enumerate().map(target).collect();
        let mut discovery = Discovery::new(targets, &self.read_root, Vec::new(), Vec::new());
        let now = crate::engine::Now::read();
        for (path, what) in discovery.scan(now.mono, now.wall).refused {
            println!("{} {what}", path.display());
            wrong += 1;
        }
        for (index, source) in plan.sources.iter().enumerate() {
            let mut files = 0;
            for (path, found) in discovery.found().iter().filter(|(_, f)| f.source == index) {
                files += 1;
                if let Some(Err(error)) = discovery.root(found.root).map(|root| root.open_file(path)) {
                    println!("source {}: {} cannot be opened: {error}", source.name, path.display());
                    wrong += 1;
                }
            }
            println!("source {}: {files} files", source.name);
            wrong += rotation::probe(source, index, &discovery, now.wall);
        }
        let secrets = Secrets::new(self.secrets_dir.clone());
        // At once: a server that does not answer keeps nobody waiting for the others.
        let answers: Vec<_> = std::thread::scope(|scope| {
            let probes = plan.sinks.iter().map(|sink| {
                let context = sink.context(plan, "probe", &secrets);
                scope.spawn(move || sink::probe(&sink.kind, &context))
            });
            let probes: Vec<_> = probes.collect();
            probes.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
        });
        for (sink, answer) in plan.sinks.iter().zip(answers) {
            let told = match answer {
                Ok(Ok(works)) => {
                    println!("sink {}: {works}", sink.name);
                    continue;
                }
                Ok(Err(failure)) => failure.to_string(),
                Err(_) => "the probe ended unexpectedly; please report it with the lines above".to_owned(),
            };
            println!("sink {}: {told}", sink.name);
            wrong += 1;
        }
        wrong
    }
}
