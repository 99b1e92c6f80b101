//! `waybill parse`: lines to canonical records, for forensics, backfill and trying out.
//!
//! Reads files or standard input, plain, gzip or zstd, and writes one JSON line a record. The ids are those of a stream named
//! after the path, so that parsing a file again gives the same records.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use jiff::tz::TimeZone;

use self::lines::Lines;
use crate::format::{DropRule, Encoder, JsonMap, Kind, Meaning, Settings, StreamInfo, Usage, stacks};
use crate::input::explain;

mod lines;

/// Records are written in pieces of this size.
const OUTPUT: usize = 256 * 1024;

/// Turn lines into canonical records
///
/// Exit status: 0 if everything was read and written, 1 if not, 2 if the arguments are wrong. Lines that do not parse are
/// written raw, with waybill.parsed = false, and counted on standard error; they are no failure.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Grammar of the lines
    #[arg(long, value_name = "FORMAT", value_parser = PossibleValuesParser::new(Kind::ALL.map(Kind::name)).try_map(|name| Kind::named(&name).ok_or("unknown format")))]
    format: Kind,
    /// IANA time zone of times without an offset [default: the machine's]
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    time_zone: Option<TimeZone>,
    /// What an outbound tag means: Allow, Deny or Drop. May be repeated
    #[arg(long = "outbound", value_name = "TAG=MEANING", value_parser = outbound)]
    outbounds: Vec<(String, Meaning)>,
    /// Leave out records whose field has this value, such as source.ip=127.0.0.1. May be repeated
    #[arg(long = "drop", value_name = "FIELD=VALUE", value_parser = pair)]
    drop: Vec<(String, String)>,
    /// Do not keep the line in event.original
    #[arg(long)]
    no_original: bool,
    /// Json: path of the time, such as $.ts
    #[arg(long, value_name = "PATH")]
    json_time: Option<String>,
    /// Json: path of the outcome
    #[arg(long, value_name = "PATH")]
    json_outcome: Option<String>,
    /// Json: path of a canonical field, such as user.name=$.who. May be repeated
    #[arg(long = "json-field", value_name = "FIELD=PATH", value_parser = pair)]
    json_fields: Vec<(String, String)>,
    /// Files to read, plain, gzip or zstd; "-" is standard input [default: -]
    files: Vec<PathBuf>,
}

fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|error| error.to_string())
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (left, right) = text.split_once('=').ok_or("there is no = in it")?;
    Ok((left.to_owned(), right.to_owned()))
}

fn outbound(text: &str) -> Result<(String, Meaning), String> {
    let (tag, meaning) = pair(text)?;
    let meaning = match meaning.as_str() {
        "Allow" => Meaning::Allow,
        "Deny" => Meaning::Deny,
        "Drop" => Meaning::Drop,
        other => return Err(format!("{other:?} is not one of Allow, Deny and Drop")),
    };
    Ok((tag, meaning))
}

impl Arguments {
    fn settings(&self) -> Settings {
        Settings {
            format: self.format,
            // A machine that does not know its zone runs in UTC.
            time_zone: self.time_zone.clone().or_else(|| TimeZone::try_system().ok()).unwrap_or(TimeZone::UTC),
            outbounds: self.outbounds.iter().cloned().collect(),
            usage: Usage::default(),
            drop: self.drop.iter().cloned().map(|(field, equals)| DropRule { field, equals }).collect(),
            keep_original: !self.no_original,
            json: (self.format == Kind::Json).then(|| JsonMap {
                time: self.json_time.clone(),
                outcome: self.json_outcome.clone(),
                fields: self.json_fields.iter().cloned().collect(),
            }),
        }
    }
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> ExitCode {
    let settings = arguments.settings();
    // Mistakes in the settings are mistakes in the arguments.
    if let Err(error) = Encoder::new(&settings, &StreamInfo::default()) {
        eprintln!("waybill: {error}");
        return ExitCode::from(2);
    }
    let standard_input = [PathBuf::from("-")];
    let files = if arguments.files.is_empty() { &standard_input[..] } else { &arguments.files };
    let mut failed = false;
    for path in files {
        let mut count = Count::default();
        let result = parse(path, &settings, &mut io::stdout().lock(), &mut count);
        if let Some(summary) = count.summary() {
            eprintln!("waybill: {}: {summary}", path.display());
        }
        match result {
            Ok(()) => {}
            Err(error) if is_broken_pipe(&error) => return ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("waybill: {error:#}");
                failed = true;
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Whoever read our output has seen enough.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[derive(Debug, Default)]
struct Count {
    lines: u64,
    unparsed: u64,
    dropped: u64,
}

impl Count {
    /// What is worth saying.
    fn summary(&self) -> Option<String> {
        let mut summary = String::new();
        if self.unparsed > 0 {
            let _ = write!(summary, "{} of {} lines did not parse", self.unparsed, self.lines);
        }
        if self.dropped > 0 {
            let separator = if summary.is_empty() { "" } else { ", " };
            let _ = write!(summary, "{separator}{} of {} records dropped by rule", self.dropped, self.lines);
        }
        (!summary.is_empty()).then_some(summary)
    }
}

fn parse(path: &Path, settings: &Settings, out: &mut impl Write, count: &mut Count) -> anyhow::Result<()> {
    let input = open(path).map_err(|error| anyhow::Error::msg(explain(path, &error)))?;
    let mut encoder = Encoder::new(settings, &info(path))?;
    let mut lines = Lines::new(input, stacks(settings.format));
    let mut buffer = Vec::with_capacity(OUTPUT + OUTPUT / 4);
    while lines.fill().map_err(|error| anyhow::Error::msg(explain(path, &error)))? {
        while let Some(frame) = lines.next() {
            let verdict = encoder.encode(&frame, &mut buffer);
            count.lines += 1;
            count.unparsed += u64::from(!verdict.parsed);
            count.dropped += u64::from(verdict.dropped);
            if buffer.len() >= OUTPUT {
                out.write_all(&buffer)?;
                buffer.clear();
            }
        }
    }
    out.write_all(&buffer)?;
    out.flush()?;
    Ok(())
}

/// Opens a file and looks at its first bytes for a compression.
fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    let mut file: Box<dyn Read> =
        if path.as_os_str() == "-" { Box::new(io::stdin().lock()) } else { Box::new(File::open(path)?) };
    let mut magic = [0; 4];
    let mut length = 0;
    while length < magic.len() {
        match file.read(&mut magic[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let whole = io::Cursor::new(magic).take(length as u64).chain(file);
    Ok(match magic {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(whole)),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::Decoder::new(whole)?),
        _ => Box::new(whole),
    })
}

fn info(path: &Path) -> StreamInfo {
    use std::os::unix::ffi::OsStrExt as _;
    let path = path.as_os_str().as_bytes();
    let mut stream = [0; 16];
    stream.copy_from_slice(&blake3::hash(path).as_bytes()[..16]);
    StreamInfo {
        stream,
        policy: "parse".to_owned(),
        source: "parse".to_owned(),
        path: path.to_vec(),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        ..StreamInfo::default()
    }
}
