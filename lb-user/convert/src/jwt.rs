//! `jwt_header_query`, `jwt_payload_query`, `jwt_verify`, `jwt_verify_cert`: JSON Web Tokens in their compact form (RFC 7515).
//!
//! Public keys are read when the file is: one that is named in the file is found at run time too, by its path in a variable.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use sockeye_sample::{Arg, Compiler, Converter, Scene, Value};

use crate::crypto::{Alphabet, Operand, decode_base64};
use crate::json::{Query, prepare_optional_query};

pub(crate) static TABLE: &[Converter] = &[
    Converter::new("jwt_header_query", |value, args, _| query(&value, args, 0))
        .prepare(|args, _| prepare_optional_query(args)),
    Converter::new("jwt_payload_query", |value, args, _| query(&value, args, 1))
        .prepare(|args, _| prepare_optional_query(args)),
    Converter::new("jwt_verify", verify).prepare(|args, compiler| prepare(args, compiler, false)),
    Converter::new("jwt_verify_cert", verify).prepare(|args, compiler| prepare(args, compiler, true)),
];

/// Results of `jwt_verify` (manual 7.3.1).
const FAILURE: i64 = 0;
const SUCCESS: i64 = 1;
const UNKNOWN_ALGORITHM: i64 = -1;
const INVALID_TOKEN: i64 = -3;
const UNKNOWN_CERTIFICATE: i64 = -5;

/// A file with one key is smaller; this keeps `/dev/zero` out.
const KEY_FILE_BYTES_MAX: u64 = 1 << 20;

/// The part of the token, decoded, or what the path leads to in it.
fn query<'a>(token: &Value<'a>, args: &'a [Arg], part: usize) -> Option<Value<'a>> {
    let encoded = token.bytes()?.split(|byte| *byte == b'.').nth(part)?;
    let decoded = decode_base64(encoded, Alphabet::Url)?;
    match args.first().and_then(Arg::prepared::<Query>) {
        Some(query) => query.find(&decoded).map(Value::into_owned),
        None => Some(Value::string(decoded)),
    }
}

/// The algorithms of RFC 7518 section 3.1.
#[derive(Debug, Clone, Copy)]
enum Algorithm {
    None,
    Hmac(hmac::Algorithm),
    /// Index into [`PUBLIC_KEY_ALGORITHMS`].
    PublicKey(usize),
}

/// ES256 is bound to its curve, ES384 and ES512 too; HAProxy takes any curve with any hash, which the RFC forbids.
static PUBLIC_KEY_ALGORITHMS: [(&[u8], &'static dyn VerificationAlgorithm); 9] = [
    (b"RS256", &signature::RSA_PKCS1_2048_8192_SHA256),
    (b"RS384", &signature::RSA_PKCS1_2048_8192_SHA384),
    (b"RS512", &signature::RSA_PKCS1_2048_8192_SHA512),
    (b"PS256", &signature::RSA_PSS_2048_8192_SHA256),
    (b"PS384", &signature::RSA_PSS_2048_8192_SHA384),
    (b"PS512", &signature::RSA_PSS_2048_8192_SHA512),
    (b"ES256", &signature::ECDSA_P256_SHA256_FIXED),
    (b"ES384", &signature::ECDSA_P384_SHA384_FIXED),
    (b"ES512", &signature::ECDSA_P521_SHA512_FIXED),
];

impl Algorithm {
    fn of_name(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"none" => Self::None,
            b"HS256" => Self::Hmac(hmac::HMAC_SHA256),
            b"HS384" => Self::Hmac(hmac::HMAC_SHA384),
            b"HS512" => Self::Hmac(hmac::HMAC_SHA512),
            _ => Self::PublicKey(PUBLIC_KEY_ALGORITHMS.iter().position(|(known, _)| *known == name)?),
        })
    }
}

/// A public key, parsed for every algorithm that it may be used with.
#[derive(Debug)]
struct PublicKey {
    parsed: [Option<ParsedPublicKey>; PUBLIC_KEY_ALGORITHMS.len()],
}

impl PublicKey {
    /// # Errors
    /// A message without the file's name.
    fn read(path: &Path, must_be_certificate: bool) -> Result<Self, String> {
        let size = std::fs::metadata(path).map_err(|error| error.to_string())?;
        if !size.is_file() || size.len() > KEY_FILE_BYTES_MAX {
            return Err("not a file of a reasonable size".to_owned());
        }
        let text = std::fs::read(path).map_err(|error| error.to_string())?;
        let der = pem::public_key(&text, must_be_certificate)?;
        let parsed = PUBLIC_KEY_ALGORITHMS.map(|(_, algorithm)| ParsedPublicKey::new(algorithm, &der).ok());
        match parsed.iter().any(Option::is_some) {
            true => Ok(Self { parsed }),
            false => Err("neither an RSA key nor one of the curves P-256, P-384, P-521".to_owned()),
        }
    }
}

