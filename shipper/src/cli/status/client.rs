//! The one request that `waybill status` makes.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// An answer larger than this is none of ours, in bytes.
const BOUND: u64 = 256 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The text is no address.
    #[error("{text:?} is no address to ask ({source}); give it as the agent has it, such as --listen 127.0.0.1:9464")]
    Address {
        /// What was given.
        text: String,
        /// Why.
        source: io::Error,
    },
    /// Nobody there.
    #[error(
        "no agent answers at {address} ({source}); check that it runs (systemctl status waybill, or kubectl get pods), and that --listen is the address it was started with"
    )]
    Connect {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The connection broke off or went silent.
    #[error("the agent at {address} broke off ({source}); check its log, it may be stopped or overloaded")]
    Broken {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Another program listens there.
    #[error("what answers at {0} is no waybill agent; check --listen")]
    Stranger(SocketAddr),
    /// The agent says no.
    #[error("the agent at {address} answered {code}: {reason}")]
    Refused {
        /// Where.
        address: SocketAddr,
        /// The status code.
        code: u16,
        /// What it said.
        reason: String,
    },
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    /// Who answered, as its `Server` header says.
    pub(super) server: String,
    /// The page.
    pub(super) body: String,
}

/// The address behind what `--listen` was given; an agent that listens everywhere is asked on this machine.
pub(super) fn address(text: &str) -> Result<SocketAddr, Error> {
    let wrap = |source| Error::Address { text: text.to_owned(), source };
    let mut found = text.to_socket_addrs().map_err(wrap)?;
    let mut address = found.next().ok_or_else(|| wrap(io::ErrorKind::NotFound.into()))?;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    Ok(address)
}

/// Asks for a page.
pub(super) fn get(address: SocketAddr, path: &str) -> Result<Answer, Error> {
    let broken = |source| Error::Broken { address, source };
    let mut peer =
        TcpStream::connect_timeout(&address, PATIENCE).map_err(|source| Error::Connect { address, source })?;
    peer.set_read_timeout(Some(PATIENCE)).map_err(broken)?;
    peer.set_write_timeout(Some(PATIENCE)).map_err(broken)?;
    // HTTP/1.0, so that the answer ends with the connection and is never in chunks.
    peer.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).map_err(broken)?;
    let mut bytes = Vec::new();
    peer.take(BOUND).read_to_end(&mut bytes).map_err(broken)?;
    let text = String::from_utf8(bytes).map_err(|_| Error::Stranger(address))?;
    parse(address, &text)
}

fn parse(address: SocketAddr, text: &str) -> Result<Answer, Error> {
    let stranger = || Error::Stranger(address);
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(stranger)?;
    let mut lines = head.lines();
    let first = lines.next().filter(|line| line.starts_with("HTTP/1.")).ok_or_else(stranger)?;
    let code: u16 = first.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(stranger)?;
    let mut server = "";
    let mut length = None;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        match name.to_ascii_lowercase().as_str() {
            "server" => server = value.trim(),
            "content-length" => length = value.trim().parse::<usize>().ok(),
            _ => {}
        }
    }
    if !server.starts_with("waybill/") {
        return Err(stranger());
    }
    if length.is_some_and(|length| length != body.len()) {
        return Err(Error::Broken { address, source: io::ErrorKind::UnexpectedEof.into() });
    }
    if code != 200 {
        return Err(Error::Refused { address, code, reason: body.trim().to_owned() });
    }
    Ok(Answer { server: server.to_owned(), body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn answered(text: &'static str) -> Result<Answer, Error> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            let mut request = [0; 512];
            let read = peer.read(&mut request).unwrap();
            assert!(request[..read].starts_with(b"GET /status HTTP/1.0\r\nHost: 127.0.0.1:"));
            peer.write_all(text.as_bytes()).unwrap();
        });
        let answer = get(address, "/status");
        server.join().unwrap();
        answer
    }

    #[test]
    fn answers_and_refusals() {
        let answer = answered("HTTP/1.0 200 OK\r\nserver: waybill/9.9.9\r\ncontent-length: 2\r\n\r\n{}").unwrap();
        assert_eq!((answer.server.as_str(), answer.body.as_str()), ("waybill/9.9.9", "{}"));
        let refused = answered("HTTP/1.0 403 Forbidden\r\nServer: waybill/1\r\n\r\nnot you\n").unwrap_err();
        assert!(refused.to_string().ends_with("answered 403: not you"), "{refused}");
        let cut = answered("HTTP/1.0 200 OK\r\nServer: waybill/1\r\nContent-Length: 9\r\n\r\n{}").unwrap_err();
        assert!(matches!(cut, Error::Broken { .. }));
        assert!(matches!(answered("HTTP/1.0 200 OK\r\nServer: nginx\r\n\r\n{}"), Err(Error::Stranger(_))));
        assert!(matches!(answered("SSH-2.0-OpenSSH\r\n"), Err(Error::Stranger(_))));
    }

    #[test]
    fn an_agent_that_listens_everywhere_is_asked_here() {
        assert_eq!(address("0.0.0.0:9464").unwrap().to_string(), "127.0.0.1:9464");
        assert_eq!(address("[::]:9464").unwrap().to_string(), "[::1]:9464");
        assert!(address("nonsense").is_err());
    }
}
