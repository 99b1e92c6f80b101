//! From a document to a plan: what this release can do of it, and what it cannot.

mod rotation;

use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use waybill_crds as crds;
use waybill_crds::{Document, Finding, Severity};

use super::{FilePlan, Limits, Notice, Plan, SinkKind, SinkPlan, SourcePlan};
use crate::format;
use crate::lane::kill_switch::{Effect, Scope, Switch};
use crate::rotate::retain::Bounds;
use crate::source::envelope::Envelope;
use crate::source::pattern::Pattern;
use crate::source::receive::{self, Listen};

/// What a document comes to.
#[derive(Debug)]
pub struct Resolved {
    /// The plan; `None` if the document is broken.
    pub plan: Option<Plan>,
    /// Everything that is to be said about the document.
    pub findings: Vec<Finding>,
    /// The document's generation; 0 on a bare host.
    pub generation: i64,
    /// The engaged switches that could be read, even if there is no plan.
    pub switches: Vec<Switch>,
}

/// Resolves a policy's text. `state_dir` is where the default archive lives; `archive` moves it (`WAYBILL_FILE`).
pub fn resolve(text: &str, state_dir: Option<&Path>, archive: Option<&Path>) -> Resolved {
    let Document { name, generation, authors_verified, spec, mut findings, switches } = crds::read(text);
    let generation = generation.unwrap_or_default();
    let lifted = with_state(&switches, false, authors_verified);
    let switches = with_state(&switches, true, authors_verified);
    let Some(spec) = spec else { return Resolved { plan: None, findings, generation, switches } };
    let state_dir = state_dir.map_or_else(|| Path::new("/var/lib/waybill").join(&name), Path::to_owned);
    let mut sources = Vec::new();
    for (index, source) in spec.sources.iter().enumerate() {
        match resolve_source(source, &format!("spec.sources[{index}]"), &state_dir, &mut findings) {
            Ok(plan) => sources.push(plan),
            Err(finding) => findings.push(finding),
        }
    }
    let default_path = archive.map_or_else(|| state_dir.join("archive/audit.log"), Path::to_owned);
    let mut sinks = Vec::new();
    for (index, sink) in spec.sinks.iter().enumerate() {
        match resolve_sink(sink, &format!("spec.sinks[{index}]"), &default_path, &mut findings) {
            Ok(plan) => sinks.push(plan),
            Err(finding) => findings.push(finding),
        }
    }
    if spec.sinks.is_empty() {
        sinks = default_sinks(&default_path);
    } else if sinks.is_empty() {
        findings.push(error(
            "spec.sinks",
            "no sink is left that this release can run",
            "add a sink of type File or Stdout, or run a release that has the others",
        ));
    }
    if sources.is_empty() {
        findings.push(error(
            "spec.sources",
            "no source is left that this release can read",
            "name a source of type File with a format that `waybill parse --help` lists",
        ));
    }
    let limits = Limits {
        in_flight: spec.limits.in_flight.0 as usize,
        line: spec.limits.line.0 as usize,
        open_files: spec.limits.open_files as usize,
        drain_seconds: u64::from(spec.limits.drain_seconds),
    };
    let broken = findings.iter().any(|f| f.severity == Severity::Error);
    let digest = blake3::hash(text.as_bytes()).to_hex().to_string();
    let plan = Plan { policy: name, digest, generation, limits, sources, sinks, switches: switches.clone(), lifted };
    Resolved { plan: (!broken).then_some(plan), findings, generation, switches }
}

/// Reads kill switches that are ordered apart from a policy's document. They are written like one, of which the generation and the
/// switches count; `None` if there is no generation in it.
pub fn notice(text: &str) -> Option<Notice> {
    let Document { generation, switches, authors_verified, .. } = crds::read(text);
    Some(Notice {
        generation: generation?,
        switches: with_state(&switches, true, authors_verified),
        lifted: with_state(&switches, false, authors_verified),
    })
}

fn error(path: &str, message: &str, remedy: &str) -> Finding {
    Finding { severity: Severity::Error, path: path.into(), line: None, message: message.into(), remedy: remedy.into() }
}

fn skipped(path: &str, message: impl Into<String>, remedy: &str) -> Finding {
    Finding {
        severity: Severity::Skipped,
        path: path.into(),
        line: None,
        message: message.into(),
        remedy: remedy.into(),
    }
}

