//! From statements to a [`Draft`]: sections in file order, each statement handed to the parser of its word.

use std::sync::Arc;

use sockeye_pattern::Library;
use sockeye_sample::{AclScope, Expressions};
use sockeye_syntax::ast::{File, Section};
use sockeye_syntax::diag::{Diagnostic, Diagnostics, Location, Place, Severity};
use sockeye_syntax::words::Words;

use crate::defaults::DefaultsSections;
use crate::draft::{Draft, Kind, Proxy};
use crate::expressions;
use crate::keyword::{Status, find, not_yet_message};
use crate::keywords::server::invalid_character;
use crate::keywords::{self, Opens, SECTIONS};
use crate::model::{Captures, Mode};
use crate::resolve::names::Taken;
use crate::scope::{GlobalScope, Negation, Order, ProxyScope, Surroundings};

/// Words of `global` that `no` may precede.
const NEGATABLE_GLOBAL: &[&str] = &[
    "log",
    "busy-polling",
    "set-dumpable",
    "strict-limits",
    "insecure-fork-wanted",
    "numa-cpu-mapping",
    "h2-workaround-bogus-websocket-clients",
];

/// Words of proxies that `no` may precede.
const NEGATABLE_PROXY: &[&str] = &["option", "log", "ebpf.clamp-mss", "ebpf.stateless"];

/// Reads all sections.
pub(crate) fn read(file: &File, around: &Surroundings<'_>, diags: &mut Diagnostics) -> Draft {
    let mut draft = Draft::default();
    let patterns = Library::new(around.loader.reader(), around.resolver.lookup());
    draft.expressions = Expressions::new(expressions::language(), patterns);
    let mut defaults = DefaultsSections::default();
    let mut taken = Taken::default();
    // Rules may name sections that come later.
    for section in &file.sections {
        if section.keyword() == "http-errors" {
            keywords::http_errors::section(section, &mut draft, around, diags);
        }
        if section.keyword() == "userlist" {
            keywords::userlist::section(section, &mut draft, diags);
        }
    }
    for section in &file.sections {
        let opens = find(SECTIONS, section.keyword()).map(|row| row.status);
        match opens {
            Some(Status::Supported(Opens::Global)) => global(section, &mut draft, around, diags),
            Some(Status::Supported(Opens::Proxy(kind))) => {
                let Some(mut proxy) = open(section, kind, &mut defaults, diags) else { continue };
                proxy_statements(section, &mut proxy, &mut draft, around, diags);
                if kind == Kind::Defaults {
                    defaults.add(proxy);
                } else {
                    taken.add(&proxy, diags);
                    draft.proxies.push(proxy);
                }
            }
            Some(Status::Supported(Opens::HttpErrors | Opens::UserList)) => {}
            Some(Status::Supported(Opens::CrtStore)) => {
                keywords::tls::store::section(section, &mut draft, diags)
            }
            _ => {
                let message = not_yet_message(&format!("{} section", section.keyword()));
                diags.alert(section.location(), message);
            }
        }
    }
    draft
}

fn global(section: &Section, draft: &mut Draft, around: &Surroundings<'_>, diags: &mut Diagnostics) {
    Words::new(&section.header, diags).end();
    let mut scope = GlobalScope {
        global: &mut draft.global,
        expressions: &mut draft.expressions,
        start: &mut draft.start,
        around,
        negation: Negation::None,
    };
    for statement in &section.statements {
        let mut words = Words::new(statement, diags);
        let Some(negation) = negation(&mut words, NEGATABLE_GLOBAL) else { continue };
        scope.negation = negation;
        keywords::global_statement(&mut words, &mut scope);
    }
}

