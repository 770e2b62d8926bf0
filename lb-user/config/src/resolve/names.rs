//! Names and numbers of proxies.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use sockeye_syntax::diag::{Location, did_you_mean};

use super::Findings;
use crate::draft::Proxy;
use crate::model::{BackendId, FrontendId};

/// The number of the first proxy: 1 is the process's own (its command socket).
const PROXY_ID_FIRST: u32 = 2;

/// Where each name leads to. Indexes of proxies are those of the draft.
pub(crate) struct Names {
    /// Backends (and the second half of `listen`) by name: draft index and id.
    backends: HashMap<Arc<str>, (usize, BackendId)>,
    /// Of each draft proxy: its ids in the model.
    pub(crate) frontend_ids: Vec<Option<FrontendId>>,
    pub(crate) backend_ids: Vec<Option<BackendId>>,
    /// Of each draft proxy: its number in statistics.
    pub(crate) numeric_ids: Vec<u32>,
}

impl Names {
    pub(crate) fn new(proxies: &[Proxy], findings: &mut Findings<'_>) -> Self {
        let mut names = Self {
            backends: HashMap::new(),
            frontend_ids: Vec::with_capacity(proxies.len()),
            backend_ids: Vec::with_capacity(proxies.len()),
            numeric_ids: Vec::new(),
        };
        let mut seen: HashMap<&str, usize> = HashMap::new();
        let (mut frontends, mut backends) = (0, 0);
        for (index, proxy) in proxies.iter().enumerate() {
            if !proxy.name.is_empty()
                && let Some(other) = seen.insert(&proxy.name, index)
            {
                same_name(proxy, &proxies[other], findings);
            }
            names.frontend_ids.push(proxy.kind.is_frontend().then(|| {
                frontends += 1;
                FrontendId(frontends - 1)
            }));
            names.backend_ids.push(proxy.kind.is_backend().then(|| {
                backends += 1;
                let id = BackendId(backends - 1);
                names.backends.entry(proxy.name.clone()).or_insert((index, id));
                id
            }));
        }
        names.numeric_ids = numeric_ids(proxies, findings);
        names
    }

    /// The backend called `name`.
    pub(crate) fn backend(&self, name: &str) -> Option<(usize, BackendId)> {
        self.backends.get(name).copied()
    }

    /// The end of a message about a backend that does not exist.
    pub(crate) fn hint(&self, name: &str) -> String {
        did_you_mean(name, self.backends.keys().map(AsRef::as_ref))
    }
}

/// A frontend and a backend may share a name for now; two of one side may not.
fn same_name(proxy: &Proxy, other: &Proxy, findings: &mut Findings<'_>) {
    let text = format!(
        "Parsing [{}]: {} '{}' has the same name as {} '{}' declared at {}.",
        proxy.location,
        proxy.kind.name(),
        proxy.name,
        other.kind.name(),
        other.name,
        other.location
    );
    let clash = (proxy.kind.is_frontend() && other.kind.is_frontend())
        || (proxy.kind.is_backend() && other.kind.is_backend());
    if clash {
        findings.alert(text);
    } else {
        findings.warning(format!("{text} This is dangerous and will not be supported anymore in version 3.3."));
    }
}

fn numeric_ids(proxies: &[Proxy], findings: &mut Findings<'_>) -> Vec<u32> {
    let mut given: HashMap<u32, &Proxy> = HashMap::new();
    for proxy in proxies {
        let Some((id, location)) = &proxy.numeric_id else { continue };
        match given.get(id) {
            Some(other) => {
                let (kind, name) = (proxy.kind.name(), &proxy.name);
                let message = format!(
                    "{kind} {name} reuses same custom id as {} {} (declared at {}).",
                    other.kind.name(),
                    other.name,
                    other.location
                );
                findings.alert_reading(location, message);
            }
            None => {
                given.insert(*id, proxy);
            }
        }
    }
    assign(PROXY_ID_FIRST, proxies.iter().map(|proxy| proxy.numeric_id.as_ref().map(|(id, _)| *id)))
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
