//! The format of the state log: what an entry can say.
//!
//! Entries are Protocol Buffers messages, so that a release reads the state of the next one: fields and kinds that it does not
//! know are skipped. Tags are never reused.

use super::StreamId;

/// A group of entries that is written, and replayed, whole or not at all.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Batch {
    /// In the order in which they take effect.
    #[prost(message, repeated, tag = "1")]
    pub entries: Vec<Entry>,
}

/// One thing that the state learned.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Entry {
    /// What; absent if it is of a later release's kind.
    #[prost(oneof = "Kind", tags = "2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15")]
    pub kind: Option<Kind>,
}

/// What an entry says. `…Put` replaces the whole of what it names.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Kind {
    /// A stream as it is now.
    #[prost(message, tag = "2")]
    StreamPut(StreamRecord),
    /// A stream was handed further.
    #[prost(message, tag = "3")]
    FrontierPut(FrontierPut),
    /// A stream is forgotten.
    #[prost(message, tag = "4")]
    StreamGone(StreamGone),
    /// A lane as it is now.
    #[prost(message, tag = "5")]
    LanePut(LaneRecord),
    /// A lane is forgotten.
    #[prost(message, tag = "6")]
    LaneGone(LaneGone),
    /// How far one lane's records of one stream are settled.
    #[prost(message, tag = "7")]
    CursorPut(CursorRecord),
    /// An entry of the ledger.
    #[prost(message, tag = "8")]
    Ledger(LedgerRecord),
    /// Ledger entries up to a number are forgotten here.
    #[prost(message, tag = "9")]
    LedgerTrim(LedgerTrim),
    /// A kill switch as it is now.
    #[prost(message, tag = "10")]
    SwitchPut(SwitchRecord),
    /// A file whose bytes another stream has already.
    #[prost(message, tag = "11")]
    CopyPut(CopyRecord),
    /// A copy is forgotten.
    #[prost(message, tag = "12")]
    CopyGone(FileKey),
    /// Whose state this is.
    #[prost(message, tag = "13")]
    NodePut(NodeRecord),
    /// An archive as it is now.
    #[prost(message, tag = "14")]
    ArchivePut(ArchiveRecord),
    /// An archive is gone.
    #[prost(message, tag = "15")]
    ArchiveGone(ArchiveGone),
}

/// The machine and the control stream that a state belongs to.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NodeRecord {
    /// `/etc/machine-id` and the boot disk's name for this host, as one text.
    #[prost(string, tag = "1")]
    pub machine: String,
    /// Identity of the control stream.
    #[prost(bytes = "vec", tag = "2")]
    pub control: Vec<u8>,
    /// When the state was made, nanoseconds since 1970 UTC.
    #[prost(sint64, tag = "3")]
    pub created: i64,
    /// The last policy that was applied, as its text's BLAKE3 in hex.
    #[prost(string, tag = "4")]
    pub policy_digest: String,
    /// When it was noticed that the clock had been set, nanoseconds since 1970 UTC as it then said; 0 if that was confirmed, or never.
    #[prost(sint64, tag = "5")]
    pub clock_stepped: i64,
}

/// What says where to look for a file first. It is not its identity.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Message)]
pub struct FileKey {
    /// Device number; may change over a reboot.
    #[prost(uint64, tag = "1")]
    pub dev: u64,
    /// Inode number; may be reused at once.
    #[prost(uint64, tag = "2")]
    pub ino: u64,
    /// Birth time in nanoseconds since 1970, 0 where the file system keeps none.
    #[prost(sint64, tag = "3")]
    pub born: i64,
}

/// A line whose end was not yet seen when its first part was passed.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Open {
    /// Offset of the first byte that no record holds yet.
    #[prost(uint64, tag = "1")]
    pub from: u64,
    /// Offset of the line's first byte.
    #[prost(uint64, tag = "2")]
    pub line: u64,
    /// Fragments of the line that are passed.
    #[prost(uint32, tag = "3")]
    pub index: u32,
}

