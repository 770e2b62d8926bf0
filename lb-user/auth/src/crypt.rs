//! The formats of crypt(3): which one a hash is of, and whether a password fits it.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use sha_crypt::{PasswordVerifier, ShaCrypt};
use yescrypt::Yescrypt;

use crate::des::des_crypt;
use crate::md5::md5_crypt;

/// Digits of crypt's own base 64, the lowest bits first.
pub(crate) const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A client can send a password as long as its header; hashing takes time by length.
const PASSWORD_BYTES_MAX: usize = 1024;

/// Memory of one check with yescrypt: Debian's hashes take 16 MB.
const YESCRYPT_BYTES_MAX: u64 = 256 << 20;

/// A hash whose form was checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Hash {
    method: Method,
    text: Box<str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Des,
    Md5,
    Sha,
    Bcrypt,
    Yescrypt,
    /// `*` and `!`, as locked accounts have in /etc/shadow: nothing fits.
    Locked,
}

/// Why a text is no hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashError {
    /// Of no method, or of one that is not obeyed here.
    UnknownMethod,
    /// Of this method, but not whole.
    Malformed(&'static str),
    /// A yescrypt hash that takes more memory than a worker should give, or parameters that `crypt` does not write.
    TooExpensive,
}

impl fmt::Display for HashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownMethod => f.write_str(
                "not a hash of a method that is known: DES, $1$ (MD5), $5$ (SHA-256), $6$ (SHA-512), $2a$ $2b$ $2y$ \
                 (bcrypt), $y$ (yescrypt); 'insecure-password' takes a password as it is",
            ),
            Self::Malformed(method) => write!(f, "not a whole {method} hash"),
            Self::TooExpensive => {
                write!(f, "a yescrypt hash of unusual parameters or more than {} MB", YESCRYPT_BYTES_MAX >> 20)
            }
        }
    }
}

impl Hash {
    /// Reads what `password` says in a file.
    ///
    /// # Errors
    /// See [`HashError`].
    pub fn parse(text: &str) -> Result<Self, HashError> {
        let digits = |text: &str| text.bytes().all(|byte| ALPHABET.contains(&byte));
        // The hash that must stand at the end.
        let ends_with =
            |length: usize| text.rsplit('$').next().is_some_and(|hash| hash.len() == length && digits(hash));
        let (method, name, whole) = if text.starts_with(['*', '!']) {
            (Method::Locked, "", true)
        } else if let Some(rest) = text.strip_prefix("$1$") {
            (Method::Md5, "MD5", rest.matches('$').count() == 1 && ends_with(22))
        } else if let Some(rest) = text.strip_prefix("$5$") {
            (Method::Sha, "SHA-256", sha_parameters(rest) && ends_with(43))
        } else if let Some(rest) = text.strip_prefix("$6$") {
            (Method::Sha, "SHA-512", sha_parameters(rest) && ends_with(86))
        } else if ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| text.starts_with(prefix)) {
            let cost = text.get(4..6).and_then(|cost| cost.parse().ok());
            let whole = matches!(cost, Some(4..=31)) && text.get(6..7) == Some("$") && ends_with(53);
            (Method::Bcrypt, "bcrypt", whole)
        } else if let Some(rest) = text.strip_prefix("$y$") {
            let whole = rest.matches('$').count() == 2 && ends_with(43);
            if whole && yescrypt_bytes(rest).is_none_or(|bytes| bytes > YESCRYPT_BYTES_MAX) {
                return Err(HashError::TooExpensive);
            }
            (Method::Yescrypt, "yescrypt", whole)
        } else if text.len() == 13 && digits(text) {
            (Method::Des, "DES", true)
        } else {
            return Err(HashError::UnknownMethod);
        };
        if whole { Ok(Self { method, text: text.into() }) } else { Err(HashError::Malformed(name)) }
    }

    /// Whether the password fits. Takes from less than a millisecond to seconds, as the hash says.
    pub fn fits(&self, password: &[u8]) -> bool {
        if password.len() > PASSWORD_BYTES_MAX {
            return false;
        }
        // crypt(3) takes a text that ends at a NUL.
        let password = password.split(|byte| *byte == 0).next().unwrap_or_default();
        let text = &*self.text;
        match self.method {
            Method::Des => {
                let &[first, second, ..] = text.as_bytes() else { return false };
                des_crypt(password, [first, second]).is_some_and(|hash| equal(&hash, &text[2..]))
            }
            Method::Md5 => text[3..]
                .split_once('$')
                .is_some_and(|(salt, hash)| equal(&md5_crypt(password, salt.as_bytes()), hash)),
            Method::Sha => ShaCrypt::default().verify_password(password, text).is_ok(),
            Method::Bcrypt => bcrypt::verify(password, text).unwrap_or(false),
            Method::Yescrypt => Yescrypt::default().verify_password(password, text).is_ok(),
            Method::Locked => false,
        }
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Hash {
    /// A hash is half a password: it does not belong into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({:?})", self.method)
    }
}

