//! Canonical JSONL in a file of ours, rotated, compressed and bounded.
//!
//! A record is acknowledged when it is written and fsynced; however many deliveries wait, they cost one fsync. What a crash or a full
//! disk left of a write is cut off before the next, so the file holds whole lines only.

pub mod archive;
mod owner;

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::{Backoff, Context, Failure, PATIENCE, Queue};
use crate::engine::Event;
use crate::lane::Delivery;
use crate::lane::chunk::Chunk;
use crate::plan::{Encoding, FilePlan};
use archive::Archives;
use owner::Owner;

/// Bytes written between two fsyncs, if that many wait.
const BATCH: usize = 8 << 20;

/// The live file.
struct Live {
    file: File,
    len: u64,
    opened: jiff::Zoned,
}

/// Runs until the engine lets go of the sink.
pub fn run(mut queue: Queue, plan: &FilePlan, context: &Context) {
    let mut backoff = Backoff::default();
    let (sink, path, answers) = (queue.name().to_owned(), plan.path.clone(), queue.answers());
    let tell = move |files| {
        let listing = archive::Listing { sink: sink.clone(), live: path.clone(), files };
        // The engine is gone only when the process ends.
        let _sent = answers.send(Event::Listed(listing));
    };
    let mut archives = Archives::new(plan.clone(), std::sync::Arc::new(tell));
    let mut live: Option<Live> = None;
    let owner = Owner::of(&plan.path);
    let mut right = None;
    while let Some(mut batch) = queue.take(BATCH, PATIENCE) {
        right = right.or_else(|| owner.live());
        let done = match &right {
            Some(_) => write(&mut live, plan, &mut archives, context.encoding, &mut queue, &mut batch)
                .map_err(|error| failure(plan, context, &error)),
            None => {
                Err(Failure::again(format!("{}: the sink before this one still writes to it", plan.path.display())))
            }
        };
        match done {
            Ok(()) => {
                queue.acknowledge(&batch);
                queue.healthy();
                backoff.reset();
            }
            Err(failure) => {
                // What was written of the batch is cut off when the file is opened again.
                live = None;
                if !queue.retry(batch, backoff.next(), &failure) {
                    break;
                }
            }
        }
    }
    // Who follows may write from now on; the archives are compressed to the end.
    drop((live, right));
    archives.finish();
}

/// Writes a batch, of which what may not go out any more is given back.
fn write(
    live: &mut Option<Live>,
    plan: &FilePlan,
    archives: &mut Archives,
    encoding: Encoding,
    queue: &mut Queue,
    batch: &mut Vec<Delivery>,
) -> io::Result<()> {
    let now = jiff::Zoned::now();
    if batch.is_empty() && !live.as_ref().is_some_and(|l| l.len > 0 && archive::is_due(plan, &l.opened, &now)) {
        return Ok(());
    }
    let parts: Vec<Cow<'_, [u8]>> = batch.iter().map(|d| content(&d.chunk, encoding)).collect();
    let size: u64 = parts.iter().map(|p| p.len() as u64).sum();
    let live = prepare(live, plan, archives, size, &now)?;
    // Opening and rotating take their time.
    let passes: Vec<bool> = batch.iter().map(Delivery::may_pass).collect();
    append(live, parts.iter().zip(&passes).filter(|(_, passes)| **passes).map(|(part, _)| part.as_ref()))?;
    drop(parts);
    let mut passes = passes.into_iter();
    batch.retain(|delivery| {
        let written = passes.next().unwrap_or(false);
        if !written {
            queue.recall(delivery);
        }
        written
    });
    Ok(())
}

/// The lines of a chunk.
fn content(chunk: &Chunk, encoding: Encoding) -> Cow<'_, [u8]> {
    if encoding == Encoding::Ecs {
        return Cow::Borrowed(&chunk.data);
    }
    let mut lines = Vec::with_capacity(chunk.originals.len() + chunk.records.len());
    for line in chunk.payloads(encoding) {
        lines.extend_from_slice(line);
        lines.push(b'\n');
    }
    Cow::Owned(lines)
}

