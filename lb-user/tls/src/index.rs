//! Which certificate a client is shown: by the name it asks for and the signatures it can check.
//!
//! Manual 5.1 `crt-list`: a positive name is looked for first, then a wildcard, unless its line excludes the name; of every
//! kind of key the first line counts; ECDSA goes before RSA. Without a match one of the default certificates is shown.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::SignatureScheme;

use crate::files::{Certificate, Kind};

/// Names of clients are at most this long (RFC 1035 §2.3.4).
const NAME_MAX: usize = 255;

/// The lines of one bind, and how names lead to them.
#[derive(Debug, Default)]
pub(crate) struct Index {
    lines: Vec<Line>,
    exact: HashMap<Box<str>, Lines>,
    /// `*.example.org` by what follows the asterisk and the dot.
    wild: HashMap<Box<str>, Lines>,
    defaults: Vec<u32>,
}

/// One certificate as a line presents it.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) certificate: Arc<Certificate>,
    kind: Kind,
    /// Which of the acceptor's configurations it uses.
    pub(crate) options: u32,
    /// Names that its wildcards do not stand for.
    excluded: Box<[Box<str>]>,
}

/// Nearly every name has one line, some two (RSA and ECDSA).
#[derive(Debug)]
enum Lines {
    One(u32),
    Many(Vec<u32>),
}

/// Which names a line of a `crt-list` stands for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filters {
    /// Names and wildcards; `None`: those of the certificate.
    pub(crate) names: Option<Vec<Box<str>>>,
    pub(crate) excluded: Vec<Box<str>>,
    /// `*`: one of the default certificates.
    pub(crate) default: bool,
}

impl Index {
    /// Adds a line behind those that are there. The first one becomes a default certificate, too.
    pub(crate) fn add(&mut self, certificate: Arc<Certificate>, filters: &Filters, options: u32) {
        let number = u32::try_from(self.lines.len()).expect("memory ends before 2^32 certificates");
        let names = filters.names.as_deref().unwrap_or_else(|| certificate.names());
        for name in names {
            match name.strip_prefix("*.") {
                Some(suffix) => add(&mut self.wild, suffix, number),
                None => add(&mut self.exact, name, number),
            }
        }
        if filters.default || self.defaults.is_empty() {
            self.defaults.push(number);
        }
        let kind = certificate.kind();
        self.lines.push(Line {
            certificate,
            kind,
            options,
            excluded: filters.excluded.clone().into_boxed_slice(),
        });
    }

    /// Whether nothing was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The lines in their order.
    pub(crate) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The line for `name`, if any stands for it. Allocates nothing.
    pub(crate) fn find(&self, name: &str, schemes: &[SignatureScheme]) -> Option<&Line> {
        let mut buffer = [0; NAME_MAX];
        let name = lower(name, &mut buffer)?;
        let exact = self.exact.get(name).map_or(&[][..], Lines::all);
        let parent = name.split_once('.').map(|(_, parent)| parent);
        let wild = parent.and_then(|parent| self.wild.get(parent)).map_or(&[][..], Lines::all);
        let wild = wild
            .iter()
            .filter(|number| !self.line(**number).excluded.iter().any(|excluded| **excluded == *name));
        self.choose(exact.iter().chain(wild), schemes)
    }

    /// The default certificate that suits.
    pub(crate) fn fallback(&self, schemes: &[SignatureScheme]) -> Option<&Line> {
        self.choose(self.defaults.iter(), schemes)
    }

    /// The first line of the best kind that the client can check; the first of all if it can check none, so that the
    /// handshake fails for the reason that is true.
    fn choose<'a>(
        &self,
        candidates: impl Iterator<Item = &'a u32>,
        schemes: &[SignatureScheme],
    ) -> Option<&Line> {
        let (mut rsa, mut first) = (None, None);
        for number in candidates {
            let line = self.line(*number);
            let suits = line.kind.suits(schemes);
            if suits && !line.kind.is_rsa() {
                return Some(line);
            }
            if suits && rsa.is_none() {
                rsa = Some(line);
            }
            first = first.or(Some(line));
        }
        rsa.or(first)
    }

    fn line(&self, number: u32) -> &Line {
        &self.lines[number as usize]
    }
}

impl Lines {
    fn all(&self) -> &[u32] {
        match self {
            Self::One(number) => std::slice::from_ref(number),
            Self::Many(numbers) => numbers,
        }
    }
}

fn add(map: &mut HashMap<Box<str>, Lines>, name: &str, number: u32) {
    match map.get_mut(name) {
        None => {
            map.insert(name.into(), Lines::One(number));
        }
        Some(Lines::Many(numbers)) => numbers.push(number),
        Some(one) => *one = Lines::Many([one.all(), &[number]].concat()),
    }
}

/// `name` in lower case, copied only if it is not.
fn lower<'a>(name: &'a str, buffer: &'a mut [u8; NAME_MAX]) -> Option<&'a str> {
    if !name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Some(name);
    }
    let copy = buffer.get_mut(..name.len())?;
    copy.copy_from_slice(name.as_bytes());
    copy.make_ascii_lowercase();
    std::str::from_utf8(copy).ok()
}
