//! The tables of words, one file per chapter of the manual, and the sections that hold them.

pub(crate) mod balance;
pub(crate) mod bind;
mod block;
mod capture;
pub(crate) mod check;
mod commands;
mod ebpf;
pub(crate) mod errorfile;
pub(crate) mod global;
mod h2;
pub(crate) mod http_errors;
pub(crate) mod log;
mod log_format;
pub(crate) mod option;
pub(crate) mod packet;
pub(crate) mod proxy;
mod rules;
mod ruleset;
mod samples;
pub(crate) mod server;
mod shield;
mod source;
pub(crate) mod ssl_hello;
pub(crate) mod timeout;
pub(crate) mod tls;
mod tune;
pub(crate) mod userlist;
mod values;
mod variables;

use sockeye_syntax::words::Words;

use crate::draft::Kind;
use crate::keyword::{Class, Keyword, Listed, Sections, Standing, find, hint, not_yet, supported};
use crate::scope::{GlobalParser, GlobalScope};

/// What a section keyword opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opens {
    Global,
    Proxy(Kind),
    HttpErrors,
    UserList,
    CrtStore,
}

const ANY: Sections = Sections::ALL_PROXIES;

/// Every word that opens a section.
pub(crate) const SECTIONS: &[Keyword<Opens>] = &[
    supported("global", ANY, Opens::Global, "the process"),
    supported("defaults", ANY, Opens::Proxy(Kind::Defaults), "what the proxies below inherit"),
    supported("frontend", ANY, Opens::Proxy(Kind::Frontend), "accepts connections"),
    supported("backend", ANY, Opens::Proxy(Kind::Backend), "a farm of servers"),
    supported("listen", ANY, Opens::Proxy(Kind::Listen), "a frontend and its backend in one"),
    not_yet("acme", ANY),
    not_yet("cache", ANY),
    supported("crt-store", ANY, Opens::CrtStore, "certificates with their files, by names"),
    not_yet("fcgi-app", ANY),
    supported("http-errors", ANY, Opens::HttpErrors, "replies of the proxy's own, for several proxies"),
    not_yet("log-forward", ANY),
    not_yet("log-profile", ANY),
    not_yet("mailers", ANY),
    not_yet("peers", ANY),
    not_yet("program", ANY),
    not_yet("resolvers", ANY),
    not_yet("ring", ANY),
    not_yet("traces", ANY),
    supported("userlist", ANY, Opens::UserList, "users, groups and passwords"),
];

/// The words of `global`.
const GLOBAL: &[&[Keyword<GlobalParser>]] =
    &[global::TABLE, ebpf::TABLE, tune::TABLE, tls::global::TABLE, h2::TABLE];

/// One statement of `global`, its `no` or `default` already taken.
pub(crate) fn global_statement(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    let name = words.keyword().to_owned();
    let Some(row) = GLOBAL.iter().find_map(|table| find(table, &name)) else {
        let known = GLOBAL.iter().copied().flatten().map(|row| row.name);
        let hint = hint(words, &name, known.chain(SECTIONS.iter().map(|row| row.name)));
        words.alert(format!("unknown keyword '{name}' in 'global' section{hint}"));
        return;
    };
    if let Some(parser) = row.parser(words) {
        parser(words, scope);
    }
}

/// See [`crate::keyword::all`].
pub(crate) fn all() -> Vec<Listed> {
    fn add<P: Copy>(out: &mut Vec<Listed>, table: &[Keyword<P>], class: Class, prefix: &'static str) {
        out.extend(table.iter().map(|row| {
            let suffix = match row.arguments {
                0 => "",
                _ => " +1",
            };
            Listed { suffix, ..row.listed(class, prefix) }
        }));
    }
    let mut out = Vec::new();
    add(&mut out, SECTIONS, Class::Section, "");
    for table in GLOBAL {
        add(&mut out, table, Class::Global, "");
    }
    add(&mut out, proxy::TABLE, Class::Proxy, "");
    add(&mut out, timeout::TABLE, Class::Timeout, "timeout ");
    add(&mut out, option::TABLE, Class::Option, "option ");
    add(&mut out, bind::TABLE, Class::Bind, "bind <addr> ");
    add(&mut out, tls::bind::TABLE, Class::Bind, "bind <addr> ");
    add(&mut out, server::TABLE, Class::Server, "server <name> <addr> ");
    add(&mut out, server::PROXY_PROTOCOL, Class::Server, "server <name> <addr> ");
    add(&mut out, tls::server::TABLE, Class::Server, "server <name> <addr> ");
    add(&mut out, check::HTTP_CHECK, Class::HttpCheck, "http-check ");
    add(&mut out, check::TCP_CHECK, Class::TcpCheck, "tcp-check ");
    let unread = |class, prefix, name, suffix| Listed {
        class,
        prefix,
        name,
        suffix,
        sections: None,
        standing: Standing::NotYet,
        help: "not implemented yet",
    };
    for (class, prefix, words) in rules::LISTS {
        out.extend(words.split_ascii_whitespace().map(|word| {
            let name = word.trim_end_matches('*');
            let listed = unread(*class, prefix, name, &word[name.len()..]);
            rules::standing(listed)
        }));
    }
    out.extend(samples::all());
    out.extend(commands::COMMANDS.lines().map(|line| unread(Class::Cli, "", line, "")));
    out
}
