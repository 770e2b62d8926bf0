//! The rules that are measured: twenty ACLs of the usual kinds, ten header edits and a lookup in a map, and the
//! requests that go through all of them.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Endings in the list that an ACL reads from a file.
const ENDINGS: usize = 100;

/// Each ACL is looked at once per request, each edit is done once; `<endings>` and `<map>` are files.
const RULES: &str = r#"
    acl is_static path_beg /static /images /css /js
    acl is_api path_beg /api/
    acl is_private path_dir admin private
    acl is_blocked path_end -f <endings>
    acl is_script path_reg ^/cgi-bin/.*\.(pl|cgi)$
    acl is_versioned path_reg ^/v[0-9]+/[a-z]+/
    acl host_shop hdr(host) -i www.example.com shop.example.com
    acl host_admin hdr(host) -i admin.example.com
    acl from_here src 127.0.0.0/8 ::1
    acl from_lan src 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16
    acl is_get method GET HEAD
    acl is_post method POST PUT
    acl is_bot hdr_sub(user-agent) -i bot crawler spider
    acl is_mobile hdr_sub(user-agent) Mobile Android
    acl has_session cook(session) -m found
    acl is_beta cook(flavour) beta
    acl wants_debug url_param(debug) 1
    acl reads_german hdr_beg(accept-language) de
    acl is_secure dst_port 443
    acl is_gold var(txn.tier) -m str gold
    http-request set-var(txn.tier) str(silver)
    http-request deny if is_blocked or is_script or is_versioned or is_api or is_static or is_private
    http-request deny if is_post or host_admin or from_lan or is_bot or wants_debug or is_beta
    http-request set-header X-Real-IP %[src] if from_here
    http-request set-header X-Forwarded-Proto http if !is_secure
    http-request set-header X-Shop %[req.hdr(host),lower] if host_shop
    http-request add-header X-Path %[path,lower] if is_get
    http-request set-header X-Agent %[req.hdr(user-agent)] if !is_mobile
    http-request set-header X-Session %[req.cook(session)] if has_session
    http-request set-header X-Group %[path,map_str(<map>,none)] if !is_gold
    http-request del-header X-Debug
    http-request replace-header Referer ^https?://([^/]*)/.* \1 if reads_german
    http-request add-header X-Via "%[method] by edge"
"#;

/// Writes the files of the rules, and gives the lines for the frontend.
pub(super) fn write(folder: &Path, entries: usize) -> Result<String> {
    let endings = (0..ENDINGS).fold(String::new(), |mut text, number| {
        // Writing to a text cannot fail.
        let _ = writeln!(text, ".blocked{number}");
        text
    });
    let map = (0..entries).fold(String::new(), |mut text, number| {
        let _ = writeln!(text, "{} group-{}", path(number), number % 64);
        text
    });
    let mut rules = RULES.trim_start_matches('\n').to_owned();
    for (name, text) in [("endings", endings), ("map", map)] {
        let file = folder.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        rules = rules.replace(&format!("<{name}>"), &file.display().to_string());
    }
    Ok(rules)
}

/// A browser's request for one of the pages.
pub(super) fn request(page: usize) -> Vec<u8> {
    format!(
        "GET {}?sort=price&dir=up HTTP/1.1\r\nHost: shop.example.com\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
         Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
         Accept-Language: de,en-US;q=0.7,en;q=0.3\r\nAccept-Encoding: gzip, deflate, br\r\n\
         Referer: https://shop.example.com/Catalogue/\r\n\
         Cookie: theme=dark; session=0123456789abcdef; flavour=plain\r\n\r\n",
        path(page)
    )
    .into_bytes()
}

/// A path as shops have them.
fn path(page: usize) -> String {
    format!("/Catalogue/part-{}/item-{page}/view.html", page % 97)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_rules_as_is_said_and_every_acl_is_used_once() {
        let folder = tempfile::tempdir().unwrap();
        let rules = write(folder.path(), 10).unwrap();
        let acls: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("acl ")).collect();
        assert_eq!(acls.len(), 20);
        for acl in acls {
            let name = acl.split(' ').next().unwrap();
            let used = rules.split_whitespace().filter(|word| word.trim_start_matches('!') == name).count();
            assert_eq!(used, 2, "{name}: defined and used");
        }
        assert_eq!(rules.matches("-header ").count(), 10);
        assert_eq!(fs::read_to_string(folder.path().join("map")).unwrap().lines().count(), 10);
        assert_eq!(fs::read_to_string(folder.path().join("endings")).unwrap().lines().count(), ENDINGS);
        assert!(!rules.contains('<'));
    }
}
