//! The few requests that the tests make of the agent's own listener.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Asks for a page and gives back its status and body. HTTP/1.0, so that the body is never chunked.
pub fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let mut peer = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
    peer.set_read_timeout(Some(Duration::from_secs(5)))?;
    peer.set_write_timeout(Some(Duration::from_secs(5)))?;
    peer.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer)?;
    let answer = String::from_utf8(answer).context("the answer is not UTF-8")?;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { bail!("{path}: the answer has no head") };
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("the answer has no status")?;
    Ok((status, body.to_owned()))
}
