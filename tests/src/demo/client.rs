//! A SOCKS5 client that chooses the address it comes from.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

/// What a client asks of the proxy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    /// Where it comes from.
    pub(super) from: Ipv4Addr,
    /// Its password; the user is always the same.
    pub(super) password: &'a str,
    /// Where it wants to go.
    pub(super) host: &'a str,
    pub(super) port: u16,
}

/// Makes a request and reads to the end, whatever it is; a refusal by the proxy is a normal end.
pub(super) fn ask(proxy: u16, request: Request<'_>) -> Result<()> {
    let end = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&end, &SocketAddrV4::new(request.from, 0)).context("failed to take the client's address")?;
    connect(&end, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, proxy)).context("failed to reach the proxy")?;
    let mut peer = TcpStream::from(end);
    peer.set_read_timeout(Some(Duration::from_secs(5)))?;
    peer.write_all(&[5, 1, 2])?;
    peer.read_exact(&mut [0; 2])?;
    let mut login = vec![1, 3];
    login.extend_from_slice(b"sam");
    login.push(request.password.len() as u8);
    login.extend_from_slice(request.password.as_bytes());
    peer.write_all(&login)?;
    let mut answer = [0; 2];
    peer.read_exact(&mut answer)?;
    if answer[1] != 0 {
        return Ok(());
    }
    let mut command = vec![5, 1, 0, 3, request.host.len() as u8];
    command.extend_from_slice(request.host.as_bytes());
    command.extend_from_slice(&request.port.to_be_bytes());
    peer.write_all(&command)?;
    peer.read_exact(&mut [0; 10])?;
    peer.write_all(format!("GET / HTTP/1.0\r\nHost: {}\r\n\r\n", request.host).as_bytes())?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nok") {
        let mut block = [0; 256];
        match peer.read(&mut block) {
            // The outbound that blocks closes, or resets.
            Ok(0) => break,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Ok(len) => answer.extend_from_slice(&block[..len]),
            Err(error) => return Err(error).context("the proxy gave no end"),
        }
    }
    Ok(())
}
