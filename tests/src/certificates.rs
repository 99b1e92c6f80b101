//! Certificates for servers and clients of a test, made with the program openssl.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// An authority, and what it signs, in a folder.
#[derive(Debug, Clone)]
pub struct Authority {
    folder: PathBuf,
}

/// A certificate with its key.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Key, certificate and authority in one file, PEM, as Java takes them.
    pub bundle: PathBuf,
}

impl Authority {
    /// Makes an authority in a new folder.
    pub fn new(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let new = Self { folder: folder.to_owned() };
        openssl(
            folder,
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=authority \
             -keyout ca.key -out ca.crt",
        )?;
        Ok(new)
    }

    /// The authority's own certificate.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// Signs a certificate for these names, such as `IP:127.0.0.1,DNS:localhost`.
    pub fn sign(&self, name: &str, names: &str) -> Result<Certificate> {
        self.sign_for(name, names, 2)
    }

    /// Signs a certificate that is valid no more.
    pub fn sign_expired(&self, name: &str, names: &str) -> Result<Certificate> {
        self.sign_for(name, names, -1)
    }

    fn sign_for(&self, name: &str, names: &str, days: i32) -> Result<Certificate> {
        fs::write(self.folder.join(format!("{name}.ext")), format!("subjectAltName={names}\n"))?;
        openssl(
            &self.folder,
            &format!(
                "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN={name} -keyout {name}.key \
                 -out {name}.csr"
            ),
        )?;
        openssl(
            &self.folder,
            &format!(
                "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days {days} -extfile {name}.ext \
                 -out {name}.crt"
            ),
        )?;
        let at = |end: &str| self.folder.join(format!("{name}.{end}"));
        let made = Certificate { certificate: at("crt"), key: at("key"), bundle: at("bundle.pem") };
        let parts = [&made.key, &made.certificate, &self.certificate()].map(fs::read);
        fs::write(&made.bundle, parts.into_iter().collect::<Result<Vec<_>, _>>()?.concat())?;
        Ok(made)
    }
}

fn openssl(folder: &Path, words: &str) -> Result<()> {
    let done = Command::new("openssl").args(words.split_whitespace()).current_dir(folder).output();
    let done = done.context("failed to start openssl")?;
    ensure!(done.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}
