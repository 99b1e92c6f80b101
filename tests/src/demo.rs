//! The demonstration: genuine V2Ray and qURL-format lines, written and rotated live, shipped, searched, held by a kill switch,
//! interrupted by a kill, and accounted for to the last byte.

mod client;
mod namespace;
mod proxy;
mod site;
mod story;

use anyhow::Result;

/// Runs the demonstration; an error if anything that it promises does not hold.
pub fn run() -> Result<()> {
    if namespace::entered()? { Ok(()) } else { story::tell() }
}
