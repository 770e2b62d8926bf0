//! Checks of passwords that remember what was right.
//!
//! A browser sends its password with every request, and a hash takes a core up to a tenth of a second.
//! HAProxy computes every time. A `Verifier` keeps, for a minute, a keyed digest of name, hash and password
//! of each success: neither password nor anything from which it could be found is kept. Failures are not kept: whoever guesses
//! pays the whole price each time, and a changed hash is another entry.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;

use crate::section::{Password, User};

/// How long a success counts.
const LIFETIME: Duration = Duration::from_secs(60);
/// Successes that are remembered: 64 KB. More active users than this are computed again.
const REMEMBERED_MAX: usize = 1024;

/// Stands for a name, a hash and a password.
pub type Digest = [u8; 32];

/// One per thread.
#[derive(Debug)]
pub struct Verifier {
    key: hmac::Key,
    known: HashSet<Digest>,
    /// The same, the oldest first, with the end of each.
    order: VecDeque<(Instant, Digest)>,
}

impl Verifier {
    /// `key` is random and lives as long as the process.
    pub fn new(key: &[u8; 32]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key), known: HashSet::new(), order: VecDeque::new() }
    }

    /// Whether the user has this password; `now` never goes back.
    ///
    /// # Errors
    /// It is not known: [`User::has_password`] has to compute it, and [`Verifier::learn`] gets what was right.
    pub fn known(&mut self, user: &User, password: &[u8], now: Instant) -> Result<bool, Digest> {
        let Some(Password::Crypt(hash)) = &user.password else { return Ok(user.has_password(password)) };
        self.forget(now);
        let digest = self.digest([user.name.as_bytes(), hash.text().as_bytes(), password]);
        if self.known.contains(&digest) { Ok(true) } else { Err(digest) }
    }

    /// What this stands for was right.
    pub fn learn(&mut self, digest: Digest, now: Instant) {
        if !self.known.contains(&digest) {
            self.remember(digest, now);
        }
    }

    fn digest(&self, parts: [&[u8]; 3]) -> Digest {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(&part.len().to_le_bytes());
            context.update(part);
        }
        let mut digest = Digest::default();
        // The tag of HMAC-SHA-256 is as long as the digest.
        digest.iter_mut().zip(context.sign().as_ref()).for_each(|(to, from)| *to = *from);
        digest
    }

    fn remember(&mut self, digest: Digest, now: Instant) {
        if self.order.len() >= REMEMBERED_MAX
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.known.insert(digest);
        self.order.push_back((now + LIFETIME, digest));
    }

    fn forget(&mut self, now: Instant) {
        while let Some((end, digest)) = self.order.front()
            && *end <= now
        {
            self.known.remove(digest);
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Draft;

    fn check(verifier: &mut Verifier, user: &User, password: &[u8], now: Instant) -> bool {
        verifier.known(user, password, now).unwrap_or_else(|digest| {
            let fits = user.has_password(password);
            if fits {
                verifier.learn(digest, now);
            }
            fits
        })
    }

    fn user(text: &str) -> User {
        let mut draft = Draft::new("L");
        draft.statement(&text.split(' ').collect::<Vec<_>>()).expect("it is valid");
        draft.finish().expect("it is valid").users.remove(0)
    }

    #[test]
    fn successes_are_remembered_for_a_while() {
        let start = Instant::now();
        let mut verifier = Verifier::new(&[7; 32]);
        let ann = user("user ann password abJnggxhB/yWI");
        assert!(!check(&mut verifier, &ann, b"wrong", start));
        assert_eq!(verifier.order.len(), 0);
        assert!(check(&mut verifier, &ann, b"password", start));
        assert_eq!((verifier.order.len(), verifier.known.len()), (1, 1));
        // No second entry, and nothing for another name or password.
        assert!(check(&mut verifier, &ann, b"password", start + LIFETIME / 2));
        assert!(!check(&mut verifier, &ann, b"passwor", start));
        assert!(!check(&mut verifier, &user("user bob password ./xZjzHv5vzVA"), b"password", start));
        assert_eq!(verifier.order.len(), 1);
        // It ends.
        verifier.forget(start + LIFETIME);
        assert_eq!((verifier.order.len(), verifier.known.len()), (0, 0));
        // A password in clear is as cheap as the memory of it.
        assert!(check(&mut verifier, &user("user eve insecure-password x"), b"x", start));
        assert_eq!(verifier.order.len(), 0);
    }

    #[test]
    fn memory_is_bounded() {
        let start = Instant::now();
        let mut verifier = Verifier::new(&[7; 32]);
        for number in 0..REMEMBERED_MAX + 10 {
            let digest = verifier.digest([&number.to_le_bytes(), b"", b""]);
            verifier.remember(digest, start);
        }
        assert_eq!((verifier.order.len(), verifier.known.len()), (REMEMBERED_MAX, REMEMBERED_MAX));
    }
}
