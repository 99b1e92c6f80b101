//! No line takes more than its length: four times the text takes about four times as long, whatever it repeats.
//!
//! Lines of `testdata/corpus` are pumped: a piece that some grammar looks for is repeated inside of them. Times are compared with each
//! other, never with a clock on the wall, and a suspicion is measured again.

use std::time::Duration;

use super::tests::{frame, gateway, info, processor_time};
use super::{Encoder, Frame, Kind};

/// What grammars look for.
const PIECES: [&str; 48] = [
    " ",
    "a",
    "[",
    "]",
    " [",
    "\"",
    "\" ",
    "'",
    "{",
    "}",
    "{\"a\":",
    "\"a\":1,",
    "[1,",
    "\\",
    "\\u0041",
    "\\n",
    "\\303",
    "#011",
    ":",
    ": ",
    "::",
    "/",
    "//a:b@",
    "%",
    ",",
    ";",
    " ; TTY=",
    " ; USER=x",
    "=",
    "a=1 ",
    "a=\"b\" ",
    "msg='",
    "key=(null) ",
    "a1[0]=41 ",
    " > ",
    " -> ",
    " >> ",
    " email: ",
    "] email: x",
    " [a >> b]",
    " from 192.0.2.1 port 1 ssh2",
    " port 1",
    " user=x",
    "request user id: b ",
    "wrong username or password: \"a\" \"b\"",
    "\"CID-7\"",
    "\u{1d}A=b ",
    "invalid domain name: ",
];

/// How often the text grows.
const TIMES: usize = 4;
/// Four times the text may take up to so many times as long; where time grows with the square it takes sixteen times.
const MOST: u32 = 9;

fn pumped(line: &str, at: usize, piece: &str, length: usize) -> Vec<u8> {
    let mut out = line.as_bytes()[..at].to_vec();
    while out.len() < length {
        out.extend_from_slice(piece.as_bytes());
    }
    out.extend_from_slice(&line.as_bytes()[at..]);
    out
}

/// The shortest of some runs.
fn time(kind: Kind, text: &[u8], runs: u32) -> Duration {
    let mut out = Vec::new();
    let mut run = || {
        let mut encoder = Encoder::new(&gateway(kind), &info()).unwrap();
        out.clear();
        let begun = processor_time();
        for seq in 1..=2 {
            encoder.encode(&Frame { seq, ..frame(text) }, &mut out);
        }
        processor_time().saturating_sub(begun)
    };
    (0..runs).map(|_| run()).min().unwrap_or_default()
}

/// Some lines of a format, from all over its file.
fn seeds(kind: Kind) -> Vec<String> {
    let path = format!("{}/testdata/corpus/{kind}.txt", env!("CARGO_MANIFEST_DIR"));
    let Ok(text) = std::fs::read_to_string(path) else { return vec!["{\"a\":\"b\"}".to_owned()] };
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("=>") && !line.starts_with('#')).collect();
    let number = std::env::var("WAYBILL_GROWTH_LINES").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let step = (lines.len() / number).max(1);
    lines.iter().step_by(step).map(|line| (*line).to_owned()).collect()
}

/// `WAYBILL_GROWTH_KIB` (4 unless said) is the shorter length, `WAYBILL_GROWTH_LINES` how many lines of each format are pumped.
#[test]
fn time_grows_with_the_length_alone() {
    let short = std::env::var("WAYBILL_GROWTH_KIB").ok().and_then(|text| text.parse().ok()).unwrap_or(4) * 1024;
    for kind in Kind::ALL {
        for seed in seeds(kind) {
            let middle = (seed.len() / 2..=seed.len()).find(|at| seed.is_char_boundary(*at)).unwrap_or_default();
            for (at, piece) in [middle, seed.len()].into_iter().flat_map(|at| PIECES.map(|piece| (at, piece))) {
                let (small, large) = (pumped(&seed, at, piece, short), pumped(&seed, at, piece, short * TIMES));
                let grows = |runs| time(kind, &large, runs) > time(kind, &small, runs) * MOST;
                // Something else took the processor, as a rule.
                let proven = grows(1) && grows(5) && grows(20);
                assert!(!proven, "{kind}: {piece:?} at {at} of {seed}");
            }
        }
    }
}
