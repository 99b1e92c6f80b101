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

/// Makes requests of a server's JSON interface, one connection each.
#[derive(Debug, Clone)]
pub struct Caller {
    address: SocketAddr,
}

impl Caller {
    /// For a server that speaks plain HTTP.
    pub fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    /// Asks for a page.
    pub fn get(&self, path: &str) -> Result<(u16, String)> {
        self.call("GET", path, "application/json", "")
    }

    /// Makes a request; gives back the status and the body of the answer.
    pub fn call(&self, method: &str, path: &str, kind: &str, body: &str) -> Result<(u16, String)> {
        let mut peer = TcpStream::connect_timeout(&self.address, Duration::from_secs(5))?;
        peer.set_read_timeout(Some(Duration::from_secs(120)))?;
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.address,
            body.len()
        );
        peer.write_all(head.as_bytes())?;
        peer.write_all(body.as_bytes())?;
        let mut answer = Vec::new();
        peer.read_to_end(&mut answer)?;
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").context("the answer has no head")?;
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("the answer has no status")?;
        Ok((status, String::from_utf8(answer.split_off(end + 4)).context("the answer is not UTF-8")?))
    }
}
