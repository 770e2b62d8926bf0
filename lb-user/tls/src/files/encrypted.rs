//! Keys with a passphrase: PKCS #8 under PBES2 (RFC 8018), as OpenSSL 1.1 and later write them. Manual 5.1 `ca-sign-pass`.

use std::num::NonZeroU32;

use aws_lc_rs::cipher::{
    AES_128, AES_256, AES_CBC_IV_LEN, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2;
use base64ct::{Base64, Encoding};
use memchr::memmem;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::der::{INTEGER, OCTET_STRING, OID, Reader, SEQUENCE};

const BEGIN: &[u8] = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
const END: &[u8] = b"-----END ENCRYPTED PRIVATE KEY-----";

/// Rounds at most: OpenSSL writes 2,048, and ten million take seconds.
const ROUNDS_MAX: u64 = 10_000_000;

const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d];
const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0c];
const AES_128_CBC: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x02];
const AES_256_CBC: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a];
/// hmacWithSHA…; the last byte is 7 (SHA-1), 9 (256), 10 (384) or 11 (512).
const HMAC: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02];

/// The first encrypted key in `pem`, decrypted. `None`: there is none of the kind, or the passphrase is another.
pub(crate) fn key(pem: &[u8], pass: &str) -> Option<PrivateKeyDer<'static>> {
    let from = memmem::find(pem, BEGIN)? + BEGIN.len();
    let to = from + memmem::find(&pem[from..], END)?;
    let text: String = pem[from..to]
        .iter()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|byte| char::from(*byte))
        .collect();
    let plain = decrypt(&Base64::decode_vec(&text).ok()?, pass.as_bytes())?;
    Some(PrivatePkcs8KeyDer::from(plain).into())
}

fn decrypt(der: &[u8], pass: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Reader(Reader(der).take(SEQUENCE)?);
    let mut scheme = Reader(whole.take(SEQUENCE)?);
    let sealed = whole.take(OCTET_STRING)?;
    if scheme.take(OID)? != PBES2 {
        return None;
    }
    let mut parameters = Reader(scheme.take(SEQUENCE)?);
    let mut derivation = Reader(parameters.take(SEQUENCE)?);
    let mut cipher = Reader(parameters.take(SEQUENCE)?);
    let (algorithm, length) = match cipher.take(OID)? {
        AES_128_CBC => (&AES_128, 16),
        AES_256_CBC => (&AES_256, 32),
        _ => return None,
    };
    let iv: [u8; AES_CBC_IV_LEN] = cipher.take(OCTET_STRING)?.try_into().ok()?;
    if derivation.take(OID)? != PBKDF2 {
        return None;
    }
    let mut secret = [0; 32];
    derive(Reader(derivation.take(SEQUENCE)?), pass, &mut secret[..length])?;
    let key = UnboundCipherKey::new(algorithm, &secret[..length]).ok()?;
    let mut plain = sealed.to_vec();
    let context = DecryptionContext::Iv128(FixedLength::from(iv));
    Some(PaddedBlockDecryptingKey::cbc_pkcs7(key).ok()?.decrypt(&mut plain, context).ok()?.to_vec())
}

fn derive(mut parameters: Reader<'_>, pass: &[u8], secret: &mut [u8]) -> Option<()> {
    let salt = parameters.take(OCTET_STRING)?;
    let rounds = parameters.take(INTEGER)?;
    let rounds =
        rounds.iter().try_fold(0u64, |sum, byte| sum.checked_mul(256)?.checked_add(u64::from(*byte)))?;
    let rounds = NonZeroU32::new(u32::try_from(rounds.min(ROUNDS_MAX + 1)).ok()?)?;
    if u64::from(rounds.get()) > ROUNDS_MAX {
        return None;
    }
    if parameters.peek() == Some(INTEGER) {
        parameters.take(INTEGER)?;
    }
    let function = match parameters.take(SEQUENCE) {
        Some(content) => Reader(content).take(OID)?.strip_prefix(HMAC)?,
        None => &[7],
    };
    let algorithm = match function {
        [7] => pbkdf2::PBKDF2_HMAC_SHA1,
        [9] => pbkdf2::PBKDF2_HMAC_SHA256,
        [10] => pbkdf2::PBKDF2_HMAC_SHA384,
        [11] => pbkdf2::PBKDF2_HMAC_SHA512,
        _ => return None,
    };
    pbkdf2::derive(algorithm, rounds, salt, pass, secret);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passphrases() {
        let pem = include_bytes!("../../tests/data/ca-encrypted.key");
        let plain = key(pem, "secret").expect("the right one");
        assert!(rustls::crypto::aws_lc_rs::sign::any_supported_type(&plain).is_ok());
        assert!(
            key(pem, "wrong")
                .is_none_or(|key| rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).is_err())
        );
        assert!(key(b"-----BEGIN ENCRYPTED PRIVATE KEY-----", "x").is_none());
        for length in 0..150 {
            let from = pem.len().min(38 + length);
            let cut = [&pem[..from], END].concat();
            assert!(key(&cut, "secret").is_none(), "{length}");
        }
    }
}