/// Every key that a configuration named, by its path.
type PublicKeys = BTreeMap<Box<[u8]>, Arc<PublicKey>>;
static PUBLIC_KEYS: LazyLock<RwLock<PublicKeys>> = LazyLock::new(RwLock::default);

/// Both arguments.
#[derive(Debug)]
struct Verifier {
    algorithm: NamedAlgorithm,
    key: Key,
}

#[derive(Debug)]
enum NamedAlgorithm {
    Known(Algorithm),
    Variable(Operand),
}

#[derive(Debug)]
enum Key {
    /// A secret or a path, as the algorithm says, and the public key if there is one at that path.
    Constant {
        text: Box<[u8]>,
        public: Option<Arc<PublicKey>>,
    },
    Variable(Operand),
    /// An empty text: the converter gives nothing.
    Absent,
}

fn prepare(args: &mut [Arg], compiler: &mut Compiler<'_>, must_be_certificate: bool) -> Result<(), String> {
    let algorithm = match args.first().and_then(|arg| Operand::text(arg, compiler)) {
        Some(Operand::Constant(name)) => Algorithm::of_name(&name).map(NamedAlgorithm::Known),
        Some(variable) => Some(NamedAlgorithm::Variable(variable)),
        None => None,
    };
    let Some(algorithm) = algorithm else {
        let name = args.first().and_then(Arg::str).unwrap_or_default();
        return Err(format!("unknown JWT algorithm: {}.", String::from_utf8_lossy(name)));
    };
    let key = match args.get(1).and_then(|arg| Operand::text(arg, compiler)) {
        None => Key::Absent,
        Some(Operand::Constant(text)) => {
            let public = public_key(&text, &algorithm, must_be_certificate, compiler.warnings);
            Key::Constant { text, public }
        }
        Some(variable) => Key::Variable(variable),
    };
    args[0] = Arg::Prepared(Arc::new(Verifier { algorithm, key }));
    Ok(())
}

/// Reads the key at the path. A file that cannot be read is a warning where it must be one, as it makes every token
/// invalid; where the algorithm is in a variable the text may be a secret.
fn public_key(
    path: &[u8],
    algorithm: &NamedAlgorithm,
    must_be_certificate: bool,
    warnings: &mut Vec<String>,
) -> Option<Arc<PublicKey>> {
    let must_be_key = match algorithm {
        NamedAlgorithm::Known(Algorithm::None | Algorithm::Hmac(_)) => return None,
        NamedAlgorithm::Known(Algorithm::PublicKey(_)) => true,
        NamedAlgorithm::Variable(_) => false,
    };
    let name = str::from_utf8(path).ok()?;
    match PublicKey::read(Path::new(name), must_be_certificate) {
        Ok(key) => {
            let key = Arc::new(key);
            let mut keys = PUBLIC_KEYS.write().unwrap_or_else(PoisonError::into_inner);
            keys.insert(path.into(), Arc::clone(&key));
            Some(key)
        }
        Err(problem) => {
            if must_be_key {
                warnings.push(format!("no public key in '{name}': {problem}; no token will be valid."));
            }
            None
        }
    }
}

fn verify<'a>(value: Value<'a>, args: &'a [Arg], scene: &Scene<'a>) -> Option<Value<'a>> {
    let verifier = args.first()?.prepared::<Verifier>()?;
    let token = Token::split(value.bytes()?);
    let algorithm = match &verifier.algorithm {
        NamedAlgorithm::Known(algorithm) => Some(*algorithm),
        NamedAlgorithm::Variable(variable) => Algorithm::of_name(&variable.read(scene)?),
    };
    let variable;
    let (text, public) = match &verifier.key {
        Key::Constant { text, public } => (text, public.clone()),
        Key::Variable(operand) => {
            variable = operand.read(scene).filter(|text| !text.is_empty())?;
            (&variable, PUBLIC_KEYS.read().unwrap_or_else(PoisonError::into_inner).get(&variable).cloned())
        }
        Key::Absent => return None,
    };
    let result = match algorithm {
        None => UNKNOWN_ALGORITHM,
        Some(Algorithm::None) => token.unsigned(),
        Some(Algorithm::Hmac(algorithm)) => token.signed(|message, signature| {
            Some(hmac::verify(&hmac::Key::new(algorithm, text), message, signature).is_ok())
        }),
        Some(Algorithm::PublicKey(index)) => token.signed(|message, signature| {
            let key = public?;
            Some(key.parsed[index].as_ref().is_some_and(|key| key.verify_sig(message, signature).is_ok()))
        }),
    };
    Some(Value::Int(result))
}