/// `[rounds=N$]SALT$` and what follows.
fn sha_parameters(rest: &str) -> bool {
    let (rounds, rest) = match rest.strip_prefix("rounds=") {
        Some(rest) => match rest.split_once('$') {
            Some((rounds, rest)) => (rounds.parse().ok(), rest),
            None => return false,
        },
        None => (Some(5000), rest),
    };
    matches!(rounds, Some(1000..=999_999_999)) && rest.matches('$').count() == 1
}

/// The memory that `jNR$SALT$HASH` takes; `None` for parameters of any other form.
fn yescrypt_bytes(rest: &str) -> Option<u64> {
    let (parameters, _) = rest.split_once('$')?;
    let [b'j', blocks, size] = parameters.as_bytes() else { return None };
    let digit =
        |byte: &u8| ALPHABET.iter().position(|known| known == byte).and_then(|at| u64::try_from(at).ok());
    // 2^(N+1) blocks of (R+1) times 128 bytes.
    128_u64
        .checked_shl(u32::try_from(digit(blocks)? + 1).ok()?)
        .filter(|bytes| *bytes >= 128)?
        .checked_mul(digit(size)? + 1)
}

fn equal(left: &str, right: &str) -> bool {
    verify_slices_are_equal(left.as_bytes(), right.as_bytes()).is_ok()
}

