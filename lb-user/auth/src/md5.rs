//! crypt(3) with MD5, `$1$SALT$HASH`: of 1994, still in old files.

use md5::{Digest, Md5};

use crate::crypt::encode;

/// Longer salts count by their beginning.
pub(crate) const SALT_BYTES_MAX: usize = 8;

/// The hash as it is written behind the salt: 22 characters.
pub(crate) fn md5_crypt(password: &[u8], salt: &[u8]) -> String {
    let salt = salt.get(..SALT_BYTES_MAX).unwrap_or(salt);
    let inner = Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
    let mut outer = Md5::new().chain_update(password).chain_update(b"$1$").chain_update(salt);
    for chunk in password.chunks(inner.len()) {
        outer.update(&inner[..chunk.len()]);
    }
    let mut bits = password.len();
    while bits > 0 {
        // The authors meant something else, but this is what every system does.
        outer.update(if bits & 1 != 0 { &[0] } else { &password[..1] });
        bits >>= 1;
    }
    let mut digest = outer.finalize();
    for round in 0..1000 {
        let odd = round & 1 != 0;
        let mut next = Md5::new();
        next.update(if odd { password } else { &digest[..] });
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        next.update(if odd { &digest[..] } else { password });
        digest = next.finalize();
    }
    let mut out = String::with_capacity(22);
    for [high, middle, low] in [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]] {
        encode(u32::from_be_bytes([0, digest[high], digest[middle], digest[low]]), 4, &mut out);
    }
    encode(digest[11].into(), 2, &mut out);
    out
}