/// The parts of a token.
struct Token<'a> {
    /// Header, dot and payload.
    message: &'a [u8],
    /// `None` for a token of two parts.
    signature: Option<&'a [u8]>,
    /// Two or three parts.
    valid: bool,
}

impl<'a> Token<'a> {
    fn split(token: &'a [u8]) -> Self {
        let mut dots = memchr::memchr_iter(b'.', token);
        let (first, second, third) = (dots.next(), dots.next(), dots.next());
        let message = &token[..second.unwrap_or(token.len())];
        let signature = second.map(|dot| &token[dot + 1..]);
        Self { message, signature, valid: first.is_some() && third.is_none() }
    }

    /// With algorithm `none`.
    fn unsigned(&self) -> i64 {
        match self.signature {
            _ if !self.valid => INVALID_TOKEN,
            None | Some([]) => SUCCESS,
            Some(_) => FAILURE,
        }
    }

    /// `verify` says `None` if there is no key.
    fn signed(&self, verify: impl FnOnce(&[u8], &[u8]) -> Option<bool>) -> i64 {
        let Some(encoded) = self.signature.filter(|signature| self.valid && !signature.is_empty()) else {
            return INVALID_TOKEN;
        };
        // Padding has no place in a token (RFC 7515 section 2), but does not make it unreadable.
        let padded = encoded.contains(&b'=');
        let Some(signature) = decode_base64(encoded, Alphabet::Url).or_else(|| padded.then(Vec::new)) else {
            return INVALID_TOKEN;
        };
        match verify(self.message, &signature) {
            None => UNKNOWN_CERTIFICATE,
            Some(valid) if valid && !padded => SUCCESS,
            Some(_) => FAILURE,
        }
    }
}

/// Public keys in PEM files (RFC 7468).
mod pem {
    use super::{Alphabet, decode_base64};

    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;

    /// The DER form of the first key in `text`: a SubjectPublicKeyInfo, a PKCS#1 RSA key, or the key of a certificate.
    pub(super) fn public_key(text: &[u8], must_be_certificate: bool) -> Result<Vec<u8>, String> {
        let text = str::from_utf8(text).map_err(|_| "not a PEM file".to_owned())?;
        let mut rest = text;
        while let Some((_, after)) = rest.split_once("-----BEGIN ") {
            let (label, after) =
                after.split_once("-----").ok_or("a PEM block does not begin as it should")?;
            let (body, after) =
                after.split_once(&format!("-----END {label}-----")).ok_or("a PEM block does not end")?;
            rest = after;
            let wanted = label == "CERTIFICATE"
                || !must_be_certificate && matches!(label, "PUBLIC KEY" | "RSA PUBLIC KEY");
            if wanted {
                let digits: Vec<u8> = body.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
                let der = decode_base64(&digits, Alphabet::Standard).ok_or("not base64")?;
                return match label {
                    "CERTIFICATE" => key_of_certificate(&der).ok_or_else(|| "not a certificate".to_owned()),
                    _ => Ok(der),
                };
            }
        }
        Err(if must_be_certificate { "no certificate in it" } else { "no public key in it" }.to_owned())
    }

    /// RFC 5280 section 4.1: version, serial number, signature, issuer, validity and subject stand before the key.
    fn key_of_certificate(mut der: &[u8]) -> Option<Vec<u8>> {
        let (mut certificate, _) = element(&mut der, Some(SEQUENCE))?;
        let (mut fields, _) = element(&mut certificate, Some(SEQUENCE))?;
        if fields.first() == Some(&VERSION) {
            element(&mut fields, None)?;
        }
        for _ in 0..5 {
            element(&mut fields, None)?;
        }
        element(&mut fields, Some(SEQUENCE)).map(|(_, whole)| whole.to_vec())
    }

    /// Takes one element: its content, and the whole of it.
    fn element<'a>(der: &mut &'a [u8], tag: Option<u8>) -> Option<(&'a [u8], &'a [u8])> {
        let whole = *der;
        let [found, length, ..] = whole else { return None };
        if tag.is_some_and(|tag| tag != *found) {
            return None;
        }
        let (header, length) = match length {
            0..=0x7f => (2, usize::from(*length)),
            0x81..=0x84 => {
                let count = usize::from(length & 0x7f);
                let bytes = whole.get(2..2 + count)?;
                (2 + count, bytes.iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte)))
            }
            _ => return None,
        };
        let end = header.checked_add(length)?;
        let content = whole.get(header..end)?;
        *der = &whole[end..];
        Some((content, &whole[..end]))
    }
}