/// Tries whether the file's folder can be written, and its archives protected as the policy says.
pub fn probe(plan: &FilePlan, context: &Context) -> Result<String, Failure> {
    let folder = plan.path.parent().unwrap_or(Path::new("/"));
    let tried = std::fs::create_dir_all(folder).and_then(|()| {
        let probe = folder.join(".waybill-probe");
        std::fs::write(&probe, b"")?;
        std::fs::remove_file(&probe)
    });
    match tried.and_then(|()| archive::can_protect(plan)) {
        Ok(()) => Ok(format!("{} can be written", folder.display())),
        Err(error) => Err(failure(plan, context, &error)),
    }
}

fn failure(plan: &FilePlan, context: &Context, error: &io::Error) -> Failure {
    let what = format!("{}: {error}", plan.path.display());
    if context.secrets.is_in_pod() && error.kind() == io::ErrorKind::ReadOnlyFilesystem {
        return Failure::AwaitingRestart {
            what: format!("{what}: this pod does not mount its folder for writing yet"),
        };
    }
    Failure::held(what, remedy(error))
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free space on its file system; nothing is lost meanwhile"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "let the agent write there, or change the sink's path"
        }
        io::ErrorKind::NotFound => "make its folder, or change the sink's path",
        io::ErrorKind::Unsupported => "write whenUnsupported: Warn, or leave protect out",
        _ => "look at the disk",
    }
}

/// Opens the live file if need be, and rotates it first if it is due.
fn prepare<'a>(
    live: &'a mut Option<Live>,
    plan: &FilePlan,
    archives: &mut Archives,
    size: u64,
    now: &jiff::Zoned,
) -> io::Result<&'a mut Live> {
    // Someone may have removed or renamed it: records go where the policy says.
    if live.as_ref().is_some_and(|l| !is_same(&l.file, &plan.path)) {
        *live = None;
    }
    if live.is_none() {
        *live = Some(open(&plan.path)?);
        archive::can_protect(plan)?;
    }
    let due = live.as_ref().is_some_and(|l| {
        l.len > 0
            && (archive::is_due(plan, &l.opened, now)
                || (plan.max_size > 0 && l.len + size > plan.max_size && l.len > 0))
    });
    if due && let Some(old) = live.take() {
        archives.rotate(&old.opened)?;
        drop(old);
        *live = Some(open(&plan.path)?);
    }
    live.as_mut().ok_or_else(|| io::Error::other("the file is not open"))
}

fn is_same(file: &File, path: &Path) -> bool {
    let key = |m: std::fs::Metadata| (m.dev(), m.ino());
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(a), Ok(b)) => key(a) == key(b),
        _ => false,
    }
}

fn open(path: &Path) -> io::Result<Live> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(path)?;
    let len = whole_lines(&mut file)?;
    file.set_len(len)?;
    let modified = file.metadata()?.modified()?;
    let opened = if len > 0 { jiff::Timestamp::try_from(modified) } else { Ok(jiff::Timestamp::now()) };
    let opened = opened.map_err(io::Error::other)?.to_zoned(jiff::tz::TimeZone::system());
    sync_folder(path)?;
    Ok(Live { file, len, opened })
}

/// The length of the file up to its last newline.
fn whole_lines(file: &mut File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut block = vec![0; 64 << 10];
    while end > 0 {
        let from = end.saturating_sub(block.len() as u64);
        let part = &mut block[..(end - from) as usize];
        file.seek(SeekFrom::Start(from))?;
        file.read_exact(part)?;
        if let Some(at) = memchr::memrchr(b'\n', part) {
            return Ok(from + at as u64 + 1);
        }
        end = from;
    }
    Ok(0)
}

fn append<'a>(live: &mut Live, parts: impl Iterator<Item = &'a [u8]>) -> io::Result<()> {
    let mut added = 0;
    let written = (|| {
        for part in parts {
            live.file.write_all(part)?;
            added += part.len() as u64;
        }
        if added > 0 { live.file.sync_data() } else { Ok(()) }
    })();
    if let Err(error) = written {
        // The next try begins where the last good one ended; if even this fails, opening cuts at the last newline.
        let _cut = live.file.set_len(live.len);
        return Err(error);
    }
    live.len += added;
    Ok(())
}

