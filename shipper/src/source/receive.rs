//! Receives what programs send by syslog over UDP, and puts it into files of ours, one line a datagram.
//!
//! From there on it is a source like any other: the files are tailed, rotated (a new one begins at [`FILE`] bytes) and pruned by
//! their retention, so that identity, cursors and conservation hold. No header is asked for: the line is the datagram as it came.
//! A newline, a carriage return or a NUL inside of it is written as `#012`, `#015` or `#000`, so that no sender can make two lines
//! of one datagram.
//!
//! UDP has no answer, so what is sent while no one listens, or faster than the kernel's buffer takes it, is gone; what the kernel
//! dropped of ours it counts (`/proc/net/udp`), and that is entered into the files as a line of its own.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::UdpSocket;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The folder in the state directory that holds a folder for each source.
pub const FOLDER: &str = "received";
/// A file is left when it is as large as this, in bytes.
pub const FILE: u64 = 16 << 20;
/// Files that are kept beside the one that is written to: with it 256 MiB, whatever the lanes still owe of it.
pub const FILES: u32 = 15;
/// The largest datagram.
const DATAGRAM: usize = 65_535;
/// So many bytes are gathered before they are written.
const GATHER: usize = 256 << 10;
/// What the kernel may hold while files are written, in bytes.
const BUFFER: usize = 8 << 20;
/// How long a look for a datagram takes at most, so that a stop is noticed.
const LOOK: Duration = Duration::from_millis(200);
/// How long to wait before an address is tried again that cannot be listened on.
const AGAIN: Duration = Duration::from_secs(1);
/// How often the kernel is asked what it dropped.
const COUNT: Duration = Duration::from_secs(1);

/// Where to listen, and where to put what comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// The source's name, for messages.
    pub source: String,
    /// Address and port.
    pub address: String,
    /// The folder of the files.
    pub folder: PathBuf,
}

impl Listen {
    /// What a source receives is put into the state directory.
    pub fn new(source: &str, address: &str, state_dir: &Path) -> Self {
        Self { source: source.to_owned(), address: address.to_owned(), folder: state_dir.join(FOLDER).join(source) }
    }
}

/// Receives until `stop`.
pub fn run(listen: &Listen, stop: &AtomicBool) {
    let mut told = false;
    while !stop.load(Ordering::Relaxed) {
        let Err(error) = serve(listen, stop) else { return };
        if !told {
            let Listen { source, address, .. } = listen;
            tracing::error!(source, address, %error, "failed to receive; it is tried again every second");
            told = true;
        }
        std::thread::park_timeout(AGAIN);
    }
}

fn serve(listen: &Listen, stop: &AtomicBool) -> io::Result<()> {
    let socket = UdpSocket::bind(&listen.address)?;
    // The kernel may grant less; what it then drops is counted.
    let _less = rustix::net::sockopt::set_socket_recv_buffer_size(&socket, BUFFER);
    socket.set_read_timeout(Some(LOOK))?;
    let mut spool = Spool::open(&listen.folder)?;
    tracing::info!(source = listen.source, address = %socket.local_addr()?, "receiving");
    let inode = inode(&socket)?;
    let mut datagram = vec![0; DATAGRAM];
    let mut lines = Vec::with_capacity(GATHER + DATAGRAM);
    let (mut dropped, mut counted) = (0, Instant::now());
    while !stop.load(Ordering::Relaxed) {
        match socket.recv(&mut datagram) {
            Ok(length) => line(&mut lines, &datagram[..length]),
            Err(error) if is_pause(&error) => {}
            Err(error) => return Err(error),
        }
        // What has come meanwhile goes with it.
        socket.set_nonblocking(true)?;
        while lines.len() < GATHER {
            match socket.recv(&mut datagram) {
                Ok(length) => line(&mut lines, &datagram[..length]),
                Err(error) if is_pause(&error) => break,
                Err(error) => return Err(error),
            }
        }
        socket.set_nonblocking(false)?;
        if counted.elapsed() >= COUNT {
            counted = Instant::now();
            let now = drops(inode);
            if now > dropped {
                let missing = now - dropped;
                tracing::error!(source = listen.source, missing, "the kernel dropped datagrams: they came too fast");
                lines.extend_from_slice(format!("waybill: the kernel dropped {missing} datagrams\n").as_bytes());
                dropped = now;
            }
        }
        if !lines.is_empty() {
            spool.append(&lines)?;
            lines.clear();
        }
    }
    Ok(())
}

fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

/// Writes a datagram as one line. Its own end is not doubled.
fn line(lines: &mut Vec<u8>, datagram: &[u8]) {
    let mut text = datagram;
    while let [rest @ .., b'\n' | b'\r' | 0] = text {
        text = rest;
    }
    if text.is_empty() {
        return;
    }
    for byte in text {
        match byte {
            b'\n' => lines.extend_from_slice(b"#012"),
            b'\r' => lines.extend_from_slice(b"#015"),
            0 => lines.extend_from_slice(b"#000"),
            byte => lines.push(*byte),
        }
    }
    lines.push(b'\n');
}

/// The number under which the kernel lists a socket.
fn inode(socket: &UdpSocket) -> io::Result<u64> {
    let copy: std::os::fd::OwnedFd = socket.try_clone()?.into();
    Ok(File::from(copy).metadata()?.ino())
}