/// A place between two records of a stream.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Position {
    /// Logical offset of the next byte to frame.
    #[prost(uint64, tag = "1")]
    pub offset: u64,
    /// Records before it.
    #[prost(uint64, tag = "2")]
    pub seq: u64,
    /// Inside a line longer than the bound.
    #[prost(message, optional, tag = "3")]
    pub long: Option<Open>,
    /// A container's unfinished line on standard output.
    #[prost(message, optional, tag = "4")]
    pub stdout: Option<Open>,
    /// A container's unfinished line on standard error.
    #[prost(message, optional, tag = "5")]
    pub stderr: Option<Open>,
}

impl Position {
    /// The beginning of a stream, or of what is left of it.
    pub fn at(offset: u64) -> Self {
        Self { offset, ..Self::default() }
    }

    /// The first byte that framing needs to go on from here: earlier than `offset` if pieces are open.
    pub fn read_from(&self) -> u64 {
        let open = |o: Option<Open>| o.map_or(u64::MAX, |o| o.from);
        self.offset.min(open(self.stdout)).min(open(self.stderr))
    }
}

/// How far a stream was handed to any lane, and the digest up to there.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FrontierPut {
    /// Which stream.
    #[prost(bytes = "vec", tag = "1")]
    pub stream: Vec<u8>,
    /// The frontier.
    #[prost(message, required, tag = "2")]
    pub position: Position,
    /// See [`crate::source::digest`].
    #[prost(bytes = "vec", tag = "3")]
    pub chain: Vec<u8>,
    /// See [`crate::source::digest`].
    #[prost(bytes = "vec", tag = "4")]
    pub digest: Vec<u8>,
    /// Logical end of the stream when it was last looked at.
    #[prost(uint64, tag = "5")]
    pub seen: u64,
    /// Bytes that `head_hash` covers.
    #[prost(uint32, tag = "6")]
    pub head_len: u32,
    /// Hash of the stream's first bytes, by which candidates are found.
    #[prost(fixed64, tag = "7")]
    pub head_hash: u64,
    /// See [`crate::source::digest::lead_hash`].
    #[prost(fixed64, tag = "8")]
    pub lead_hash: u64,
}

/// Where a stretch of a stream lies.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Extent {
    /// Logical offset of its first byte.
    #[prost(uint64, tag = "1")]
    pub from: u64,
    /// Logical offset behind its last byte; 0 = open-ended (the live file).
    #[prost(uint64, tag = "2")]
    pub to: u64,
    /// Path of the file; any bytes.
    #[prost(bytes = "vec", tag = "3")]
    pub path: Vec<u8>,
    /// Where to look first.
    #[prost(message, required, tag = "4")]
    pub file: FileKey,
    /// 0 none, 1 gzip, 2 zstd.
    #[prost(uint32, tag = "5")]
    pub compression: u32,
    /// BLAKE3 of the archive file, empty for a live or rotated file.
    #[prost(bytes = "vec", tag = "6")]
    pub digest: Vec<u8>,
}

