//! Session tickets (RFC 5077 §4): AES-CBC under HMAC-SHA256, with keys from `tls-ticket-keys` or of our own that rotate.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::cipher::{
    AES_128, AES_256, DecryptionContext, PaddedBlockDecryptingKey, PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64ct::{Base64, Encoding};
use rustls::server::ProducesTickets;

use super::Context;
use crate::files::pem;

/// Keys in use, as HAProxy's TLS_TICKETS_NO: the last ones of a file, of which the last but one encrypts, so that every
/// machine already knows a key before another encrypts with it.
const KEYS: usize = 3;
/// Bytes of a ticket at most. Ours hold a client's certificate at worst; what is larger was made up.
const TICKET_MAX: usize = 64 << 10;
/// Seconds that a ticket may claim at most (RFC 8446 §4.6.1).
const LIFETIME_MAX: u32 = 604_800;
/// Bytes of a file of keys at most: rotation appends one line of 108 bytes a day or so.
const FILE_MAX: u64 = 1 << 20;
/// Our own keys encrypt this long, and decrypt as long again.
const ROTATION: Duration = Duration::from_hours(1);

const NAME: usize = 16;
const IV: usize = 16;
const MAC: usize = 32;

/// Keys that all tickets of a file, or of the process, are made with.
pub(crate) struct Keys {
    ring: RwLock<Ring>,
    rotates: bool,
    /// Only one thread makes the next key.
    rotation: Mutex<()>,
}

struct Ring {
    keys: Vec<Arc<Key>>,
    encrypting: usize,
    since: Instant,
}

struct Key {
    name: [u8; NAME],
    encrypt: PaddedBlockEncryptingKey,
    decrypt: PaddedBlockDecryptingKey,
    mac: hmac::Key,
}

impl Keys {
    /// Random keys that only this process knows.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub(crate) fn random(now: Instant) -> Result<Self, String> {
        let ring = Ring { keys: vec![Arc::new(Key::random()?)], encrypting: 0, since: now };
        Ok(Self { ring: RwLock::new(ring), rotates: true, rotation: Mutex::default() })
    }

    /// The keys in a file: a line each, base64 of 48 or 80 bytes.
    pub(crate) fn file(path: &Path) -> Result<Self, String> {
        let fault = |what: &str| format!("'{}' : {what}", path.display());
        let text = pem::read(path, FILE_MAX).map_err(|_| fault("unable to load ssl tickets keys file"))?;
        let text = String::from_utf8_lossy(&text);
        let mut keys = Vec::new();
        let mut size = None;
        for (number, line) in text.lines().enumerate() {
            let bytes = Base64::decode_vec(line.trim_end())
                .map_err(|_| fault(&format!("unable to decode base64 key on line {}", number + 1)))?;
            if !matches!(bytes.len(), 48 | 80) || size.is_some_and(|size| size != bytes.len()) {
                return Err(fault(&format!("wrong sized key on line {}", number + 1)));
            }
            size = Some(bytes.len());
            keys.push(bytes);
        }
        if keys.len() < KEYS {
            return Err(fault(&format!("please supply at least {KEYS} keys in the tls-tickets-file")));
        }
        let keys: Option<Vec<_>> =
            keys[keys.len() - KEYS..].iter().map(|bytes| Key::new(bytes).map(Arc::new)).collect();
        let keys = keys.ok_or_else(|| fault("unable to use a key"))?;
        let ring = Ring { keys, encrypting: KEYS - 2, since: Instant::now() };
        Ok(Self { ring: RwLock::new(ring), rotates: false, rotation: Mutex::default() })
    }

    fn encrypting(&self, now: Instant) -> Arc<Key> {
        let (key, since) = {
            let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
            (ring.keys[ring.encrypting].clone(), ring.since)
        };
        // Whoever comes first makes the next key, the others go on with the old one.
        if self.rotates
            && now.saturating_duration_since(since) >= ROTATION
            && let Ok(_guard) = self.rotation.try_lock()
            && let Ok(next) = Key::random()
        {
            let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
            if ring.since == since {
                let next = Arc::new(next);
                *ring = Ring { keys: vec![key, next.clone()], encrypting: 1, since: now };
                return next;
            }
        }
        key
    }

    fn named(&self, name: &[u8]) -> Option<Arc<Key>> {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        ring.keys.iter().find(|key| key.name == name).cloned()
    }
}

