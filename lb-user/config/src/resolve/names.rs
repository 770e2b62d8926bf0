//! Names and numbers of proxies.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use sockeye_syntax::diag::{Diagnostic, Diagnostics, Location, Place, Severity, did_you_mean};

use crate::draft::{Kind, Proxy};
use crate::model::{BackendId, FrontendId};

/// The number of the first proxy. (HAProxy counts from 2 where `stats socket` takes 1.)
const PROXY_ID_FIRST: u32 = 1;

/// Where each name leads to. Indexes of proxies are those of the draft.
pub(crate) struct Names {
    /// Backends (and the second half of `listen`) by name: draft index and id.
    backends: HashMap<Arc<str>, (usize, BackendId)>,
    frontends: HashMap<Arc<str>, FrontendId>,
    /// Of each draft proxy: its ids in the model.
    pub(crate) frontend_ids: Vec<Option<FrontendId>>,
    pub(crate) backend_ids: Vec<Option<BackendId>>,
    /// Of each draft proxy: its number in statistics.
    pub(crate) numeric_ids: Vec<u32>,
}

impl Names {
    pub(crate) fn new(proxies: &[Proxy]) -> Self {
        let mut names = Self {
            backends: HashMap::new(),
            frontends: HashMap::new(),
            frontend_ids: Vec::with_capacity(proxies.len()),
            backend_ids: Vec::with_capacity(proxies.len()),
            numeric_ids: Vec::new(),
        };
        let (mut frontends, mut backends) = (0, 0);
        for (index, proxy) in proxies.iter().enumerate() {
            names.frontend_ids.push(proxy.kind.is_frontend().then(|| {
                frontends += 1;
                let id = FrontendId(frontends - 1);
                names.frontends.entry(proxy.name.clone()).or_insert(id);
                id
            }));
            names.backend_ids.push(proxy.kind.is_backend().then(|| {
                backends += 1;
                let id = BackendId(backends - 1);
                names.backends.entry(proxy.name.clone()).or_insert((index, id));
                id
            }));
        }
        let given = proxies.iter().map(|proxy| proxy.numeric_id.as_ref().map(|(id, _)| *id));
        names.numeric_ids = assign(PROXY_ID_FIRST, given);
        names
    }

    /// The backend called `name`.
    pub(crate) fn backend(&self, name: &str) -> Option<(usize, BackendId)> {
        self.backends.get(name).copied()
    }

    /// The frontend called `name`.
    pub(crate) fn frontend(&self, name: &str) -> Option<FrontendId> {
        self.frontends.get(name).copied()
    }

    /// The end of a message about a backend that does not exist.
    pub(crate) fn hint(&self, name: &str) -> String {
        did_you_mean(name, self.backends.keys().map(AsRef::as_ref))
    }
}

/// Finds names and numbers that were given twice, while the files are read.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    names: HashMap<Arc<str>, Vec<Owner>>,
    ids: HashMap<u32, Owner>,
}

#[derive(Debug, Clone)]
struct Owner {
    kind: Kind,
    name: Arc<str>,
    location: Location,
}

impl Taken {
    /// Checks one proxy against those before it. A frontend and a backend may share a name for now; two of one side
    /// may not.
    pub(crate) fn add(&mut self, proxy: &Proxy, diags: &mut Diagnostics) {
        let owner = Owner { kind: proxy.kind, name: proxy.name.clone(), location: proxy.location.clone() };
        let (kind, name, location) = (proxy.kind.name(), &proxy.name, &proxy.location);
        let others = self.names.entry(proxy.name.clone()).or_default();
        let clashes = |other: &&Owner| {
            (proxy.kind.is_frontend() && other.kind.is_frontend())
                || (proxy.kind.is_backend() && other.kind.is_backend())
        };
        let clash = others.iter().find(clashes);
        if let Some(other) = clash.or_else(|| others.first()).filter(|_| !name.is_empty()) {
            let text = format!(
                "Parsing [{location}]: {kind} '{name}' has the same name as {} '{name}' declared at {}.",
                other.kind.name(),
                other.location
            );
            let place = Place::Unsaid(location.clone());
            diags.push(match clash {
                Some(_) => Diagnostic::new(Severity::Alert, place, text),
                None => Diagnostic::new(
                    Severity::Warning,
                    place,
                    format!("{text} This is dangerous and will not be supported anymore in version 3.3."),
                ),
            });
        }
        // Two are enough to find every clash with a later one.
        if others.len() < 2 {
            others.push(owner.clone());
        }
        let Some((id, location)) = &proxy.numeric_id else { return };
        match self.ids.get(id) {
            Some(other) => {
                let message = format!(
                    "{kind} {name} reuses same custom id as {} {} (declared at {}).",
                    other.kind.name(),
                    other.name,
                    other.location
                );
                diags.push(Diagnostic::new(Severity::Alert, Place::Reading(location.clone()), message));
            }
            None => {
                self.ids.insert(*id, owner);
            }
        }
    }
}

/// Numbers for those that have none, counted as HAProxy counts: every item moves the counter, given numbers are
/// passed over.
pub(crate) fn assign(first: u32, given: impl Iterator<Item = Option<u32>> + Clone) -> Vec<u32> {
    let taken: BTreeSet<u32> = given.clone().flatten().collect();
    let mut next = first;
    given
        .map(|given| {
            let id = given.unwrap_or_else(|| {
                while taken.contains(&next) {
                    next += 1;
                }
                next
            });
            next = next.saturating_add(1);
            id
        })
        .collect()
}

/// As messages name a place: the section and where it is.
pub(crate) fn located(proxy: &Proxy) -> String {
    let Location { file, line } = &proxy.location;
    format!("'{}' ({file}:{line})", proxy.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_pass_over_those_that_were_given() {
        let check = |given: &[Option<u32>], expected: &[u32]| {
            assert_eq!(assign(1, given.iter().copied()), expected, "{given:?}");
        };
        check(&[None, None, None], &[1, 2, 3]);
        check(&[None, Some(1), None], &[2, 1, 4]);
        check(&[Some(3), None, None, None], &[3, 2, 4, 5]);
        check(&[Some(100), None], &[100, 2]);
    }
}