/// A name that the path pattern captured.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Capture {
    /// The name in the pattern.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The text of the path.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// A stream, with everything that its records' ids depend on.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StreamRecord {
    /// 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
    /// Name of the source that it belongs to.
    #[prost(string, tag = "2")]
    pub source: String,
    /// Path under which it was found first; any bytes.
    #[prost(bytes = "vec", tag = "3")]
    pub first_path: Vec<u8>,
    /// What the pattern captured.
    #[prost(message, repeated, tag = "4")]
    pub captures: Vec<Capture>,
    /// Line bound in bytes.
    #[prost(uint64, tag = "5")]
    pub line_bound: u64,
    /// 0 none, 1 CRI, 2 Docker.
    #[prost(uint32, tag = "6")]
    pub envelope: u32,
    /// 0 bytes or UTF-8, 1 UTF-16LE, 2 UTF-16BE.
    #[prost(uint32, tag = "7")]
    pub encoding: u32,
    /// Its format joins a line that its writer split over two files.
    #[prost(bool, tag = "8")]
    pub joining: bool,
    /// Logical offset of the live file's first byte.
    #[prost(uint64, tag = "9")]
    pub base: u64,
    /// Logical offset of its first record: what lies before belongs to the stream that it follows.
    #[prost(uint64, tag = "10")]
    pub begins_at: u64,
    /// Where its bytes lie; the last is the live file, or the last place that held it.
    #[prost(message, repeated, tag = "11")]
    pub extents: Vec<Extent>,
    /// The stream whose file this one took over.
    #[prost(bytes = "vec", tag = "12")]
    pub continues: Vec<u8>,
    /// When it was first seen, nanoseconds since 1970 UTC.
    #[prost(sint64, tag = "13")]
    pub begun: i64,
    /// How far it was handed to any lane.
    #[prost(message, required, tag = "14")]
    pub frontier: Position,
    /// See [`crate::source::digest`].
    #[prost(bytes = "vec", tag = "15")]
    pub chain: Vec<u8>,
    /// See [`crate::source::digest`].
    #[prost(bytes = "vec", tag = "16")]
    pub digest: Vec<u8>,
    /// Logical end when it was last looked at.
    #[prost(uint64, tag = "17")]
    pub seen: u64,
    /// See [`FrontierPut::head_len`].
    #[prost(uint32, tag = "18")]
    pub head_len: u32,
    /// See [`FrontierPut::head_hash`].
    #[prost(fixed64, tag = "19")]
    pub head_hash: u64,
    /// 0 live, 1 ended: its last byte is known and nothing more can come.
    #[prost(uint32, tag = "20")]
    pub phase: u32,
    /// When it ended, nanoseconds since 1970 UTC.
    #[prost(sint64, tag = "21")]
    pub ended: i64,
    /// The streams whose first bytes finish this one's last record, 16 bytes each.
    #[prost(bytes = "vec", tag = "22")]
    pub joined_to: Vec<u8>,
    /// How many bytes of those streams together; `u64::MAX` = it was decided that none.
    #[prost(uint64, tag = "23")]
    pub joined_len: u64,
    /// Where this stream's own bytes end, if its last record is joined.
    #[prost(uint64, tag = "26")]
    pub joined_at: u64,
    /// Modification time of its file when it was last looked at, nanoseconds since 1970.
    #[prost(sint64, tag = "24")]
    pub modified: i64,
    /// See [`FrontierPut::lead_hash`].
    #[prost(fixed64, tag = "25")]
    pub lead_hash: u64,
    /// Logical end when it began: as long as less than that was handed out, the bytes before it tell it from files that begin alike.
    #[prost(uint64, tag = "32")]
    pub mark_at: u64,
    /// Hash of the (at most) 64 bytes before `mark_at`.
    #[prost(fixed64, tag = "33")]
    pub mark_hash: u64,
    /// How many bytes of each of the streams in `joined_to`; empty if there is one, which has `joined_len`.
    #[prost(uint64, repeated, tag = "34")]
    pub joined_lens: Vec<u64>,
    /// A cut of its live file that is intended; whether it happened is told by the file.
    #[prost(message, optional, tag = "27")]
    pub cut: Option<Cut>,
    /// When the content that is not archived began to be written, nanoseconds since 1970 UTC; 0 = with the stream.
    #[prost(sint64, tag = "28")]
    pub cycle_began: i64,
    /// The place behind the last record that an archive holds.
    #[prost(message, optional, tag = "29")]
    pub archived: Option<Position>,
    /// Path of the live file that this was, if it was renamed by us and is not archived yet; any bytes.
    #[prost(bytes = "vec", tag = "30")]
    pub renamed_from: Vec<u8>,
    /// When it was renamed, nanoseconds since 1970 UTC.
    #[prost(sint64, tag = "31")]
    pub rotation: i64,
    /// No one writes to its last file any more, which we remove or have removed: an archive holds it, or its retention is over.
    #[prost(bool, tag = "35")]
    pub sealed: bool,
}

/// A cut of a live file's front that is intended.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Cut {
    /// Logical offset of the file's first byte before it.
    #[prost(uint64, tag = "1")]
    pub base: u64,
    /// Logical offset of the file's first byte after it.
    #[prost(uint64, tag = "2")]
    pub to: u64,
    /// Physical address of the block at `to`.
    #[prost(uint64, tag = "3")]
    pub physical: u64,
    /// BLAKE3 of that block.
    #[prost(bytes = "vec", tag = "4")]
    pub hash: Vec<u8>,
    /// Bytes of a block.
    #[prost(uint64, tag = "5")]
    pub block: u64,
}

