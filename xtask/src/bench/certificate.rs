//! The certificate that every proxy shows in a run: ECDSA P-256, signed by itself, made by OpenSSL.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// Leaves `server.crt` and `server.key` in a directory, and `server.pem` with both, as HAProxy has it.
pub(crate) fn make(directory: &Path) -> Result<()> {
    let output = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "30",
        ])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .args(["-keyout", "server.key", "-out", "server.crt"])
        .current_dir(directory)
        .output()
        .context("openssl does not start")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "openssl makes no certificate: {}", said.trim());
    let both = ["server.crt", "server.key"].map(|file| fs::read(directory.join(file)));
    let [certificate, key] = both;
    fs::write(directory.join("server.pem"), [certificate?, key?].concat())?;
    Ok(())
}
