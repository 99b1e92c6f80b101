//! A certificate authority of a test's own, by the openssl program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// An authority, with what it signed in one folder: `NAME.pem`, `NAME.key`, and `NAME.bundle.pem` with both and the authority.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
}

impl Authority {
    /// A new authority.
    pub fn new(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let it = Self { folder: folder.to_owned() };
        let make =
            ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"];
        it.openssl(&make, &["-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test authority"])?;
        Ok(it)
    }

    /// Its own certificate.
    pub fn certificate(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// A file of the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Signs a certificate for `CN=name` with these alternative names, such as `DNS:localhost,IP:127.0.0.1`.
    pub fn sign(&self, name: &str, names: &str) -> Result<()> {
        let (key, request, certificate) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.pem"));
        let make = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        self.openssl(&make, &["-keyout", &key, "-out", &request, "-subj", &format!("/CN={name}")])?;
        let extensions = self.path(&format!("{name}.ext"));
        fs::write(&extensions, format!("subjectAltName={names}\n"))?;
        let sign = ["x509", "-req", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30"];
        let extensions = extensions.display().to_string();
        self.openssl(&sign, &["-in", &request, "-out", &certificate, "-extfile", &extensions])?;
        let mut bundle = Vec::new();
        for part in [&key, &certificate, &"ca.pem".to_owned()] {
            bundle.extend(fs::read(self.path(part))?);
        }
        fs::write(self.path(&format!("{name}.bundle.pem")), bundle)?;
        Ok(())
    }

    fn openssl(&self, first: &[&str], rest: &[&str]) -> Result<()> {
        let mut command = Command::new("openssl");
        command.args(first).args(rest).current_dir(&self.folder).stdin(Stdio::null());
        let done = command.output().context("failed to start openssl")?;
        ensure!(done.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&done.stderr));
        Ok(())
    }
}