/// The switches of a document that are engaged, or that are not.
fn with_state(switches: &crds::Switches, engaged: bool, verified: bool) -> Vec<Switch> {
    let mut out = Vec::new();
    let mut take = |scope: Scope, switch: &crds::KillSwitch| {
        if switch.engaged == engaged {
            let effect = if switch.mode == crds::KillSwitchMode::Discard { Effect::Discard } else { Effect::Hold };
            out.push(Switch {
                scope,
                effect,
                reason: switch.reason.clone(),
                requested_by: switch.requested_by.clone(),
                verified,
            });
        }
    };
    if let Some(switch) = &switches.policy {
        take(Scope::Policy, switch);
    }
    switches.sources.iter().for_each(|(name, s)| take(Scope::Source(name.clone()), s));
    switches.sinks.iter().for_each(|(name, s)| take(Scope::Sink(name.clone()), s));
    out
}

fn resolve_source(
    source: &crds::Source,
    path: &str,
    state_dir: &Path,
    findings: &mut Vec<Finding>,
) -> Result<SourcePlan, Finding> {
    let listen = listen(source, path, state_dir)?;
    let received = listen.as_ref().map(|listen| crds::FileSource {
        paths: vec![format!("{}/*.log", listen.folder.display())],
        exclude: Vec::new(),
        envelope: crds::Envelope::None,
        start_at: crds::StartAt::Oldest,
    });
    let Some(file) = source.file.as_ref().or(received.as_ref()) else {
        return Err(error(path, "neither file nor syslog is there", "write the object that goes with the type"));
    };
    let rotation = rotation::resolve(source, path, findings);
    let compile = |field: &str, list: &[String]| -> Result<Vec<Pattern>, Finding> {
        let each = |(i, text): (usize, &String)| {
            Pattern::new(text).map_err(|e| {
                error(
                    &format!("{path}.file.{field}[{i}]"),
                    &e.to_string(),
                    "write an absolute path with *, ?, [a-z], ** or {name}",
                )
            })
        };
        list.iter().enumerate().map(each).collect()
    };
    let time_zone = match &source.time_zone {
        Some(name) => TimeZone::get(name).map_err(|e| {
            error(&format!("{path}.timeZone"), &e.to_string(), "write an IANA name such as Europe/Berlin")
        })?,
        None => TimeZone::try_system().unwrap_or_else(|_| {
            if format::is_local(source.format) {
                findings.push(Finding {
                    severity: Severity::Warning,
                    path: format!("{path}.timeZone"),
                    line: None,
                    message: "the node's time zone cannot be known, and these lines carry none: UTC is assumed".into(),
                    remedy: "write timeZone: with the zone of the program that writes the log".into(),
                });
            }
            TimeZone::UTC
        }),
    };
    let settings = format::Settings {
        format: source.format,
        time_zone,
        outbounds: source.outbounds.clone(),
        usage: source.usage.clone().unwrap_or_default(),
        drop: source.drop.clone(),
        keep_original: source.keep_original,
        json: source.json.clone(),
    };
    Ok(SourcePlan {
        name: source.name.clone(),
        patterns: compile("paths", &file.paths)?,
        exclude: compile("exclude", &file.exclude)?,
        envelope: match file.envelope {
            crds::Envelope::None => Envelope::None,
            crds::Envelope::Cri => Envelope::Cri,
            crds::Envelope::Docker => Envelope::Docker,
        },
        start_now: file.start_at == crds::StartAt::Now,
        settings,
        rotation,
        retention: match &listen {
            Some(_) => Some(Bounds { max_files: receive::FILES, evict: true, ..Bounds::default() }),
            None => source.effective_retention().as_ref().map(bounds),
        },
        protect: source.protect.clone(),
        listen,
    })
}

/// Where a source of type Syslog listens.
fn listen(source: &crds::Source, path: &str, state_dir: &Path) -> Result<Option<Listen>, Finding> {
    let Some(syslog) = source.syslog.as_ref().filter(|_| source.file.is_none()) else { return Ok(None) };
    if syslog.transport == crds::ListenTransport::Tcp {
        return Err(skipped(
            &format!("{path}.syslog.transport"),
            format!("source {} is to listen for TCP, which this release does not do", source.name),
            "leave transport out: SoftEther sends UDP",
        ));
    }
    Ok(Some(Listen::new(&source.name, &syslog.listen, state_dir)))
}

