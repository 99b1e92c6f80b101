//! Looks at a broker's port to learn why a connection fails. The client library says only that TLS did not work.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use waybill_crds::Tls;

use crate::sink::{Failure, Secrets, tls as connection};

/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a port turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Port {
    /// It answers Kafka's requests as they are.
    Kafka,
    /// It begins a TLS handshake.
    Tls,
    /// Neither.
    Silent,
}

/// Makes the handshake once more. `None`: it works, or something else is in the way.
pub(super) fn tls(address: &str, tls: Option<&Tls>, secrets: &Secrets) -> Option<Failure> {
    let config = match connection::client_config(tls, secrets) {
        Ok(config) => config,
        Err(failure) => return Some(failure),
    };
    match handshake(address, config)? {
        Ok(()) => None,
        Err(error) => Some(connection::explain(&error, address)),
    }
}

/// Finds out what a port speaks.
pub(super) fn port(address: &str) -> Port {
    if answers_kafka(address).unwrap_or(false) {
        return Port::Kafka;
    }
    // Trusting no one: how far the handshake gets is all that is asked.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map(|b| b.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth());
    match config.ok().and_then(|config| handshake(address, config)) {
        Some(Err(rustls::Error::InvalidMessage(_))) | None => Port::Silent,
        Some(_) => Port::Tls,
    }
}

/// `None` if the connection failed before the peer said anything of TLS.
fn handshake(address: &str, config: ClientConfig) -> Option<Result<(), rustls::Error>> {
    let host = address.rsplit_once(':')?.0.trim_matches(['[', ']']);
    let name = ServerName::try_from(host.to_owned()).ok()?;
    let mut stream = connect(address)?;
    let mut session = match ClientConnection::new(Arc::new(config), name) {
        Ok(session) => session,
        Err(error) => return Some(Err(error)),
    };
    while session.is_handshaking() {
        if let Err(error) = session.complete_io(&mut stream) {
            return connection::find(&error).map(|e| Err(e.clone()));
        }
    }
    Some(Ok(()))
}

/// Asks for the versions of requests, which every broker answers before any login.
fn answers_kafka(address: &str) -> std::io::Result<bool> {
    const CORRELATION: [u8; 4] = *b"wayb";
    let Some(mut stream) = connect(address) else { return Ok(false) };
    let mut request = vec![0, 0, 0, 17, 0, 18, 0, 0];
    request.extend_from_slice(&CORRELATION);
    request.extend_from_slice(&[0, 7]);
    request.extend_from_slice(b"waybill");
    stream.write_all(&request)?;
    let mut answer = [0; 8];
    stream.read_exact(&mut answer)?;
    Ok(answer.ends_with(&CORRELATION))
}

fn connect(address: &str) -> Option<TcpStream> {
    let found = address.to_socket_addrs().ok()?.next()?;
    let stream = TcpStream::connect_timeout(&found, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    Some(stream)
}