/// A file that holds a stretch of a stream which its live file may no longer have.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ArchiveRecord {
    /// 1, 2, 3 …; never used again.
    #[prost(uint64, tag = "1")]
    pub number: u64,
    /// The stream's 16 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub stream: Vec<u8>,
    /// Name of the source.
    #[prost(string, tag = "3")]
    pub source: String,
    /// Path of the live file whose archive it is; any bytes.
    #[prost(bytes = "vec", tag = "4")]
    pub live: Vec<u8>,
    /// Which bytes, and in which file; its digest is that of the file.
    #[prost(message, required, tag = "5")]
    pub extent: Extent,
    /// Bytes on disk.
    #[prost(uint64, tag = "6")]
    pub size: u64,
    /// The place of its first record.
    #[prost(message, required, tag = "7")]
    pub begin: Position,
    /// The place behind its last record.
    #[prost(message, required, tag = "8")]
    pub end: Position,
    /// When it was made, nanoseconds since 1970 UTC. Pieces of one rotation have the same `rotation`.
    #[prost(sint64, tag = "9")]
    pub made: i64,
    /// When its rotation began, nanoseconds since 1970 UTC.
    #[prost(sint64, tag = "10")]
    pub rotation: i64,
    /// 0 there, 1 about to get its name, 2 about to be removed.
    #[prost(uint32, tag = "11")]
    pub phase: u32,
    /// It was made immutable.
    #[prost(bool, tag = "12")]
    pub immutable: bool,
    /// Name of the sink whose output it holds; empty if it holds a stream of a source.
    #[prost(string, tag = "13")]
    pub sink: String,
}

impl ArchiveRecord {
    /// [`phase`](Self::phase): complete under its name.
    pub const THERE: u32 = 0;
    /// [`phase`](Self::phase): complete, about to get its name.
    pub const PLANNED: u32 = 1;
    /// [`phase`](Self::phase): about to be removed.
    pub const LEAVING: u32 = 2;
}

/// An archive is gone.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ArchiveGone {
    /// Its number.
    #[prost(uint64, tag = "1")]
    pub number: u64,
}

impl StreamRecord {
    /// Its last record ends in another stream.
    pub fn is_joined(&self) -> bool {
        self.joined_len != 0 && self.joined_len != u64::MAX
    }

    /// The streams that hold the rest of its last record, and how many bytes of each.
    pub fn joins(&self) -> Vec<(StreamId, u64)> {
        let ids = self.joined_to.chunks_exact(16).filter_map(StreamId::from_slice);
        if self.joined_lens.is_empty() {
            return ids.map(|id| (id, self.joined_len)).collect();
        }
        ids.zip(self.joined_lens.iter().copied()).collect()
    }

    /// Where its own bytes end as far as they were handed out.
    pub fn digest_end(&self) -> u64 {
        if self.is_joined() { self.frontier.offset.min(self.joined_at) } else { self.frontier.offset }
    }

    /// An unterminated end may become a record once the file is finished.
    pub fn may_finish(&self) -> bool {
        !self.joining || self.joined_len != 0
    }
}

/// A stream is forgotten.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StreamGone {
    /// 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
}

/// Bytes and records.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Count {
    /// Bytes as they lie in the stream, terminators and wrapping included.
    #[prost(uint64, tag = "1")]
    pub bytes: u64,
    /// Records.
    #[prost(uint64, tag = "2")]
    pub records: u64,
}

impl Count {
    /// Adds another count.
    pub fn add(&mut self, other: Count) {
        self.bytes += other.bytes;
        self.records += other.records;
    }
}

/// What became of a lane's records, in the words of invariant 1.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Tally {
    /// The sink has them.
    #[prost(message, required, tag = "1")]
    pub acknowledged: Count,
    /// Left out by a rule of the policy, or discarded by a kill switch.
    #[prost(message, required, tag = "2")]
    pub dropped: Count,
    /// The sink refused the record itself; it is among the dead letters.
    #[prost(message, required, tag = "3")]
    pub refused: Count,
    /// Gone before they could be delivered; entered in the ledger.
    #[prost(message, required, tag = "4")]
    pub lost: Count,
}

impl Tally {
    /// Adds another tally.
    pub fn add(&mut self, other: Tally) {
        self.acknowledged.add(other.acknowledged);
        self.dropped.add(other.dropped);
        self.refused.add(other.refused);
        self.lost.add(other.lost);
    }