fn proxy_statements(
    section: &Section,
    proxy: &mut Proxy,
    draft: &mut Draft,
    around: &Surroundings<'_>,
    diags: &mut Diagnostics,
) {
    let packet = is_packet(section, proxy);
    let mut scope = ProxyScope {
        proxy,
        packet,
        acls: AclScope::default(),
        errors: &draft.errors,
        order: Order::default(),
        expressions: &mut draft.expressions,
        global: &draft.global,
        around,
        negation: Negation::None,
    };
    for statement in &section.statements {
        let mut words = Words::new(statement, diags);
        let Some(negation) = negation(&mut words, NEGATABLE_PROXY) else { continue };
        scope.negation = negation;
        keywords::proxy::statement(&mut words, &mut scope);
    }
    scope.acls.finish();
}

/// Whether the section's mode is packet, which its addresses are read by: `mode` may stand behind them.
fn is_packet(section: &Section, proxy: &Proxy) -> bool {
    let words = section.statements.iter().rev().find(|statement| statement.keyword() == "mode");
    match words.and_then(|statement| statement.words.get(1)) {
        Some(mode) => mode.text == "packet",
        None => proxy.settings.mode == Mode::Packet,
    }
}

/// Takes `no` or `default`; `None` if what follows cannot have it.
fn negation(words: &mut Words<'_>, negatable: &[&str]) -> Option<Negation> {
    let negation = match words.keyword() {
        "no" => Negation::No,
        "default" => Negation::Default,
        _ => return Some(Negation::None),
    };
    match words.next() {
        Some(keyword) if negatable.contains(&keyword) => {
            words.set_keyword(keyword);
            Some(negation)
        }
        _ => {
            let place = Place::Reading(words.location().clone());
            let message = "negation/default currently supported only for options, log, busy-polling, set-dumpable, strict-limits, insecure-fork-wanted and numa-cpu-mapping.";
            words.diags().push(Diagnostic::new(Severity::Alert, place, message));
            None
        }
    }
}

/// The section's line: its name, and the defaults it starts from.
fn open(
    section: &Section,
    kind: Kind,
    defaults: &mut DefaultsSections,
    diags: &mut Diagnostics,
) -> Option<Proxy> {
    let header = &section.header;
    let mut words = Words::new(header, diags);
    let name: Arc<str> = match words.peek() {
        Some("from") if kind == Kind::Defaults => "".into(),
        Some(name) => {
            words.next();
            if let Some(character) = invalid_character(name) {
                let keyword = kind.keyword();
                words
                    .alert(format!("character '{character}' is not permitted in '{keyword}' name '{name}'."));
            }
            name.into()
        }
        None if kind == Kind::Defaults => "".into(),
        None => {
            words.alert(format!("'{}' expects an <id> argument", kind.keyword()));
            // The rest of the section is checked all the same.
            "".into()
        }
    };
    let from = origin(&mut words, kind);
    let base = defaults.find(kind, &name, from.as_deref(), header, diags);
    Some(Proxy {
        unknown_errors: Vec::new(),
        kind,
        name,
        location: header.location.clone(),
        settings: base,
        numeric_id: None,
        description: None,
        binds: Vec::new(),
        list_lines: Vec::new(),
        servers: Vec::new(),
        captures: Captures::default(),
    })
}

/// `from NAME`, and nothing behind it.
fn origin(words: &mut Words<'_>, kind: Kind) -> Option<String> {
    let from = if words.take("from") {
        match words.next() {
            Some(name) => Some(name.to_owned()),
            None => {
                words.alert(format!("'{}' expects a defaults section's name after 'from'.", kind.keyword()));
                None
            }
        }
    } else {
        None
    };
    match words.peek() {
        Some(_) if from.is_none() && kind != Kind::Backend && kind != Kind::Defaults => {
            words.alert("please use the 'bind' keyword for listening addresses.");
            words.skip_rest();
        }
        _ => {
            words.end();
        }
    }
    from
}

/// The place of a statement as the model keeps it.
pub(crate) fn place(location: &Location) -> crate::model::Place {
    crate::model::Place { file: location.file.clone(), line: location.line }
}

/// The words that open sections, for the reader.
pub(crate) fn section_words() -> Vec<&'static str> {
    SECTIONS.iter().map(|row| row.name).collect()
}
