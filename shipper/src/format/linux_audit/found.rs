//! What a record says that has a place of its own, or that decides something.

use super::super::record::Field;
use super::assembly::{Slot, Texts};

/// Where a text is: in the line, or, decoded, in the room for such.
#[derive(Debug, Clone, Copy)]
pub(super) enum Text<'a> {
    Line(&'a [u8]),
    Scratch(usize, usize),
}

/// A text that is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Key {
    EventId,
    Pid,
    ParentPid,
    Auid,
    LoginName,
    Uid,
    UserName,
    Euid,
    Comm,
    Exe,
    Folder,
    Rule,
    Success,
    Exit,
    Result,
    Acct,
    Addr,
    Hostname,
    RemotePort,
    Op,
    CommandLine,
    Call,
    Title,
    Saddr,
    SocketAddress,
    SocketPort,
    Table,
    Family,
    Entries,
    Id,
    Apparmor,
    Lost,
    Old,
    Enabled,
    Arguments,
    /// The account that a message is about, and its name.
    Target,
    TargetName,
    Permissive,
    Code,
    Response,
    DestinationAddress,
    DestinationPort,
    SourcePort,
    Protocol,
    /// What user space wrote, `msg='…'`.
    Nested,
}

const COUNT: usize = Key::Nested as usize + 1;

/// Names of fields, and what is looked for under them.
const NAMES: &[(&[u8], Key)] = &[
    (b"pid", Key::Pid),
    (b"ppid", Key::ParentPid),
    (b"auid", Key::Auid),
    (b"uid", Key::Uid),
    (b"euid", Key::Euid),
    (b"comm", Key::Comm),
    (b"exe", Key::Exe),
    (b"cwd", Key::Folder),
    (b"key", Key::Rule),
    (b"success", Key::Success),
    (b"exit", Key::Exit),
    (b"res", Key::Result),
    (b"result", Key::Result),
    (b"acct", Key::Acct),
    (b"addr", Key::Addr),
    (b"hostname", Key::Hostname),
    (b"rport", Key::RemotePort),
    (b"op", Key::Op),
    (b"cmd", Key::CommandLine),
    (b"syscall", Key::Call),
    (b"proctitle", Key::Title),
    (b"saddr", Key::Saddr),
    (b"table", Key::Table),
    (b"family", Key::Family),
    (b"entries", Key::Entries),
    (b"id", Key::Id),
    (b"apparmor", Key::Apparmor),
    (b"lost", Key::Lost),
    (b"old", Key::Old),
    (b"audit_enabled", Key::Enabled),
    (b"permissive", Key::Permissive),
    (b"code", Key::Code),
    (b"resp", Key::Response),
    (b"daddr", Key::DestinationAddress),
    (b"dport", Key::DestinationPort),
    (b"sport", Key::SourcePort),
    (b"proto", Key::Protocol),
];

/// Where texts go in the record.
pub(super) const FIELDS: [(Key, Field); 8] = [
    (Key::EventId, Field::EventId),
    (Key::Pid, Field::ProcessPid),
    (Key::ParentPid, Field::ProcessParentPid),
    (Key::Comm, Field::ProcessName),
    (Key::Exe, Field::ProcessExecutable),
    (Key::Folder, Field::ProcessWorkingDirectory),
    (Key::CommandLine, Field::ProcessCommandLine),
    (Key::Title, Field::ProcessTitle),
];

/// What is kept of a record for the one that closes its event.
pub(super) const KEPT: [(Key, Slot); 12] = [
    (Key::Pid, Slot::Pid),
    (Key::ParentPid, Slot::ParentPid),
    (Key::Auid, Slot::LoginId),
    (Key::LoginName, Slot::LoginName),
    (Key::Uid, Slot::UserId),
    (Key::Euid, Slot::EffectiveId),
    (Key::Comm, Slot::Name),
    (Key::Exe, Slot::Executable),
    (Key::Folder, Slot::Folder),
    (Key::Rule, Slot::Key),
    (Key::Call, Slot::Call),
    (Key::Arguments, Slot::Arguments),
];

/// Programs that change what passes a host: their names, or the beginnings of them.
const TOOLS: [&[u8]; 12] = [
    b"iptables",
    b"ip6tables",
    b"xtables-",
    b"ebtables",
    b"arptables",
    b"nft",
    b"ufw",
    b"firewall-",
    b"firewalld",
    b"ipset",
    b"tc",
    b"nfct",
];

/// Whether a program, given by name or path, is one of those.
pub(super) fn is_firewall_tool(program: &[u8]) -> bool {
    let name = memchr::memrchr(b'/', program).map_or(program, |at| &program[at + 1..]);
    TOOLS.iter().any(|tool| name == *tool || (tool.len() > 4 && name.starts_with(tool)))
}

/// The texts of one record.
#[derive(Debug)]
pub(super) struct Found<'a> {
    texts: [Option<Text<'a>>; COUNT],
}

impl Default for Found<'_> {
    fn default() -> Self {
        Self { texts: [None; COUNT] }
    }
}

impl<'a> Found<'a> {
    pub(super) fn set(&mut self, key: Key, text: Text<'a>) {
        self.texts[key as usize] = Some(text);
    }

    /// Takes the value of a field, if it is looked for. The first of a name counts: what user space adds stands behind.
    pub(super) fn take(&mut self, name: &[u8], text: Text<'a>) {
        if let Some((_, key)) = NAMES.iter().find(|(known, _)| *known == name)
            && self.texts[*key as usize].is_none()
        {
            self.set(*key, text);
        }
    }

    /// Takes a text of the line, unless there is one.
    pub(super) fn first(&mut self, key: Key, text: &'a [u8]) {
        if !self.has(key) {
            self.set(key, Text::Line(text));
        }
    }

    pub(super) fn has(&self, key: Key) -> bool {
        self.texts[key as usize].is_some()
    }

    pub(super) fn get<'s>(&self, key: Key, scratch: &'s [u8]) -> Option<&'s [u8]>
    where
        'a: 's,
    {
        self.texts[key as usize].map(|text| match text {
            Text::Line(text) => text,
            Text::Scratch(start, end) => &scratch[start..end],
        })
    }

    /// Takes over what was kept, where this record says nothing itself.
    pub(super) fn join(&mut self, texts: &Texts, scratch: &mut Vec<u8>) {
        for (key, slot) in KEPT {
            if let Some(text) = texts.get(slot).filter(|_| self.texts[key as usize].is_none()) {
                let start = scratch.len();
                scratch.extend_from_slice(text);
                self.set(key, Text::Scratch(start, scratch.len()));
            }
        }
        self.command_line(scratch);
    }

    /// Makes one line of the arguments.
    pub(super) fn command_line(&mut self, scratch: &mut Vec<u8>) {
        let Some(text) =
            self.texts[Key::Arguments as usize].filter(|_| self.texts[Key::CommandLine as usize].is_none())
        else {
            return;
        };
        let start = scratch.len();
        match text {
            Text::Line(text) => scratch.extend_from_slice(text),
            Text::Scratch(from, to) => scratch.extend_from_within(from..to),
        }
        if scratch.get(start) == Some(&0) {
            scratch.remove(start);
        }
        blank(&mut scratch[start..]);
        self.set(Key::CommandLine, Text::Scratch(start, scratch.len()));
    }
}

/// Puts blanks in the place of the NUL bytes between arguments.
pub(super) fn blank(text: &mut [u8]) {
    text.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b' ');
}