    /// Bytes whose fate is known.
    pub fn settled(&self) -> u64 {
        self.acknowledged.bytes + self.dropped.bytes + self.refused.bytes + self.lost.bytes
    }
}

/// A lane: one sink, by name, type and destination.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LaneRecord {
    /// Number by which cursors name it; never used again.
    #[prost(uint32, tag = "1")]
    pub number: u32,
    /// Name of the sink.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Type of the sink.
    #[prost(string, tag = "3")]
    pub kind: String,
    /// Topic, data stream, group, address or path.
    #[prost(string, tag = "4")]
    pub destination: String,
    /// When its sink left the policy, nanoseconds since 1970 UTC; 0 = it is there.
    #[prost(sint64, tag = "5")]
    pub removed: i64,
    /// What became of the records of streams that are forgotten.
    #[prost(message, required, tag = "6")]
    pub closed: Tally,
    /// When it was met first, nanoseconds since 1970 UTC.
    #[prost(sint64, tag = "8")]
    pub added: i64,
}

/// A lane is forgotten.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LaneGone {
    /// Its number.
    #[prost(uint32, tag = "1")]
    pub number: u32,
}

/// A range of logical offsets, `from` included, `to` not.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Range {
    /// First byte.
    #[prost(uint64, tag = "1")]
    pub from: u64,
    /// Behind the last byte; `u64::MAX` = still open.
    #[prost(uint64, tag = "2")]
    pub to: u64,
}

/// How far one lane's records of one stream are settled.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CursorRecord {
    /// The lane's number.
    #[prost(uint32, tag = "1")]
    pub lane: u32,
    /// The stream's 16 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub stream: Vec<u8>,
    /// Everything before this place is settled.
    #[prost(message, required, tag = "3")]
    pub position: Position,
    /// What became of it.
    #[prost(message, required, tag = "4")]
    pub tally: Tally,
    /// Ranges that a kill switch in `Discard` left out, not yet passed.
    #[prost(message, repeated, tag = "5")]
    pub discard: Vec<Range>,
}

/// An entry of the ledger: what an auditor needs to know.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LedgerRecord {
    /// 1, 2, 3 …
    #[prost(uint64, tag = "1")]
    pub number: u64,
    /// When, nanoseconds since 1970 UTC.
    #[prost(sint64, tag = "2")]
    pub time: i64,
    /// One of [`crate::state::ledger::Action`]'s names.
    #[prost(string, tag = "3")]
    pub action: String,
    /// One sentence for a person.
    #[prost(string, tag = "4")]
    pub message: String,
    /// The details, one JSON object.
    #[prost(string, tag = "5")]
    pub fields: String,
    /// Offset in the control stream: the bytes of the entries before it.
    #[prost(uint64, tag = "6")]
    pub offset: u64,
}

/// Ledger entries up to a number are forgotten here.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LedgerTrim {
    /// The last one that is forgotten.
    #[prost(uint64, tag = "1")]
    pub through: u64,
}

/// A kill switch as the agent knows it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SwitchRecord {
    /// `policy`, `source/NAME`, `sink/NAME` or `local`.
    #[prost(string, tag = "1")]
    pub scope: String,
    /// Thrown.
    #[prost(bool, tag = "2")]
    pub engaged: bool,
    /// 0 Hold, 1 Discard; the mode at the throw.
    #[prost(uint32, tag = "3")]
    pub mode: u32,
    /// Why.
    #[prost(string, tag = "4")]
    pub reason: String,
    /// Who.
    #[prost(string, tag = "5")]
    pub requested_by: String,
    /// When it was thrown, nanoseconds since 1970 UTC.
    #[prost(sint64, tag = "6")]
    pub since: i64,
}

/// A file whose bytes another stream has already.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CopyRecord {
    /// The file.
    #[prost(message, required, tag = "1")]
    pub file: FileKey,
    /// Its size when it was compared, in bytes on disk.
    #[prost(uint64, tag = "2")]
    pub size: u64,
    /// Its modification time when it was compared, nanoseconds since 1970.
    #[prost(sint64, tag = "3")]
    pub modified: i64,
    /// The stream that has its bytes.
    #[prost(bytes = "vec", tag = "4")]
    pub stream: Vec<u8>,
}