impl Key {
    fn random() -> Result<Self, String> {
        let mut bytes = [0; 80];
        SystemRandom::new().fill(&mut bytes).map_err(|_| "the system gives no random bytes".to_owned())?;
        Self::new(&bytes).ok_or_else(|| "ticket keys cannot be made".to_owned())
    }

    /// Name, key of the MAC, key of the cipher: the longer form; the shorter one has them the other way around.
    fn new(bytes: &[u8]) -> Option<Self> {
        let (name, rest) = bytes.split_first_chunk::<NAME>()?;
        let (mac, aes, algorithm) = match rest.len() {
            32 => (&rest[16..], &rest[..16], &AES_128),
            64 => (&rest[..32], &rest[32..], &AES_256),
            _ => return None,
        };
        let key = || UnboundCipherKey::new(algorithm, aes).ok();
        Some(Self {
            name: *name,
            encrypt: PaddedBlockEncryptingKey::cbc_pkcs7(key()?).ok()?,
            decrypt: PaddedBlockDecryptingKey::cbc_pkcs7(key()?).ok()?,
            mac: hmac::Key::new(hmac::HMAC_SHA256, mac),
        })
    }

    /// The context is not in the ticket, but under its MAC. Returns the context so far.
    fn mac_context(&self, context: &Context) -> hmac::Context {
        let mut mac = hmac::Context::with_key(&self.mac);
        mac.update(context);
        mac
    }
}

impl fmt::Debug for Keys {
    /// Without the secrets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Keys").field("rotates", &self.rotates).finish_non_exhaustive()
    }
}

/// Keys as one configuration uses them.
#[derive(Debug)]
pub(crate) struct Ticketer {
    pub(crate) keys: Arc<Keys>,
    pub(crate) context: Context,
    pub(crate) lifetime: Duration,
}

impl Ticketer {
    fn seal(&self, plain: &[u8], now: Instant, clock: u64) -> Option<Vec<u8>> {
        let key = self.keys.encrypting(now);
        // The time goes into the ticket: keys that are shared may live longer than a session.
        let mut sealed = Vec::with_capacity(8 + plain.len() + IV);
        sealed.extend_from_slice(&clock.to_be_bytes());
        sealed.extend_from_slice(plain);
        let DecryptionContext::Iv128(iv) = key.encrypt.encrypt(&mut sealed).ok()? else {
            return None;
        };
        let mut ticket = Vec::with_capacity(NAME + IV + sealed.len() + MAC);
        ticket.extend_from_slice(&key.name);
        ticket.extend_from_slice(iv.as_ref());
        ticket.extend_from_slice(&sealed);
        let mut mac = key.mac_context(&self.context);
        mac.update(&ticket);
        ticket.extend_from_slice(mac.sign().as_ref());
        (ticket.len() <= TICKET_MAX).then_some(ticket)
    }

    fn open(&self, ticket: &[u8], clock: u64) -> Option<Vec<u8>> {
        if ticket.len() > TICKET_MAX {
            return None;
        }
        let (name, rest) = ticket.split_at_checked(NAME)?;
        let key = self.keys.named(name)?;
        let (iv, rest) = rest.split_first_chunk::<IV>()?;
        let (sealed, tag) = rest.split_at_checked(rest.len().checked_sub(MAC)?)?;
        let mut signed = Vec::with_capacity(self.context.len() + ticket.len() - MAC);
        signed.extend_from_slice(&self.context);
        signed.extend_from_slice(&ticket[..ticket.len() - MAC]);
        hmac::verify(&key.mac, &signed, tag).ok()?;
        let mut sealed = sealed.to_vec();
        let plain =
            key.decrypt.decrypt(&mut sealed, DecryptionContext::Iv128(FixedLength::from(*iv))).ok()?;
        let (made, plain) = plain.split_first_chunk::<8>()?;
        // Clocks of machines that share keys may differ a little: a ticket from the future is young.
        (clock.saturating_sub(u64::from_be_bytes(*made)) <= self.lifetime.as_secs()).then(|| plain.to_vec())
    }
}

