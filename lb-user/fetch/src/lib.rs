//! The sample fetches of the expression language (manual 7.3.2 to 7.3.6), and the words that only conditions have.
//!
//! Pure: a fetch looks at a [`Scene`](sockeye_sample::Scene) and nothing else. One static table per chapter or
//! mechanism, collected by [`all`]; which arguments a word takes and where it is valid stands in the signatures of
//! `sockeye-sample`. A fetch whose subject may still arrive says so with `Scene::wait`.

mod arguments;

mod constant;
mod process;
mod proxy;

mod connection;
mod errors;
mod stream;

mod http;

mod distcc;
mod hello;
mod payload;
mod rdp;
mod tls;

mod acl_words;

pub mod fuzz;

#[cfg(test)]
mod testing;

use sockeye_sample::Fetch;

pub use acl_words::{ACLS, PREDEFINED};
pub use errors::error_text;
pub use tls::{client_common_name, own_key, own_signature};

/// Every fetch that is obeyed.
pub fn all() -> Vec<&'static [Fetch]> {
    let mut tables = vec![
        constant::FETCHES,
        process::FETCHES,
        proxy::FETCHES,
        connection::FETCHES,
        errors::FETCHES,
        stream::FETCHES,
        payload::FETCHES,
        hello::FETCHES,
        rdp::FETCHES,
        distcc::FETCHES,
    ];
    tables.extend(tls::tables());
    tables.extend(http::all());
    tables
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use sockeye_sample::fetches;

    use super::{ACLS, PREDEFINED, all};

    fn names() -> HashSet<&'static str> {
        all().into_iter().flatten().map(|fetch| fetch.name).collect()
    }

    #[test]
    fn every_word_is_one_of_haproxy_and_stands_once() {
        let words = all();
        let count = words.iter().map(|table| table.len()).sum::<usize>();
        assert_eq!(names().len(), count);
        for fetch in words.into_iter().flatten() {
            assert!(fetches().contains_key(fetch.name), "{}", fetch.name);
        }
    }

    #[test]
    fn words_of_acls_lead_to_fetches() {
        for (name, fetch, method) in ACLS {
            assert!(names().contains(fetch), "{name} = {fetch} -m {method}");
        }
        for (name, words) in PREDEFINED {
            let word = words[0].split('(').next().unwrap();
            let known = names().contains(word) || ACLS.iter().any(|(acl, ..)| *acl == word);
            assert!(known, "{name}: {word}");
        }
    }

    /// What HAProxy has and this crate has not. Grows only on purpose.
    #[test]
    fn words_that_are_missing() {
        let names = names();
        let of_tables = |name: &str| {
            let mut parts = name.split('_');
            let (first, second) = (parts.next().unwrap_or_default(), parts.next());
            first == "table"
                || first.starts_with("sc") && first.len() <= 3 && second.is_some() && first != "scook"
                || first == "src" && !matches!(second, None | Some("port" | "is"))
        };
        let mut missing: Vec<_> =
            fetches().keys().copied().filter(|name| !names.contains(name) && !of_tables(name)).collect();
        missing.sort_unstable();
        let expected = "acl bs.debug_str cpu_usage_grp cpu_usage_proc cpu_usage_thr dump_all_vars \
                        fc_saved_syn fcgi.docroot fcgi.index fs.debug_str internal.htx.data \
                        internal.htx.free internal.htx.free_data internal.htx.has_eom \
                        internal.htx.nbblks internal.htx.size internal.htx.used internal.htx_blk.data \
                        internal.htx_blk.hdrname internal.htx_blk.hdrval internal.htx_blk.size \
                        internal.htx_blk.start_line internal.htx_blk.type internal.strm.is_htx \
                        spoe.engine-id ssl_bc_client_early_traffic_secret \
                        ssl_bc_client_handshake_traffic_secret ssl_bc_client_traffic_secret_0 \
                        ssl_bc_early_exporter_secret ssl_bc_exporter_secret \
                        ssl_bc_server_handshake_traffic_secret ssl_bc_server_traffic_secret_0 \
                        ssl_bc_session_key ssl_bc_unique_id ssl_c_policies ssl_fc_unique_id term_events";
        assert_eq!(missing.join(" "), expected);
    }
}
