//! `aes_gcm_enc`, `aes_gcm_dec`, `aes_cbc_enc`, `aes_cbc_dec`, and base64 for the keys of all who need it.
//!
//! What is constant is decoded and checked when the file is read. A key may be longer than the cipher's, as in HAProxy, which
//! takes its beginning; one that is shorter is refused, where HAProxy would read on behind it.

use std::sync::Arc;

use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{
    self, DecryptionContext, EncryptionContext, PaddedBlockDecryptingKey, PaddedBlockEncryptingKey,
    UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use sockeye_sample::{Arg, Compiler, Converter, Scene, Type, Value, VarId};

pub(crate) static TABLE: &[Converter] = &[
    Converter::new("aes_cbc_dec", cbc_decrypt).prepare(prepare_cbc),
    Converter::new("aes_cbc_enc", cbc_encrypt).prepare(prepare_cbc),
    Converter::new("aes_gcm_dec", gcm_decrypt).prepare(|args, compiler| prepare_gcm(args, compiler, false)),
    Converter::new("aes_gcm_enc", gcm_encrypt).prepare(|args, compiler| prepare_gcm(args, compiler, true)),
];

/// A text that stands in the file or in a variable.
#[derive(Debug)]
pub(crate) enum Operand {
    /// Decoded already where it is base64.
    Constant(Box<[u8]>),
    Variable(VarId),
}

impl Operand {
    /// What begins with the name of a scope is a variable, everything else a text. `None`: it is not there.
    pub(crate) fn text(arg: &Arg, compiler: &mut Compiler<'_>) -> Option<Self> {
        let text = arg.str()?;
        let variable = str::from_utf8(text).ok().and_then(|name| compiler.variables.intern(name).ok());
        Some(variable.map_or_else(|| Self::Constant(text.into()), Self::Variable))
    }

    /// The same for text in base64.
    pub(crate) fn base64(arg: Option<&Arg>, name: &str, compiler: &mut Compiler<'_>) -> Result<Self, String> {
        let decoded = arg.and_then(|arg| Self::text(arg, compiler)).and_then(|operand| match operand {
            Self::Constant(text) => {
                decode_base64(&text, Alphabet::Standard).map(|bytes| Self::Constant(bytes.into()))
            }
            variable => Some(variable),
        });
        decoded.ok_or_else(|| {
            format!(
                "failed to parse {name} : argument needs to be base64 encoded, and can either be a string or a \
                 variable."
            )
        })
    }

    /// Refuses a constant that `valid` does not like.
    fn checked(self, valid: impl Fn(&[u8]) -> bool, message: impl Fn() -> String) -> Result<Self, String> {
        match &self {
            Self::Constant(bytes) if !valid(bytes) => Err(message()),
            _ => Ok(self),
        }
    }

    /// The decoded bytes, now. `None`: the variable is not set, or not base64.
    pub(crate) fn decoded(&self, scene: &Scene<'_>) -> Option<Box<[u8]>> {
        match self {
            Self::Constant(bytes) => Some(bytes.clone()),
            Self::Variable(_) => {
                decode_base64(&self.read(scene)?, Alphabet::Standard).map(Vec::into_boxed_slice)
            }
        }
    }

    /// The text, now.
    pub(crate) fn read(&self, scene: &Scene<'_>) -> Option<Box<[u8]>> {
        match self {
            Self::Constant(text) => Some(text.clone()),
            Self::Variable(id) => scene.variables.get(*id)?.cast(Type::Str)?.bytes().map(Into::into),
        }
    }
}

/// Key size in bytes.
fn key_bytes(args: &[Arg]) -> Result<usize, String> {
    match args.first().and_then(Arg::int) {
        Some(128) => Ok(16),
        Some(192) => Ok(24),
        Some(256) => Ok(32),
        _ => Err("key size must be 128, 192 or 256 (bits).".to_owned()),
    }
}

fn key_operand(args: &[Arg], bytes: usize, compiler: &mut Compiler<'_>) -> Result<Operand, String> {
    Operand::base64(args.get(2), "key", compiler)?
        .checked(|key| key.len() >= bytes, || format!("key must have {} bits at least.", bytes * 8))
}

/// Arguments of the GCM converters.
#[derive(Debug)]
struct Gcm {
    key_bytes: usize,
    nonce: Operand,
    key: Operand,
    /// To be checked, or where to put it.
    tag: Operand,
    additional: Option<Operand>,
}

fn prepare_gcm(args: &mut [Arg], compiler: &mut Compiler<'_>, encrypts: bool) -> Result<(), String> {
    let key_bytes = key_bytes(args)?;
    let nonce = Operand::base64(args.get(1), "nonce", compiler)?.checked(
        |nonce| nonce.len() == aead::NONCE_LEN,
        || format!("nonce must have {} bytes, as NIST SP 800-38D recommends.", aead::NONCE_LEN),
    )?;
    let key = key_operand(args, key_bytes, compiler)?;
    let tag = if encrypts {
        match args.get(3).and_then(|arg| Operand::text(arg, compiler)) {
            Some(variable @ Operand::Variable(_)) => variable,
            _ => return Err("failed to parse aead_tag : argument must be a variable.".to_owned()),
        }
    } else {
        Operand::base64(args.get(3), "aead_tag", compiler)?
    };
    let additional = match args.get(4) {
        None | Some(Arg::Absent) => None,
        given => Some(Operand::base64(given, "aad", compiler)?),
    };
    args[0] = Arg::Prepared(Arc::new(Gcm { key_bytes, nonce, key, tag, additional }));
    Ok(())
}

/// Everything of a GCM operation but the text.
type Opened = (LessSafeKey, Nonce, Aad<Box<[u8]>>);

impl Gcm {
    fn of(args: &[Arg]) -> Option<&Self> {
        args.first()?.prepared()
    }

    fn open(&self, scene: &Scene<'_>) -> Option<Opened> {
        let algorithm = match self.key_bytes {
            16 => &aead::AES_128_GCM,
            24 => &aead::AES_192_GCM,
            _ => &aead::AES_256_GCM,
        };
        let key = UnboundKey::new(algorithm, self.key.decoded(scene)?.get(..self.key_bytes)?).ok()?;
        let nonce = Nonce::try_assume_unique_for_key(&self.nonce.decoded(scene)?).ok()?;
        let additional = match &self.additional {
            Some(additional) => additional.decoded(scene)?,
            None => Box::default(),
        };
        Some((LessSafeKey::new(key), nonce, Aad::from(additional)))
    }
}

fn gcm_encrypt<'a>(value: Value<'a>, args: &'a [Arg], scene: &Scene<'a>) -> Option<Value<'a>> {
    let gcm = Gcm::of(args)?;
    let (key, nonce, additional) = gcm.open(scene)?;
    let mut text = value.bytes()?.to_vec();
    let tag = key.seal_in_place_separate_tag(nonce, additional, &mut text).ok()?;
    let Operand::Variable(variable) = gcm.tag else { return None };
    scene.variables.set(variable, Value::string(encode_base64(tag.as_ref()))).then(|| Value::binary(text))
}