fn clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs())
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(self.lifetime.as_secs()).map_or(LIFETIME_MAX, |seconds| seconds.min(LIFETIME_MAX))
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(plain, Instant::now(), clock())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.open(cipher, clock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticketer(keys: Keys, context: u8) -> Ticketer {
        Ticketer { keys: Arc::new(keys), context: [context; 32], lifetime: Duration::from_secs(300) }
    }

    fn file(lines: &[&str]) -> Result<Keys, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), lines.join("\n")).unwrap();
        Keys::file(file.path()).map_err(|error| error.split(" : ").nth(1).unwrap().to_owned())
    }

    fn key(fill: u8, size: usize) -> String {
        Base64::encode_string(&vec![fill; size])
    }

    #[test]
    fn files_of_keys() {
        let check =
            |lines: &[&str], expected: &str| assert_eq!(file(lines).unwrap_err(), expected, "{lines:?}");
        let (short, long) = (key(1, 48), key(1, 80));
        assert!(file(&[&*short; 3]).is_ok());
        assert!(file(&[&*long; 4]).is_ok());
        check(&[&short, &short], "please supply at least 3 keys in the tls-tickets-file");
        check(&[], "please supply at least 3 keys in the tls-tickets-file");
        check(&[&short, &short, &long], "wrong sized key on line 3");
        check(&[&short, "", &short], "wrong sized key on line 2");
        check(&[&key(1, 47)], "wrong sized key on line 1");
        check(&["hello!"], "unable to decode base64 key on line 1");
        let missing = Keys::file(Path::new("/none/keys")).unwrap_err();
        assert_eq!(missing, "'/none/keys' : unable to load ssl tickets keys file");
    }

    #[test]
    fn the_last_but_one_encrypts_and_the_last_three_decrypt() {
        for size in [48, 80] {
            let keys: Vec<String> = (1..=5).map(|fill| key(fill, size)).collect();
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            let now = Instant::now();
            let make = |from: usize, to: usize| ticketer(file(&keys[from..to]).unwrap(), 0);
            let ticket = make(0, 3).seal(b"session", now, 1000).unwrap();
            assert_eq!(ticket[..NAME], [2; NAME]);
            assert_eq!(make(0, 3).open(&ticket, 1000).unwrap(), b"session");
            assert_eq!(make(0, 4).open(&ticket, 1000).unwrap(), b"session", "one more key was appended");
            assert_eq!(make(0, 5).open(&ticket, 1000), None, "the key is no longer among the last");
        }
    }

    #[test]
    fn what_was_changed_is_not_opened() {
        let own = ticketer(Keys::random(Instant::now()).unwrap(), 0);
        let ticket = own.seal(b"session", Instant::now(), 1000).unwrap();
        assert_eq!(own.open(&ticket, 1300).unwrap(), b"session");
        assert_eq!(own.open(&ticket, 1301), None, "too old");
        let other = Ticketer { keys: own.keys.clone(), context: [1; 32], ..own };
        assert_eq!(other.open(&ticket, 1000), None, "another context");
        for position in 0..ticket.len() {
            let mut damaged = ticket.clone();
            damaged[position] ^= 1;
            assert_eq!(own.open(&damaged, 1000), None, "byte {position}");
            assert_eq!(own.open(&ticket[..position], 1000), None, "cut at {position}");
        }
    }

    #[test]
    fn our_own_keys_rotate() {
        let start = Instant::now();
        let own = ticketer(Keys::random(start).unwrap(), 0);
        let first = own.seal(b"1", start, 1000).unwrap();
        let second = own.seal(b"2", start + ROTATION, 1000).unwrap();
        assert_ne!(first[..NAME], second[..NAME]);
        assert!(own.open(&first, 1000).is_some());
        let third = own.seal(b"3", start + ROTATION * 2, 1000).unwrap();
        assert!(own.open(&first, 1000).is_none());
        assert!(own.open(&second, 1000).is_some() && own.open(&third, 1000).is_some());
    }
}