/// Makes a name in a folder durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::lane::{Fate, Gate, Outlet};
    use crate::state::StreamId;
    use crate::state::entry::Position;

    #[test]
    fn a_torn_line_is_cut_off_before_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        for (before, after) in [("", ""), ("{a}\n{b", "{a}\n"), ("{a", ""), ("{a}\n", "{a}\n")] {
            std::fs::write(&path, before).unwrap();
            let mut live = open(&path).unwrap();
            append(&mut live, [&b"{c}\n"[..]].into_iter()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{after}{{c}}\n"));
        }
    }

    fn plan(dir: &Path) -> FilePlan {
        FilePlan {
            path: dir.join("audit.log"),
            max_size: 0,
            cycle: waybill_crds::Cycle::None,
            compression: crate::source::decompress::Compression::None,
            retention: crate::rotate::retain::Bounds::default(),
            protect: waybill_crds::Protect::default(),
        }
    }

    fn context() -> Context {
        Context {
            name: "archive".into(),
            encoding: Encoding::Ecs,
            in_flight: 1 << 20,
            policy: "p".into(),
            host: "h".into(),
            secrets: crate::sink::Secrets::default(),
        }
    }

    fn delivery(outlet: &Outlet) -> Delivery {
        let mut chunk = Chunk::new(StreamId::default(), Position::default());
        chunk.data.extend_from_slice(b"{}\n");
        chunk.push(&Position { offset: 1, seq: 1, ..Position::default() }, 1, false);
        Delivery::new(1, 1, Arc::new(chunk), &outlet.gate, &Gate::default())
    }

    #[test]
    fn a_sink_that_takes_another_s_place_writes_when_that_is_done() {
        let dir = tempfile::tempdir().unwrap();
        let plan = plan(dir.path());
        let owner = Owner::of(&plan.path);
        let before = owner.live().unwrap();
        let (sender, answers) = crossbeam_channel::unbounded();
        let (queue, outlet) = Queue::new("archive", dir.path().to_owned(), sender);
        let of_sink = plan.clone();
        let sink = std::thread::spawn(move || run(queue, &of_sink, &context()));
        outlet.deliveries.send(delivery(&outlet)).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while outlet.health().trouble.is_none() {
            assert!(Instant::now() < deadline, "it does not say that it waits");
            std::thread::yield_now();
        }
        assert!(!plan.path.exists() && !outlet.health().misconfigured);
        drop(before);
        let settled = |event| matches!(event, Event::Settled(settled) if settled.fate == Fate::Acknowledged);
        while !settled(answers.recv_deadline(deadline).unwrap()) {}
        assert_eq!(std::fs::read(&plan.path).unwrap(), b"{}\n");
        drop(outlet);
        sink.join().unwrap();
        assert!(owner.live().is_some());
    }

    #[test]
    fn what_is_stopped_while_the_file_is_opened_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let plan = plan(dir.path());
        let (mut queue, outlet) = Queue::new("archive", dir.path().to_owned(), crossbeam_channel::unbounded().0);
        let mut archives = Archives::new(plan.clone(), Arc::new(|_| {}));
        let mut batch = vec![delivery(&outlet)];
        outlet.gate.shut();
        batch.push(delivery(&outlet));
        write(&mut None, &plan, &mut archives, Encoding::Ecs, &mut queue, &mut batch).unwrap();
        assert_eq!(batch.len(), 1);
        assert_eq!(std::fs::read(&plan.path).unwrap(), b"{}\n");
    }

    #[test]
    fn a_folder_that_the_pod_does_not_mount_comes_with_its_next_start() {
        let plan = plan(Path::new("/var/log/out"));
        let error = io::Error::from(io::ErrorKind::ReadOnlyFilesystem);
        assert!(!failure(&plan, &context(), &error).awaits_restart());
        let pod = Context { secrets: crate::sink::Secrets::default().in_pod(true), ..context() };
        assert!(failure(&plan, &pod, &error).awaits_restart());
        assert!(!failure(&plan, &pod, &io::Error::from(io::ErrorKind::StorageFull)).awaits_restart());
    }

    #[test]
    fn a_probe_says_that_archives_cannot_be_protected() {
        let Ok(dir) = tempfile::tempdir_in("/dev/shm") else { return println!("SKIPPED: there is no /dev/shm") };
        let mut plan = plan(dir.path());
        plan.protect.archives = true;
        plan.protect.when_unsupported = waybill_crds::WhenUnsupported::Refuse;
        if archive::can_protect(&plan).is_ok() {
            return println!("SKIPPED: files can be protected in /dev/shm");
        }
        let failure = probe(&plan, &context()).unwrap_err().to_string();
        assert!(failure.contains("cannot be protected") && failure.contains("whenUnsupported: Warn"), "{failure}");
    }
}
