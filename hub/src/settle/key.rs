//! The sender's key: from a file or an environment variable, never from the command line itself.

use super::exit::SettleError;
use alloy::signers::local::PrivateKeySigner;
use std::path::Path;
use zeroize::Zeroizing;

/// Longest key file read, bytes.
const FILE_BYTES_MAX: u64 = 4096;

/// Why a literal is refused, for every option that could be mistaken for taking one.
pub(super) const LITERAL: &str = "a private key must not be on the command line: it stays in the shell's history and \
     every process list. Put it into a file of mode 0600 and use --key-file PATH, or into an environment variable and \
     use --key-env NAME. Treat a key that was typed here as leaked";

/// True for what looks like 32 bytes of hex.
fn is_literal(text: &str) -> bool {
    let digits = text.trim().strip_prefix("0x").unwrap_or(text.trim());
    digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Reads a key from a file that only its owner can read: 64 hex digits, with or without `0x`.
///
/// # Errors
/// [`SettleError::Usage`]; the key never appears in the text.
pub(super) fn from_file(path: &Path) -> Result<PrivateKeySigner, SettleError> {
    if path.to_str().is_some_and(is_literal) {
        return Err(SettleError::Usage(format!("--key-file: {LITERAL}")));
    }
    let shown = path.display();
    let unreadable = |error: std::io::Error| SettleError::Usage(format!("--key-file {shown}: {error}"));
    let meta = std::fs::metadata(path).map_err(unreadable)?;
    if meta.len() > FILE_BYTES_MAX {
        return Err(SettleError::Usage(format!(
            "--key-file {shown}: too large for a key"
        )));
    }
    require_private(path, &meta)?;
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(unreadable)?);
    parse(&text).ok_or_else(|| SettleError::Usage(format!("--key-file {shown}: expected 64 hex digits")))
}

#[cfg(unix)]
fn require_private(path: &Path, meta: &std::fs::Metadata) -> Result<(), SettleError> {
    use std::os::unix::fs::PermissionsExt as _;
    if meta.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(SettleError::Usage(format!(
        "--key-file {}: others may read it; `chmod 600` it first",
        path.display()
    )))
}

#[cfg(not(unix))]
fn require_private(_: &Path, _: &std::fs::Metadata) -> Result<(), SettleError> {
    Ok(())
}

/// Reads a key from the environment variable `name`.
///
/// # Errors
/// [`SettleError::Usage`]; the key never appears in the text.
pub(super) fn from_env(name: &str) -> Result<PrivateKeySigner, SettleError> {
    if is_literal(name) {
        return Err(SettleError::Usage(format!("--key-env: {LITERAL}")));
    }
    let text = std::env::var(name).map(Zeroizing::new);
    let text = text.map_err(|_| SettleError::Usage(format!("--key-env {name}: the variable is not set")))?;
    parse(&text).ok_or_else(|| SettleError::Usage(format!("--key-env {name}: expected 64 hex digits")))
}

fn parse(text: &str) -> Option<PrivateKeySigner> {
    is_literal(text).then(|| text.trim().parse().ok()).flatten()
}
