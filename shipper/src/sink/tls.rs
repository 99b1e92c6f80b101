//! TLS of a connection: rustls with ring, certificates always checked.

use std::sync::Arc;

use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use waybill_crds::{SecretKey, Tls};

use super::{Failure, Secrets};

/// The secrets that a connection needs.
pub fn keys(tls: Option<&Tls>) -> impl Iterator<Item = &SecretKey> {
    tls.into_iter().flat_map(|tls| tls.ca.iter().chain(&tls.certificate).chain(&tls.private_key))
}

/// Reads the authorities, and the client's certificate and key if there are any. Without authorities of its own a connection trusts
/// those of the image or host.
pub fn client_config(tls: Option<&Tls>, secrets: &Secrets) -> Result<ClientConfig, Failure> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Failure::held(format!("TLS cannot be used: {e}"), "report this with the agent's version"))?
        .with_root_certificates(roots(tls.and_then(|t| t.ca.as_ref()), secrets)?);
    let Some((certificate, private_key)) = tls.and_then(|t| t.certificate.as_ref().zip(t.private_key.as_ref())) else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates(certificate, secrets)?;
    let key = key(private_key, secrets)?;
    builder.with_client_auth_cert(chain, key).map_err(|e| {
        let what = format!("{} and {} do not go together: {e}", name(certificate), name(private_key));
        Failure::held(what, "put a certificate there and the key that it was made for")
    })
}

/// The authorities as DER, from a secret or from the host.
pub fn authorities(ca: Option<&SecretKey>, secrets: &Secrets) -> Result<Vec<CertificateDer<'static>>, Failure> {
    match ca {
        Some(ca) => certificates(ca, secrets),
        None => Ok(rustls_native_certs::load_native_certs().certs),
    }
}

/// Reads a private key.
fn key(private_key: &SecretKey, secrets: &Secrets) -> Result<PrivateKeyDer<'static>, Failure> {
    parse_key(secrets.read(private_key)?.bytes(), private_key)
}

/// The private key that a PEM text holds, which was read from there.
pub fn parse_key(pem: &[u8], private_key: &SecretKey) -> Result<PrivateKeyDer<'static>, Failure> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| {
        let what = format!("{}: holds no private key: {}", name(private_key), fault(&error));
        Failure::held(what, "put an unencrypted PEM key there, with its line breaks")
    })
}

/// What is wrong with a PEM file, in words of our own: the library's would show the line, and a key without line breaks is one line.
fn fault(error: &PemError) -> &'static str {
    match error {
        PemError::NoItemsFound => "there is nothing of that kind in it",
        PemError::IllegalSectionStart { .. } => "a BEGIN line does not end where it should",
        PemError::MissingSectionEnd { .. } => "an END line is missing",
        PemError::Base64Decode(_) => "it is not base64",
        _ => "it cannot be read",
    }
}

fn roots(ca: Option<&SecretKey>, secrets: &Secrets) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    let (_added, broken) = roots.add_parsable_certificates(authorities(ca, secrets)?);
    match ca {
        Some(ca) if broken > 0 || roots.is_empty() => {
            let what = format!("{}: {broken} of its certificates cannot be read", name(ca));
            Err(Failure::held(what, "put the authorities' certificates there, PEM"))
        }
        None if roots.is_empty() => Err(Failure::held(
            "no certificate authorities are installed here",
            "install ca-certificates, or name the server's authority in tls.ca",
        )),
        _ => Ok(roots),
    }
}

fn certificates(key: &SecretKey, secrets: &Secrets) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let pem = secrets.read(key)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.bytes()).collect();
    match found {
        Ok(list) if !list.is_empty() => Ok(list),
        Ok(_) => Err(Failure::held(format!("{}: holds no certificate", name(key)), "put a PEM certificate there")),
        Err(error) => {
            let what = format!("{}: is damaged: {}", name(key), fault(&error));
            Err(Failure::held(what, "put a PEM certificate there, with its line breaks"))
        }
    }
}

fn name(key: &SecretKey) -> String {
    format!("secret {}, key {}", key.secret, key.key)
}

/// What an error of a handshake means. `server` is its address as the policy has it.
pub fn explain(error: &rustls::Error, server: &str) -> Failure {
    use rustls::{AlertDescription as Alert, Error};
    let held = |what: String, remedy: &str| Failure::held(format!("{server}: {what}"), remedy);
    match error {
        Error::InvalidCertificate(reason) => match reason {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                held("its certificate has expired".into(), "renew the server's certificate, or set this node's clock")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                held("its certificate is not valid yet".into(), "set the clock of this node or of the server")
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => held(
                "its certificate is for another host name".into(),
                "write the name that is in the certificate, or give the server one for this name",
            ),
            // The signature is bad where an authority of the same name has another key.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => held(
                "its certificate was signed by an unknown authority".into(),
                "name the authority's certificate in tls.ca",
            ),
            other => held(format!("its certificate is refused: {other}"), "look at the server's certificate"),
        },
        Error::AlertReceived(alert) => match alert {
            Alert::CertificateRequired | Alert::HandshakeFailure | Alert::NoCertificate => held(
                format!("it ended the handshake ({alert:?})"),
                "if it asks for a client certificate, name one in tls.certificate and tls.privateKey",
            ),
            Alert::BadCertificate
            | Alert::UnknownCA
            | Alert::DecryptError
            | Alert::CertificateExpired
            | Alert::CertificateRevoked
            | Alert::CertificateUnknown
            | Alert::UnsupportedCertificate
            | Alert::AccessDenied => held(
                format!("it refuses the client certificate ({alert:?})"),
                "put a certificate into tls.certificate that the server's authority signed",
            ),
            other => Failure::again(format!("{server}: the server ended TLS ({other:?})")),
        },
        Error::InvalidMessage(_) => held(
            "it does not speak TLS on this port".into(),
            "correct the port, or leave TLS out if the server has none",
        ),
        other => Failure::again(format!("{server}: TLS failed: {other}")),
    }
}

/// Finds the TLS error inside another, however deep.
pub fn find<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // An io::Error hides what it wraps from `source`.
        let inner = error.downcast_ref::<std::io::Error>().and_then(|e| e.get_ref());
        if let Some(found) = inner.and_then(|e| find(e)) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_key_is_described_and_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let secrets = Secrets::new(Some(dir.path().to_owned()));
        std::fs::create_dir(dir.path().join("tls")).unwrap();
        let file = SecretKey { secret: "tls".into(), key: "tls.key".into() };
        for (text, words) in [
            // The line breaks were lost on the way.
            ("-----BEGIN PRIVATE KEY----- SECRETSECRET -----END PRIVATE KEY-----", "an END line is missing"),
            ("-----BEGIN SECRETSECRET\nSECRETSECRET\n", "a BEGIN line"),
            ("-----BEGIN PRIVATE KEY-----\n!SECRETSECRET!\n-----END PRIVATE KEY-----\n", "not base64"),
            ("SECRETSECRET", "nothing of that kind"),
        ] {
            std::fs::write(dir.path().join("tls/tls.key"), text).unwrap();
            let mut said = key(&file, &secrets).unwrap_err().to_string();
            assert!(said.contains(words) && said.contains("secret tls, key tls.key"), "{said}");
            said += &authorities(Some(&file), &secrets).unwrap_err().to_string();
            assert!(!said.contains("SECRET") && !said.contains("83, 69, 67, 82"), "{said}");
        }
    }
}
