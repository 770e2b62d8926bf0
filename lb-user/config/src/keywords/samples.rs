//! Sample fetches, converters and the words of conditions (manual 7.3) as lists of words show them: the signatures
//! and functions are those of the expression language itself.

use sockeye_sample::{Signature, Signatures, Type, converters, fetches};

use super::proxy;
use crate::expressions::language;
use crate::keyword::{Class, Listed, Standing, Status, find};

/// Every fetch, converter and ACL word, in the order of their names.
pub(super) fn all() -> Vec<Listed> {
    let language = language();
    let mut out = Vec::new();
    out.extend(sorted(fetches()).map(|signature| {
        listed(Class::Fetch, signature.name, language.fetch(signature.name).is_some(), signature.output)
    }));
    out.extend(sorted(converters()).map(|signature| {
        listed(
            Class::Converter,
            signature.name,
            language.converter(signature.name).is_some(),
            signature.output,
        )
    }));
    // A condition's word is a fetch with a match method; without conditions it has no use.
    let has_conditions =
        find(proxy::TABLE, "acl").is_some_and(|word| matches!(word.status, Status::Supported(_)));
    out.extend(sockeye_fetch::ACLS.iter().map(|(name, fetch, _)| {
        listed(Class::Acl, name, has_conditions && language.fetch(fetch).is_some(), Type::Bool)
    }));
    out
}

fn sorted(signatures: &'static Signatures) -> impl Iterator<Item = &'static Signature> {
    let mut all: Vec<&Signature> = signatures.values().collect();
    all.sort_by_key(|signature| signature.name);
    all.into_iter()
}

fn listed(class: Class, name: &'static str, is_obeyed: bool, output: Type) -> Listed {
    let (standing, help) = if is_obeyed {
        (Standing::Supported, output.name())
    } else {
        (Standing::NotYet, "not implemented yet")
    };
    Listed { class, prefix: "", name, suffix: "", sections: None, standing, help }
}
