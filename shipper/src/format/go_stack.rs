//! A Go program's last words, a panic or a fatal error with the stacks of its goroutines, and its first, the banner: several lines
//! without a date, one record.
//!
//! Only lines that look like a part of it are taken to it, so that nothing else is held back or swallowed. A stack has no end of its
//! own: it ends before the next line of another form, at the longest line that stays whole, or where its file ends for good.

use super::settings::Kind;

/// Whether a format's programs are written in Go and print such text between their lines.
pub fn stacks(kind: Kind) -> bool {
    matches!(kind, Kind::V2RayAccess | Kind::V2RayError)
}

/// How much of some text is one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Its first line, as anywhere.
    Line,
    /// So many bytes, the last terminator included.
    Lines(usize),
    /// That cannot be known yet.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beginning {
    Stack,
    Banner,
}

/// Looks at the record with which `text` begins. It takes `bound` bytes at most; `finished` says that nothing follows `text`.
pub fn extent(text: &[u8], bound: usize, finished: bool) -> Extent {
    let window = &text[..text.len().min(bound)];
    let Some(first) = memchr::memchr(b'\n', window) else { return Extent::Line };
    let Some(beginning) = begins(line(&window[..first])) else { return Extent::Line };
    let mut end = first + 1;
    loop {
        let rest = &window[end..];
        match memchr::memchr(b'\n', rest) {
            Some(length) if goes_on(beginning, line(&rest[..length])) => {
                end += length + 1;
                if beginning == Beginning::Banner {
                    break;
                }
            }
            Some(_) => break,
            None if finished || text.len() >= bound => break,
            None => return Extent::Unknown,
        }
    }
    if end == first + 1 { Extent::Line } else { Extent::Lines(end) }
}

fn line(text: &[u8]) -> &[u8] {
    text.strip_suffix(b"\r").unwrap_or(text)
}

fn begins(line: &[u8]) -> Option<Beginning> {
    if is_death(line) {
        Some(Beginning::Stack)
    } else if is_banner(line) {
        Some(Beginning::Banner)
    } else {
        None
    }
}

/// How the end of a program begins.
pub(super) fn is_death(line: &[u8]) -> bool {
    [&b"panic: "[..], b"fatal error: ", b"runtime: ", b"SIGQUIT: quit", b"SIGABRT: abort", b"unexpected fault address "]
        .iter()
        .any(|begin| line.starts_with(begin))
}

/// `Xray 26.3.27 (Xray, Penetrates Everything.) …`
pub(super) fn is_banner(line: &[u8]) -> bool {
    let version = line.strip_prefix(b"Xray ").or_else(|| line.strip_prefix(b"V2Ray "));
    version.is_some_and(|rest| rest.first().is_some_and(u8::is_ascii_digit) && memchr::memchr(b'(', rest).is_some())
}

/// What stands below the banner.
pub(super) const SLOGAN: &[u8] = b"A unified platform for anti-censorship";

fn goes_on(beginning: Beginning, line: &[u8]) -> bool {
    match beginning {
        Beginning::Banner => line.starts_with(SLOGAN),
        Beginning::Stack => line.is_empty() || is_death(line) || is_stack(line),
    }
}

/// A line of a stack: a goroutine, a call, its place, where it was created, a register.
pub(super) fn is_stack(line: &[u8]) -> bool {
    const PARTS: [&[u8]; 10] = [
        b"goroutine ",
        b"created by ",
        b"[signal ",
        b"\tpanic: ",
        b"\tgoroutine ",
        b"runtime stack:",
        b"exit status ",
        b"PC=0x",
        b"...additional frames elided...",
        b"stack: ",
    ];
    PARTS.iter().any(|part| line.starts_with(part)) || is_place(line) || is_call(line) || is_register(line)
}

/// A tab, the file and the line of a call: `/go/src/x.go:12 +0x1a`.
fn is_place(line: &[u8]) -> bool {
    line.starts_with(b"\t")
        && (memchr::memmem::find(line, b".go:").is_some() || memchr::memmem::find(line, b".s:").is_some())
}

/// `github.com/xtls/xray-core/main.main.func1(0xc000)`
fn is_call(line: &[u8]) -> bool {
    line.ends_with(b")")
        && memchr::memchr(b'(', line).is_some_and(|open| {
            let name = &line[..open];
            memchr::memchr(b'.', name).is_some()
                && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"./_-*%".contains(byte))
        })
}

/// `rax    0x0`
fn is_register(line: &[u8]) -> bool {
    let end = line.iter().take(8).take_while(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()).count();
    let value = line[end..].trim_ascii_start();
    end >= 2
        && value.len() < line.len() - end
        && value
            .strip_prefix(b"0x")
            .is_some_and(|digits| !digits.is_empty() && digits.len() <= 16 && digits.iter().all(u8::is_ascii_hexdigit))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STACK: &str = "panic: runtime error: index out of range\n\ngoroutine 17 [running]:\nmain.main.func1(0xc0)\n\t/go/x.go:12 +0x1a\nrax    0x0\nexit status 2\n";

    #[test]
    fn a_stack_ends_where_another_line_begins() {
        let text = format!("{STACK}2026/01/27 14:46:57 [Info] core: x\n");
        assert_eq!(extent(text.as_bytes(), 4096, false), Extent::Lines(STACK.len()));
        assert_eq!(extent(STACK.as_bytes(), 4096, false), Extent::Unknown);
        assert_eq!(extent(STACK.as_bytes(), 4096, true), Extent::Lines(STACK.len()));
        // What is more than a line may have ends the record before that.
        let cut = STACK.find("\n\t/go").unwrap() + 1;
        assert_eq!(extent(STACK.as_bytes(), cut + 5, false), Extent::Lines(cut));
        assert_eq!(extent(b"panic: x\nhello\n", 4096, false), Extent::Line);
    }

    #[test]
    fn a_banner_has_two_lines_and_other_lines_have_one() {
        let banner = "Xray 26.3.27 (Xray, Penetrates Everything.) Custom\nA unified platform for anti-censorship.\n";
        assert_eq!(extent(banner.as_bytes(), 4096, false), Extent::Lines(banner.len()));
        assert_eq!(extent(b"Xray 26.3.27 (x)\r\n2026/", 4096, false), Extent::Unknown);
        assert_eq!(extent(b"Xray 26.3.27 (x)\r\n2026/01/27 14:46:57 x\n", 4096, false), Extent::Line);
        for text in ["", "x", "2026/01/27 14:46:57 panic: x\n\n", "Xray is down (again)\n\n", "\tpanic: x\n\n"] {
            assert_eq!(extent(text.as_bytes(), 4096, true), Extent::Line, "{text:?}");
        }
    }
}
