//! What can be wrong with a file, in HAProxy's words where it has some, with the remedy where one is known.

use std::io;
use std::path::PathBuf;

/// Why a file is of no use. `Display` names the file; the caller adds the line that asked for it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("unable to stat SSL certificate from file '{}' : {}.", .0.display(), plain(.1))]
    Missing(PathBuf, io::Error),
    #[error("cannot open the file '{}' ({}).", .0.display(), plain(.1))]
    Unreadable(PathBuf, io::Error),
    #[error("the file '{}' is larger than {max} bytes, no certificate is.", .0.display(), max = .1)]
    TooLarge(PathBuf, u64),
    #[error("unable to load certificate from file '{}': no start line. {hint}", .0.display(), hint = .1)]
    NoCertificate(PathBuf, &'static str),
    #[error("unable to load certificate from file '{}': {why}.", .0.display(), why = .1)]
    Pem(PathBuf, PemFault),
    #[error("No Private Key found in '{}'. Append the key to the certificate's file or put it there.", .0.display())]
    NoKey(PathBuf),
    #[error("the private key in '{file}' is encrypted with a passphrase, which nobody could type here. Decrypt it with: \
             openssl pkey -in {file} -out {file}.key", file = .0.display())]
    Encrypted(PathBuf),
    #[error("unable to load private key from file '{}': {why}.", .0.display(), why = .1)]
    Key(PathBuf, KeyFault),
    #[error("inconsistencies between private key and certificate loaded '{}'. The key's public half is not the one in the \
             first certificate: put the matching key there, or the leaf certificate first.", .0.display())]
    Mismatch(PathBuf),
    #[error("unable to load SSL certificate into SSL Context '{}': ee key too small. It has {bits} bits, and at least {least} \
             are needed: issue the certificate anew with a larger key.", .0.display(), bits = .1, least = super::certificate::RSA_BITS_MIN)]
    Weak(PathBuf, usize),
    #[error("unable to load SSL certificate into SSL Context '{}': the certificate cannot be read as X.509: {why}.", .0.display(), why = .1)]
    X509(PathBuf, &'static str),
    #[error("'{}' is present and activates OCSP but it is impossible to compute the OCSP certificate ID (maybe the issuer \
             could not be found). Append the issuer's certificate, or put it into '{issuer}'.", .0.display(), issuer = .1)]
    NoIssuer(PathBuf, String),
    #[error("'{}' has an OCSP auto-update set to 'on' but an error occurred (maybe the OCSP URI or the issuer could not be \
             found)'. Append the issuer's certificate, or put it into '{}.issuer'.", .0.display(), .0.display())]
    NoUpdate(PathBuf),
    #[error("'{file}' is already defined with incompatible parameters: different parameter 'ocsp-update' : previously '{was}' \
             vs '{is}'", file = .0.display(), was = .1, is = .2)]
    Contradiction(PathBuf, &'static str, &'static str),
    #[error(
        "unable to stat SSL certificate from file '{0}' : No such file or directory. A crt-store must load it under that \
             name, before the line that uses it."
    )]
    NotInStore(String),
}

/// What is wrong with the text of a PEM file, as OpenSSL says it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PemFault {
    #[error("bad end line: '{0}' is missing, the file is cut off")]
    NoEnd(String),
    #[error("bad start line '{0}'")]
    BadStart(String),
    #[error("bad base64 decode")]
    Base64,
    #[error("section too large")]
    TooLarge,
}

/// Why a key that was found is not usable.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyFault {
    #[error(
        "it is neither RSA (2048 to 8192 bits), ECDSA (P-256, P-384, P-521) nor Ed25519, or it is damaged"
    )]
    Unknown,
    #[error(
        "a DSA key, which TLS 1.2 and later no longer use. Issue the certificate anew with an RSA or ECDSA key"
    )]
    Dsa,
}

/// The system's words without Rust's number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}
