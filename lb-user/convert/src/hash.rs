//! Hashes and digests. The 32-bit ones are those of `hash-type`, so that a key gives the same number here and there.

use std::sync::Arc;

use aws_lc_rs::{digest, hmac};
use md5::{Digest, Md5};
use sockeye_balance::{Hash, HashFunction, HashSource, avalanche, hash};
use sockeye_sample::{Arg, Compiler, Converter, Scene, Value};

use crate::crypto::Operand;
use crate::operand::{self, bytes};

pub(crate) static TABLE: &[Converter] = &[
    Converter::new("crc32", |value, args, _| hash32(value, args, crc32fast::hash)),
    Converter::new("crc32c", |value, args, _| hash32(value, args, crc32c)),
    Converter::new("djb2", |value, args, _| hash32(value, args, |key| balanced(HashFunction::Djb2, key))),
    Converter::new("sdbm", |value, args, _| hash32(value, args, |key| balanced(HashFunction::Sdbm, key))),
    Converter::new("wt6", |value, args, _| hash32(value, args, |key| balanced(HashFunction::Wt6, key))),
    Converter::new("xxh32", |value, args, _| {
        // The low half of the seed.
        let seed = u32::try_from(seed(args) & u64::from(u32::MAX)).unwrap_or_default();
        Some(Value::Int(i64::from(twox_hash::XxHash32::oneshot(seed, &bytes(value)?))))
    }),
    Converter::new("xxh64", |value, args, _| {
        Some(Value::Int(twox_hash::XxHash64::oneshot(seed(args), &bytes(value)?).cast_signed()))
    }),
    Converter::new("xxh3", |value, args, _| {
        let hash = twox_hash::XxHash3_64::oneshot_with_seed(seed(args), &bytes(value)?);
        Some(Value::Int(hash.cast_signed()))
    }),
    Converter::new("sha1", |value, _, _| Some(digest_of(Algorithm::Sha1, &bytes(value)?))),
    Converter::new("sha2", run_digest).prepare(prepare_sha2),
    Converter::new("digest", run_digest).prepare(|args, _| {
        let algorithm = Algorithm::named(operand::text(args, 0)).ok_or(NO_ALGORITHM)?;
        args[0] = Arg::Prepared(Arc::new(algorithm));
        Ok(())
    }),
    Converter::new("hmac", run_hmac).prepare(prepare_hmac),
];

const NO_ALGORITHM: &str = "algorithm must be a valid OpenSSL message digest name.";

fn seed(args: &[Arg]) -> u64 {
    operand::int(args, 0).unwrap_or_default().cast_unsigned()
}

/// A hash, its bits spread by the avalanche if the argument says so.
fn hash32<'a>(value: Value<'a>, args: &'a [Arg], function: fn(&[u8]) -> u32) -> Option<Value<'a>> {
    let hash = function(&bytes(value)?);
    let spread = operand::int(args, 0).unwrap_or_default() != 0;
    Some(Value::Int(i64::from(if spread { avalanche(hash) } else { hash })))
}

fn balanced(function: HashFunction, key: &[u8]) -> u32 {
    // Where the key comes from matters to `hash` only for addresses.
    let source = HashSource::Uri { whole: false, len: 0, depth: 0, path_only: false };
    hash(&Hash { function, ..Hash::new(source) }, key)
}

/// The CRC of RFC 9260 (appendix A): Castagnoli's polynomial.
fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut index: u32 = 0;
        while index < 256 {
            let mut rest = index;
            let mut bit = 0;
            while bit < 8 {
                rest = if rest & 1 == 1 { rest >> 1 ^ 0x82f6_3b78 } else { rest >> 1 };
                bit += 1;
            }
            table[index as usize] = rest;
            index += 1;
        }
        table
    };
    !bytes.iter().fold(u32::MAX, |crc, byte| crc >> 8 ^ TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize])
}

/// A message digest.
#[derive(Debug, Clone, Copy)]
enum Algorithm {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
    Sha512To256,
    Sha3To256,
    Sha3To384,
    Sha3To512,
}