/// How many datagrams the kernel dropped of a socket, since it was made.
fn drops(inode: u64) -> u64 {
    ["/proc/self/net/udp", "/proc/self/net/udp6"]
        .iter()
        .filter_map(|list| std::fs::read_to_string(list).ok())
        .find_map(|list| {
            let mut rows = list.lines().skip(1).map(|row| row.split_ascii_whitespace().collect::<Vec<_>>());
            let row = rows.find(|row| row.get(9).and_then(|number| number.parse().ok()) == Some(inode))?;
            row.last()?.parse().ok()
        })
        .unwrap_or_default()
}

/// The files of one source.
#[derive(Debug)]
struct Spool {
    folder: PathBuf,
    file: File,
    length: u64,
}

impl Spool {
    /// Goes on with the youngest file, if there is room in it.
    fn open(folder: &Path) -> io::Result<Self> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut names: Vec<_> = std::fs::read_dir(folder)?
            .filter_map(|entry| entry.ok().map(|entry| entry.file_name()))
            .filter(|name| name.to_string_lossy().ends_with(".log"))
            .collect();
        names.sort_unstable();
        let path = match names.last() {
            Some(name) => folder.join(name),
            None => next(folder),
        };
        let mut spool = Self::at(folder, &path)?;
        if spool.length > 0 {
            // A machine that went down may have torn the last line.
            let mut last = [0];
            spool.file.seek(SeekFrom::End(-1))?;
            spool.file.read_exact(&mut last)?;
            if last != *b"\n" {
                spool.file.write_all(b"\n")?;
                spool.length += 1;
            }
        }
        Ok(spool)
    }

    fn at(folder: &Path, path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { folder: folder.to_owned(), file, length })
    }

    /// Appends whole lines.
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.length >= FILE {
            *self = Self::at(&self.folder, &next(&self.folder))?;
        }
        self.file.write_all(lines)?;
        self.length += lines.len() as u64;
        Ok(())
    }
}

/// The path of a new file: names are in the order of time, whatever the clock does in between.
fn next(folder: &Path) -> PathBuf {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let last = std::fs::read_dir(folder).into_iter().flatten().filter_map(|entry| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        name.strip_suffix(".log")?.parse::<u64>().ok()
    });
    let number = last.max().map_or(now, |last| now.max(last + 1));
    folder.join(format!("{number:016}.log"))
}

/// The receivers that run.
#[derive(Debug, Default)]
pub struct Receivers {
    running: Vec<(Listen, Arc<AtomicBool>, std::thread::JoinHandle<()>)>,
}

impl Receivers {
    /// Starts what is new and ends what is no longer there.
    pub fn apply(&mut self, wanted: &[Listen]) {
        let (stay, leave): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.running).into_iter().partition(|(listen, ..)| wanted.contains(listen));
        self.running = stay;
        end(leave);
        for listen in wanted {
            if self.running.iter().any(|(running, ..)| running == listen) {
                continue;
            }
            // The folder is there before the files in it are looked for.
            if let Err(error) = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&listen.folder) {
                tracing::error!(folder = %listen.folder.display(), %error, "failed to make a folder for what is received");
            }
            let stop = Arc::new(AtomicBool::new(false));
            let (own, ours) = (Arc::clone(&stop), listen.clone());
            let name = format!("receive-{}", listen.source);
            match std::thread::Builder::new().name(name).spawn(move || run(&ours, &own)) {
                Ok(thread) => self.running.push((listen.clone(), stop, thread)),
                Err(error) => tracing::error!(source = listen.source, %error, "failed to start a receiver"),
            }
        }
    }
}

impl Drop for Receivers {
    fn drop(&mut self) {
        end(std::mem::take(&mut self.running));
    }
}

fn end(receivers: Vec<(Listen, Arc<AtomicBool>, std::thread::JoinHandle<()>)>) {
    for (_, stop, thread) in &receivers {
        stop.store(true, Ordering::Relaxed);
        thread.thread().unpark();
    }
    for (listen, _, thread) in receivers {
        if thread.join().is_err() {
            tracing::error!(source = listen.source, "a receiver panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_is_one_line() {
        let mut lines = Vec::new();
        for datagram in [&b"one\r\n"[..], b"", b"\n", b"two\nforged\r\0x", b"\xff"] {
            line(&mut lines, datagram);
        }
        assert_eq!(lines, b"one\ntwo#012forged#015#000x\n\xff\n");
    }

    #[test]
    fn files_follow_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(folder.path()).unwrap();
        spool.append(b"torn").unwrap();
        drop(spool);
        let mut spool = Spool::open(folder.path()).unwrap();
        spool.append(b"whole\n").unwrap();
        spool.length = FILE;
        spool.append(b"next\n").unwrap();
        let mut files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let texts: Vec<_> = files.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
        assert_eq!(texts, ["torn\nwhole\n", "next\n"]);
        assert_eq!(files[0].metadata().unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_is_sent_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let listen = Listen::new("vpn", &free.to_string(), folder.path());
        let mut receivers = Receivers::default();
        receivers.apply(std::slice::from_ref(&listen));
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        let text = loop {
            sender.send_to(b"hello", free).ok();
            let files = std::fs::read_dir(&listen.folder).into_iter().flatten().flatten();
            let text: String = files.map(|entry| std::fs::read_to_string(entry.path()).unwrap()).collect();
            if text.contains("hello\n") {
                break text;
            }
            assert!(Instant::now() < until, "nothing came");
            std::thread::park_timeout(Duration::from_millis(10));
        };
        assert!(text.lines().all(|line| line == "hello"));
        receivers.apply(&[]);
        assert!(receivers.running.is_empty());
    }
}