/// Appends `count` digits.
pub(crate) fn encode(mut value: u32, count: usize, out: &mut String) {
    for _ in 0..count {
        out.push(char::from(ALPHABET[(value & 0x3f) as usize]));
        value >>= 6;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As crypt(3) of libxcrypt makes them.
    const HASHES: &[(&str, &str)] = &[
        ("password", "abJnggxhB/yWI"),
        ("password", "./xZjzHv5vzVE"),
        ("", "abmF1QH4PEr.E"),
        ("longerpassword", "zZD2Woh8HqlFk"),
        ("päss", "9Aq88dOofNG8."),
        ("password", "$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/"),
        ("", "$1$$qRPK7m23GJusamGpoGLby/"),
        (
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "$1$ab$txNufjyEISs8kEbtSfJw4.",
        ),
        ("password", "$5$saltstring$OH4IDuTlsuTYPdED1gsuiRMyTAwNlRWyA6Xr3I4/dQ5"),
        ("password", "$5$rounds=1000$saltstring$S2dlplsLzofRuJ/frAjtaYev58CdqEN6fUby2laILG1"),
        ("", "$5$s$u9jS/E6rlpZoj8KCMVhpLKJh2MrO5hc9UBdfKCcvVU7"),
        (
            "password",
            "$6$saltstring$adDbXsJjcDlq2662QPgd.tkSOVmnG9Tt3oXl4HR60SusC3AGjirnDenVZp3DGwLwqy6iYKCzannhaX9DR72nN1",
        ),
        (
            "password",
            "$6$rounds=1000$saltstring$EzTqOEb9gQc3Va/4p4pnqWqp/wIh1Otyhg9H9E8sV0eDyHGbNBkoMxYIM0ODHPBfmDNWb6wRiAvTriYxeDgb9.",
        ),
        ("password", "$2b$04$abcdefghijklmnopqrstuughE8Ev8uGFaUgY2cNEySvxngrb/Jzdm"),
        ("password", "$2y$04$abcdefghijklmnopqrstuughE8Ev8uGFaUgY2cNEySvxngrb/Jzdm"),
        ("password", "$2a$04$abcdefghijklmnopqrstuughE8Ev8uGFaUgY2cNEySvxngrb/Jzdm"),
        ("password", "$y$j75$saltsalt$eWasoMp7uF0.AeHT3DZ8Zkum32fPmPJWiMVRQdwiBb4"),
        ("password", "$y$j9T$LdJMENpBABJJ3hIHjB1Bi.$u2OTvjfFNnWXgGAOFvgB1vH5NgjtzZuf1aX1t4YvTE."),
    ];

    #[test]
    fn hashes() {
        for (password, text) in HASHES {
            let hash = Hash::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert!(hash.fits(password.as_bytes()), "{text}");
            assert!(!hash.fits(format!("x{password}").as_bytes()), "{text}");
        }
        // DES knows eight characters; a NUL ends a password; locked accounts and endless passwords fit nothing.
        assert!(Hash::parse("zZD2Woh8HqlFk").is_ok_and(|hash| hash.fits(b"longerpa")));
        assert!(Hash::parse("abJnggxhB/yWI").is_ok_and(|hash| hash.fits(b"password\0x")));
        assert!(Hash::parse("*").is_ok_and(|hash| !hash.fits(b"*") && !hash.fits(b"")));
        assert!(Hash::parse("abJnggxhB/yWI").is_ok_and(|hash| !hash.fits(&[b'a'; PASSWORD_BYTES_MAX + 1])));
    }

    #[test]
    fn what_is_no_hash() {
        let check = |text: &str, expected: HashError| assert_eq!(Hash::parse(text), Err(expected), "{text}");
        check("x", HashError::UnknownMethod);
        check("", HashError::UnknownMethod);
        check("hunter2", HashError::UnknownMethod);
        check("thirteen char", HashError::UnknownMethod);
        check("$9$abc", HashError::UnknownMethod);
        check("$gy$j75$saltsalt$alEjttPHP1Pyq8wZbXA3pMnpzIP5jexH1Cct9i6ezD2", HashError::UnknownMethod);
        check("$6$k6y3o.eP$JlKBx9za9667qe4(...)xHSwRv6J.C0/D7cV91", HashError::Malformed("SHA-512"));
        check("$6$rounds=10$s$x", HashError::Malformed("SHA-512"));
        check("$5$rounds=1000", HashError::Malformed("SHA-256"));
        check("$1$salt$short", HashError::Malformed("MD5"));
        check("$2b$99$abcdefghijklmnopqrstuughE8Ev8uGFaUgY2cNEySvxngrb/Jzdm", HashError::Malformed("bcrypt"));
        check("$y$j75$x", HashError::Malformed("yescrypt"));
        let hash = "LdJMENpBABJJ3hIHjB1Bi.$u2OTvjfFNnWXgGAOFvgB1vH5NgjtzZuf1aX1t4YvTE.";
        for parameters in ["jFT", "jzz", "jsz", "j9T1", "k9T", ""] {
            check(&format!("$y${parameters}${hash}"), HashError::TooExpensive);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Salts and parameters of any kind: no panic. Costs stay as low as in the examples.
        #[test]
        fn any_text(row in 0..HASHES.len() - 1, at in any::<prop::sample::Index>(), byte in b' '..b'~', password in proptest::collection::vec(any::<u8>(), 0..20)) {
            let mut text = HASHES[row].1.as_bytes().to_vec();
            // Behind the parameters.
            let start = text.iter().enumerate().filter(|(_, byte)| **byte == b'$').map(|(at, _)| at + 1).nth(2).unwrap_or(0);
            let at = start + at.index(text.len() - start);
            text[at] = byte;
            if let Ok(hash) = Hash::parse(&String::from_utf8_lossy(&text)) {
                hash.fits(&password);
            }
        }
    }
}