fn gcm_decrypt<'a>(value: Value<'a>, args: &'a [Arg], scene: &Scene<'a>) -> Option<Value<'a>> {
    let gcm = Gcm::of(args)?;
    let (key, nonce, additional) = gcm.open(scene)?;
    let tag = gcm.tag.decoded(scene)?;
    let input = value.bytes()?;
    let mut text = vec![0; input.len()];
    key.open_separate_gather(nonce, additional, input, &tag, &mut text).ok()?;
    Some(Value::binary(text))
}

/// Arguments of the CBC converters.
#[derive(Debug)]
struct Cbc {
    key_bytes: usize,
    iv: Operand,
    key: Operand,
}

const CBC_IV_BYTES: usize = 16;

fn prepare_cbc(args: &mut [Arg], compiler: &mut Compiler<'_>) -> Result<(), String> {
    let key_bytes = key_bytes(args)?;
    let iv = Operand::base64(args.get(1), "nonce", compiler)?
        .checked(|iv| iv.len() == CBC_IV_BYTES, || format!("nonce must have {CBC_IV_BYTES} bytes."))?;
    let key = key_operand(args, key_bytes, compiler)?;
    if args.get(3).is_some_and(|arg| !arg.is_absent()) {
        return Err(
            "failed to parse aad : CBC authenticates nothing, so it takes no additional data.".to_owned()
        );
    }
    args[0] = Arg::Prepared(Arc::new(Cbc { key_bytes, iv, key }));
    Ok(())
}

impl Cbc {
    fn open(&self, scene: &Scene<'_>) -> Option<(UnboundCipherKey, FixedLength<CBC_IV_BYTES>)> {
        let algorithm = match self.key_bytes {
            16 => &cipher::AES_128,
            24 => &cipher::AES_192,
            _ => &cipher::AES_256,
        };
        let key = UnboundCipherKey::new(algorithm, self.key.decoded(scene)?.get(..self.key_bytes)?).ok()?;
        Some((key, FixedLength::try_from(&*self.iv.decoded(scene)?).ok()?))
    }
}

fn cbc_encrypt<'a>(value: Value<'a>, args: &'a [Arg], scene: &Scene<'a>) -> Option<Value<'a>> {
    let (key, iv) = args.first()?.prepared::<Cbc>()?.open(scene)?;
    let mut text = value.bytes()?.to_vec();
    let key = PaddedBlockEncryptingKey::cbc_pkcs7(key).ok()?;
    key.less_safe_encrypt(&mut text, EncryptionContext::Iv128(iv)).ok()?;
    Some(Value::binary(text))
}

fn cbc_decrypt<'a>(value: Value<'a>, args: &'a [Arg], scene: &Scene<'a>) -> Option<Value<'a>> {
    let (key, iv) = args.first()?.prepared::<Cbc>()?.open(scene)?;
    let mut text = value.bytes()?.to_vec();
    let key = PaddedBlockDecryptingKey::cbc_pkcs7(key).ok()?;
    let length = key.decrypt(&mut text, DecryptionContext::Iv128(iv)).ok()?.len();
    text.truncate(length);
    Some(Value::binary(text))
}

/// The two alphabets of RFC 4648.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alphabet {
    /// With padding.
    Standard,
    /// For URLs, with or without padding.
    Url,
}

/// The bytes that `text` stands for.
pub(crate) fn decode_base64(text: &[u8], alphabet: Alphabet) -> Option<Vec<u8>> {
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let digits = &text[..text.len() - padding];
    let padded = text.len().is_multiple_of(4) && padding <= 2;
    if !padded && (alphabet == Alphabet::Standard || padding > 0) || digits.len() % 4 == 1 {
        return None;
    }
    let (plus, slash) = match alphabet {
        Alphabet::Standard => (b'+', b'/'),
        Alphabet::Url => (b'-', b'_'),
    };
    let mut out = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    for group in digits.chunks(4) {
        let mut bits = 0_u32;
        for byte in group {
            let digit = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                byte if *byte == plus => 62,
                byte if *byte == slash => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(digit);
        }
        bits <<= 6 * (4 - group.len());
        out.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    Some(out)
}

/// Standard base64 with padding.
pub(crate) fn encode_base64(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut word = [0; 4];
        word[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(word);
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at) & 0x3f) as usize];
            out.push(if at <= group.len() { digit } else { b'=' });
        }
    }
    out
}
