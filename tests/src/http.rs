//! The few requests that the tests make by themselves: of the agent's own listener, and of servers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::certificates::Certificate;

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
    tls: Option<Arc<ClientConfig>>,
    headers: String,
}

impl Caller {
    /// For a server that speaks plain HTTP.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, tls: None, headers: String::new() }
    }

    /// For a server that speaks TLS and is called `localhost`, with a client certificate.
    pub fn secure(address: SocketAddr, authority: &Path, client: &Certificate) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority)?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let chain = vec![CertificateDer::from_pem_file(&client.certificate)?];
        let key = PrivateKeyDer::from_pem_file(&client.key)?;
        let config = builder.with_root_certificates(roots).with_client_auth_cert(chain, key)?;
        Ok(Self { address, tls: Some(Arc::new(config)), headers: String::new() })
    }

    /// With these headers, each line ended.
    #[must_use]
    pub fn with(mut self, headers: &str) -> Self {
        headers.clone_into(&mut self.headers);
        self
    }

    /// Asks for a page.
    pub fn get(&self, path: &str) -> Result<(u16, String)> {
        self.call("GET", path, "application/json", "")
    }

    /// Makes a request; gives back the status and the body of the answer.
    pub fn call(&self, method: &str, path: &str, kind: &str, body: &str) -> Result<(u16, String)> {
        let peer = TcpStream::connect_timeout(&self.address, Duration::from_secs(5))?;
        peer.set_read_timeout(Some(Duration::from_secs(120)))?;
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: {}\r\n{}Content-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.address,
            self.headers,
            body.len()
        );
        let mut answer = match &self.tls {
            None => exchange(peer, &request)?,
            Some(tls) => {
                let connection = ClientConnection::new(Arc::clone(tls), "localhost".try_into()?)?;
                exchange(StreamOwned::new(connection, peer), &request)?
            }
        };
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").context("the answer has no head")?;
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("the answer has no status")?;
        Ok((status, String::from_utf8(answer.split_off(end + 4)).context("the answer is not UTF-8")?))
    }
}

fn exchange(mut peer: impl Read + Write, request: &str) -> Result<Vec<u8>> {
    peer.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    match peer.read_to_end(&mut answer) {
        // Not every server says goodbye before it hangs up.
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof && !answer.is_empty() => {}
        read => _ = read?,
    }
    Ok(answer)
}
