//! What every archive says of itself at its beginning, so that no agent ever takes one for a source.
//!
//! In gzip it is the header's comment (RFC 1952), in Zstandard a skippable frame (RFC 8878) before the first; either is passed over by
//! every reader of the format. An archive that is not compressed has the same text in the extended attribute `user.waybill.archive`.

use std::fs::File;

use crate::state::StreamId;

/// How every text begins.
pub const MARK: &str = "waybill archive";
/// Where an archive without compression keeps it.
const ATTRIBUTE: &str = "user.waybill.archive";
/// The frame type for skippable frames that we write; readers skip all sixteen.
const SKIPPABLE: [u8; 4] = [0x57, 0x2a, 0x4d, 0x18];

/// The text for bytes `from..to` of a stream.
pub fn text(stream: StreamId, from: u64, to: u64) -> String {
    format!("{MARK} stream={stream} from={from} to={to}")
}

/// A skippable frame with a text.
pub fn skippable_frame(text: &str) -> Vec<u8> {
    let mut frame = SKIPPABLE.to_vec();
    frame.extend_from_slice(&(text.len() as u32).to_le_bytes());
    frame.extend_from_slice(text.as_bytes());
    frame
}

/// Whether a file's first bytes are those of an archive, ours or another agent's.
pub fn is_archive(head: &[u8]) -> bool {
    match head {
        [0x1f, 0x8b, 0x08, flags, rest @ ..] => {
            gzip_comment(*flags, rest).is_some_and(|c| c.starts_with(MARK.as_bytes()))
        }
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, _, _, _, _, rest @ ..] => rest.starts_with(MARK.as_bytes()),
        _ => false,
    }
}

/// Whether a file that is not compressed is an archive.
pub fn is_plain_archive(file: &File) -> bool {
    let mut value = [0_u8; 256];
    rustix::fs::fgetxattr(file, ATTRIBUTE, &mut value[..])
        .is_ok_and(|n| value.get(..n).is_some_and(|v| v.starts_with(MARK.as_bytes())))
}

/// Says it of a file that is not compressed. File systems without such attributes leave it to the state to know.
pub fn mark_plain(file: &File, text: &str) {
    if let Err(error) = rustix::fs::fsetxattr(file, ATTRIBUTE, text.as_bytes(), rustix::fs::XattrFlags::empty()) {
        tracing::debug!(%error, "an archive without compression cannot be marked here");
    }
}

/// The comment of a gzip header; `rest` is what follows the flags. `None` also where it begins beyond what was read.
fn gzip_comment(flags: u8, rest: &[u8]) -> Option<&[u8]> {
    const EXTRA: u8 = 4;
    const NAME: u8 = 8;
    const COMMENT: u8 = 16;
    // Time, extra flags and operating system.
    let mut rest = rest.get(6..)?;
    if flags & EXTRA != 0 {
        let len = usize::from(*rest.first()?) | usize::from(*rest.get(1)?) << 8;
        rest = rest.get(2 + len..)?;
    }
    if flags & NAME != 0 {
        rest = rest.get(memchr::memchr(0, rest)? + 1..)?;
    }
    (flags & COMMENT != 0).then_some(rest)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn archives_know_themselves_and_other_files_do_not() {
        let text = text(StreamId([7; 16]), 0, 40);
        for (name, extra) in [(None, None), (Some("x.log"), None), (Some("x.log"), Some(vec![1, 2, 3]))] {
            let mut builder = flate2::GzBuilder::new().comment(text.as_str());
            if let Some(name) = name {
                builder = builder.filename(name);
            }
            if let Some(extra) = extra {
                builder = builder.extra(extra);
            }
            let mut encoder = builder.write(Vec::new(), flate2::Compression::fast());
            encoder.write_all(b"line\n").unwrap();
            assert!(is_archive(&encoder.finish().unwrap()));
        }
        let mut plain = flate2::GzBuilder::new().filename(MARK).write(Vec::new(), flate2::Compression::fast());
        plain.write_all(MARK.as_bytes()).unwrap();
        assert!(!is_archive(&plain.finish().unwrap()));
        assert!(!is_archive(MARK.as_bytes()) && !is_archive(&[]) && !is_archive(&[0x1f, 0x8b, 8, 16]));
    }

    #[test]
    fn readers_skip_the_frame() {
        let mut file = skippable_frame(&text(StreamId([7; 16]), 0, 5));
        file.extend(zstd::encode_all(&b"line\n"[..], 1).unwrap());
        assert!(is_archive(&file));
        let mut text = String::new();
        zstd::Decoder::new(&file[..]).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "line\n");
    }
}
