//! Names in expressions and rules: to which proxy, server or list they lead.

use sockeye_auth::UserList;
use sockeye_rules::{Action, BackendName, RuleSets, ServerName};
use sockeye_sample::{NameRef, Named, References, Target};
use sockeye_syntax::diag::Location;

use super::Findings;
use super::names::Names;
use super::proxies::incompatible;
use crate::draft::{Kind, Proxy};
use crate::model::BackendId;

/// Leads every name that an expression holds to what it names.
pub(super) fn expressions(
    references: &References,
    proxies: &[Proxy],
    userlists: &[UserList],
    names: &Names,
    findings: &mut Findings<'_>,
) {
    for reference in references {
        match find(&reference.name, proxies, userlists, names) {
            Ok(target) => reference.name.resolve(target),
            Err(message) => {
                let location = Location::new(&*reference.file, reference.line);
                findings.alert_parsing(&location, message);
            }
        }
    }
}

fn find(name: &NameRef, proxies: &[Proxy], userlists: &[UserList], names: &Names) -> Result<Target, String> {
    let text = &*name.text;
    match name.kind {
        Named::Frontend => names
            .frontend(text)
            .map(|id| Target::Frontend(id.0))
            .ok_or_else(|| format!("unable to find frontend '{text}' referenced in a sample expression")),
        Named::Backend => names.backend(text).map(|(_, id)| Target::Backend(id.0)).ok_or_else(|| {
            format!("unable to find backend '{text}' referenced in a sample expression.{}", names.hint(text))
        }),
        Named::Server => {
            let (proxy, server) = text.rsplit_once('/').unwrap_or(("", text));
            let found = names.backend(proxy).and_then(|(index, id)| {
                let servers = &proxies[index].servers;
                let server = servers.iter().position(|known| *known.server.name == *server)?;
                Some(Target::Server { backend: id.0, server })
            });
            found.ok_or_else(|| {
                format!("unable to find server '{text}' referenced by a rule or an expression")
            })
        }
        Named::UserList => userlists
            .iter()
            .position(|list| *list.name == *text)
            .map(Target::UserList)
            .ok_or_else(|| format!("unable to find userlist '{text}' referenced in a sample expression")),
        Named::Table => {
            Err("stick tables are known to HAProxy but not implemented in Sockeye yet".to_owned())
        }
    }
}

/// Leads `use_backend` rules to their backends, which must speak what the frontend does.
pub(super) fn use_backend(
    proxy: &Proxy,
    rules: &RuleSets,
    proxies: &[Proxy],
    names: &Names,
    findings: &mut Findings<'_>,
) {
    if !proxy.kind.is_frontend() {
        return;
    }
    for rule in &rules.use_backend {
        let BackendName::Static(name) = &rule.target else { continue };
        let Some((index, id)) = names.backend(&name.text) else {
            findings.alert(format!(
                "Proxy '{}': unable to find required use_backend: '{}'.{}",
                proxy.name,
                name.text,
                names.hint(&name.text).replacen("; d", " D", 1)
            ));
            continue;
        };
        let target = &proxies[index];
        if incompatible(proxy.settings.mode, target.settings.mode) {
            findings.alert(format!(
                "{} {} '{}' tries to use incompatible {} {} '{}' in a 'use_backend' rule (see 'mode').",
                super::proxies::mode_name(proxy.settings.mode),
                proxy.kind.name(),
                proxy.name,
                super::proxies::mode_name(target.settings.mode),
                Kind::name(target.kind),
                target.name
            ));
        }
        name.resolve(Target::Backend(id.0));
    }
}

/// Whether a rule may turn a connection of `mode tcp` to HTTP.
pub(super) fn upgrades(rules: &RuleSets) -> bool {
    rules.tcp_content.iter().any(|rule| matches!(rule.action, Action::SwitchHttp))
}

/// Leads `use-server` rules to servers of their own section.
pub(super) fn use_server(proxy: &Proxy, backend: Option<BackendId>, findings: &mut Findings<'_>) {
    let Some(backend) = backend else { return };
    for rule in &proxy.settings.rules.use_server {
        let ServerName::Static(name) = &rule.target else { continue };
        match proxy.servers.iter().position(|known| *known.server.name == *name.text) {
            Some(server) => name.resolve(Target::Server { backend: backend.0, server }),
            None => findings.alert(format!(
                "{} '{}' : unable to find server '{}' referenced in a 'use-server' rule.",
                proxy.kind.name(),
                proxy.name,
                name.text
            )),
        }
    }
}

/// Slots that rules of a frontend fill must be declared somewhere in it.
pub(super) fn captures(proxy: &Proxy, findings: &mut Findings<'_>) {
    if !proxy.kind.is_frontend() {
        return;
    }
    let (rules, declared) = (&proxy.settings.rules, &proxy.captures);
    for (rules, declared, word) in [
        (&rules.http_request, &declared.request, "http-request"),
        (&rules.http_response, &declared.response, "http-response"),
        (&rules.http_after_response, &declared.response, "http-after-response"),
    ] {
        for rule in rules {
            let Action::Capture { slot, .. } = rule.action else { continue };
            if slot >= declared.len() {
                findings.alert(format!(
                    "Proxy '{}': unable to find capture id '{slot}' referenced by {word} capture rule.",
                    proxy.name
                ));
            }
        }
    }
}

/// Replies of rules that name sections of error files which do not exist.
pub(super) fn errors(proxy: &Proxy, findings: &mut Findings<'_>) {
    for name in &proxy.unknown_errors {
        findings.alert(format!(
            "Proxy '{}': unknown http-errors section '{name}' referenced by an http reply.",
            proxy.name
        ));
    }
}