impl Algorithm {
    /// By the names that OpenSSL has for them, in any case.
    fn named(name: &[u8]) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        Some(match name.as_slice() {
            b"md5" | b"ssl3-md5" => Self::Md5,
            b"sha1" | b"sha-1" | b"ssl3-sha1" => Self::Sha1,
            b"sha224" | b"sha-224" | b"sha2-224" => Self::Sha224,
            b"sha256" | b"sha-256" | b"sha2-256" => Self::Sha256,
            b"sha384" | b"sha-384" | b"sha2-384" => Self::Sha384,
            b"sha512" | b"sha-512" | b"sha2-512" => Self::Sha512,
            b"sha512-256" | b"sha-512/256" | b"sha2-512/256" => Self::Sha512To256,
            b"sha3-256" => Self::Sha3To256,
            b"sha3-384" => Self::Sha3To384,
            b"sha3-512" => Self::Sha3To512,
            _ => return None,
        })
    }

    /// The implementation, of all but MD5.
    fn digest(self) -> Option<&'static digest::Algorithm> {
        Some(match self {
            Self::Md5 => return None,
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha224 => &digest::SHA224,
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
            Self::Sha512To256 => &digest::SHA512_256,
            Self::Sha3To256 => &digest::SHA3_256,
            Self::Sha3To384 => &digest::SHA3_384,
            Self::Sha3To512 => &digest::SHA3_512,
        })
    }

    /// The implementation with a key. `None` for MD5, and for those without one.
    fn hmac(self) -> Option<hmac::Algorithm> {
        Some(match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha224 => hmac::HMAC_SHA224,
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha384 => hmac::HMAC_SHA384,
            Self::Sha512 => hmac::HMAC_SHA512,
            Self::Md5 | Self::Sha512To256 | Self::Sha3To256 | Self::Sha3To384 | Self::Sha3To512 => {
                return None;
            }
        })
    }
}

fn digest_of<'a>(algorithm: Algorithm, bytes: &[u8]) -> Value<'a> {
    match algorithm.digest() {
        Some(implementation) => Value::binary(digest::digest(implementation, bytes).as_ref()),
        None => Value::binary(Md5::digest(bytes).as_slice()),
    }
}

fn run_digest<'a>(value: Value<'a>, args: &'a [Arg], _: &Scene<'a>) -> Option<Value<'a>> {
    Some(digest_of(*args.first()?.prepared()?, &bytes(value)?))
}

fn prepare_sha2(args: &mut [Arg], _: &mut Compiler<'_>) -> Result<(), String> {
    let algorithm = match operand::int(args, 0) {
        Some(224) => Algorithm::Sha224,
        None | Some(256) => Algorithm::Sha256,
        Some(384) => Algorithm::Sha384,
        Some(512) => Algorithm::Sha512,
        Some(bits) => return Err(format!("Unsupported number of bits: '{bits}'")),
    };
    args[0] = Arg::Prepared(Arc::new(algorithm));
    Ok(())
}

/// Arguments of `hmac`.
#[derive(Debug)]
struct Keyed {
    algorithm: Algorithm,
    key: Operand,
}

fn prepare_hmac(args: &mut [Arg], compiler: &mut Compiler<'_>) -> Result<(), String> {
    let algorithm = Algorithm::named(operand::text(args, 0)).ok_or(NO_ALGORITHM)?;
    if !matches!(algorithm, Algorithm::Md5) && algorithm.hmac().is_none() {
        return Err(format!("no keyed {algorithm:?} in Sockeye"));
    }
    let key = Operand::base64(args.get(1), "key", compiler)?;
    args[0] = Arg::Prepared(Arc::new(Keyed { algorithm, key }));
    Ok(())
}

fn run_hmac<'a>(value: Value<'a>, args: &'a [Arg], scene: &Scene<'a>) -> Option<Value<'a>> {
    let keyed: &Keyed = args.first()?.prepared()?;
    let key = keyed.key.decoded(scene)?;
    let text = bytes(value)?;
    Some(match keyed.algorithm.hmac() {
        Some(algorithm) => Value::binary(hmac::sign(&hmac::Key::new(algorithm, &key), &text).as_ref()),
        None => Value::binary(hmac_md5(&key, &text)),
    })
}

/// RFC 2104, for the digest that the cryptographic library leaves out.
fn hmac_md5(key: &[u8], text: &[u8]) -> Vec<u8> {
    const BLOCK_BYTES: usize = 64;
    let mut block = [0; BLOCK_BYTES];
    if key.len() > BLOCK_BYTES {
        let digest = Md5::digest(key);
        block[..digest.len()].copy_from_slice(&digest);
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = Md5::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(text).finalize();
    Md5::new().chain_update(block.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize().to_vec()
}