fn resolve_sink(
    sink: &crds::Sink,
    path: &str,
    default_path: &Path,
    findings: &mut Vec<Finding>,
) -> Result<SinkPlan, Finding> {
    let kind = match sink.kind {
        crds::SinkType::Stdout => SinkKind::Stdout,
        crds::SinkType::File => {
            let file = sink.file.as_ref();
            if file.is_some_and(|f| f.protect.live) {
                findings.push(skipped(
                    &format!("{path}.file.protect.live"),
                    format!(
                        "the live file of sink {} is not made append-only: what a crash tore is cut off it",
                        sink.name
                    ),
                    "protect its archives alone, with protect: {archives: true}",
                ));
            }
            SinkKind::File(file_plan(file, default_path))
        }
        #[cfg(feature = "kafka")]
        crds::SinkType::Kafka => SinkKind::Kafka(settings(sink.kafka.as_ref(), &format!("{path}.kafka"))?),
        crds::SinkType::Elasticsearch => SinkKind::Elasticsearch(elasticsearch(sink, path)?),
        crds::SinkType::Syslog if let Some(syslog) = &sink.syslog => SinkKind::Syslog(syslog.clone()),
        #[cfg(feature = "aws")]
        crds::SinkType::CloudWatch if let Some(cloud) = &sink.cloud_watch => SinkKind::CloudWatch(cloud.clone()),
        other => {
            return Err(skipped(
                &format!("{path}.type"),
                format!(
                    "sinks of type {} are not built into this release; sink {} gets nothing",
                    other.name(),
                    sink.name
                ),
                "use type File or Stdout, or a release that has it",
            ));
        }
    };
    Ok(SinkPlan {
        name: sink.name.clone(),
        encoding: sink.encoding,
        required: sink.is_required(),
        sources: sink.sources.clone(),
        kind,
    })
}

/// The object that goes with a sink's type.
#[cfg(feature = "kafka")]
fn settings<T: Clone>(object: Option<&T>, path: &str) -> Result<T, Finding> {
    object.cloned().ok_or_else(|| error(path, "missing", "write the object that goes with the sink's type"))
}

fn elasticsearch(sink: &crds::Sink, path: &str) -> Result<crds::Elasticsearch, Finding> {
    if sink.encoding == crds::Encoding::Original {
        return Err(error(
            &format!("{path}.encoding"),
            "a data stream takes records with fields, and Original is the line alone",
            "write encoding: Ecs, or leave it out; event.original holds the line as it was",
        ));
    }
    sink.elasticsearch.clone().ok_or_else(|| {
        error(&format!("{path}.elasticsearch"), "this is missing", "write elasticsearch: with endpoints")
    })
}

fn bounds(retention: &crds::Retention) -> Bounds {
    Bounds {
        max_age_days: retention.max_age_days,
        max_files: retention.max_files,
        max_total_size: retention.max_total_size.map_or(0, |s| s.0),
        min_free: retention.min_free,
        evict: retention.on_pressure == crds::OnPressure::Evict,
    }
}

fn file_plan(file: Option<&crds::FileSink>, default_path: &Path) -> FilePlan {
    let rotation = file.map(|f| f.rotation.clone()).unwrap_or_default();
    let retention = file.map(|f| f.retention.clone()).unwrap_or_default();
    FilePlan {
        path: file.map_or_else(|| default_path.to_owned(), |f| PathBuf::from(&f.path)),
        max_size: rotation.max_size.0,
        cycle: rotation.cycle,
        compression: rotation.compression.into(),
        retention: bounds(&retention),
        protect: file.map(|f| f.protect.clone()).unwrap_or_default(),
    }
}

/// Without any sink: an archive, and a mirror on standard output.
fn default_sinks(default_path: &Path) -> Vec<SinkPlan> {
    let sink = |name: &str, kind| SinkPlan {
        name: name.into(),
        encoding: super::Encoding::Ecs,
        required: true,
        sources: None,
        kind,
    };
    vec![sink("archive", SinkKind::File(file_plan(None, default_path))), sink("mirror", SinkKind::Stdout)]
}
