//! What matches, as HAProxy 3.2 answers for the same lists, and the manual's own examples (7.1).

use std::io;
use std::net::IpAddr;

use sockeye_pattern::{Flags, Key, Library, Matcher, Method};

const BEG: &str = "/a 1\n/a/b 2\n/ 3\n/a 4\n/a/b/c 5\n";
const END: &str = ".com 1\nexample.com 2\nw.example.com 3\nm 0\n";
const SUB: &str = "b 1\nabc 2\na 3\nzzz 4\nzz 5\n";
const DIR: &str = "/images/png 1\nimages 2\npng 3\na/b/c 4\nb 5\n/ 6\nc? 7\n";
const DOM: &str = "www 1\nexample.com 2\ncom 3\n.org. 4\na.b 5\n80/x 6\n";
const REG: &str = "^/a 1\n^/a/(.*)$ 2\nb 3\n[[a]b] 4\nx&&y 5\n\\<q 6\n";
const INT: &str = "1:10 a\n5 b\n3:20 c\n100: d\n:-5 e\n-1 f\n";
const LEN: &str = "4 a\n3:5 b\n:1 c\n";
const BIN: &str = "616263 a\n00fF b\n";
const STR: &str = "a 1\nA 2\na 3\nb   x  y  \n  c \t z\t\n# d\n #e 5\nf\ng v # c\nh 1\r\n";
const IP: &str = "10.0.0.0/8 a\n10.1.0.0/16 b\n10.1.2.3 c\n172.16.0.0/255.255.0.0 f\n9.0.0.5/255.0.0.255 g\n\
    2001:db8::/32 h\n::ffff:11.0.0.0/104 i\n12.0.0.0/8 j\n10.1.2.3 k\n9.1.0.0/16 o\n0.0.0.0/4 z\n\
    200.0.0.7/255.0.0.255 m\n";

fn library(text: &str) -> Library {
    let text = text.as_bytes().to_vec();
    Library::new(
        Box::new(
            move |name| {
                if name == "list" { Ok(text.clone()) } else { Err(io::ErrorKind::NotFound.into()) }
            },
        ),
        Box::new(|name| (name == "host.example").then_some(IpAddr::from([10, 0, 0, 1]))),
    )
}

fn key(method: Method, key: &str) -> Key<'_> {
    match method {
        Method::Int => Key::Int(key.parse().expect("a number")),
        Method::Ip => Key::Ip(key.parse().expect("an address")),
        Method::Bool => Key::Bool(key == "true"),
        _ => Key::Bytes(key.as_bytes()),
    }
}

#[test]
fn maps() {
    #[track_caller]
    fn check(method: Method, list: &str, rows: &[(&str, &str)]) {
        let matcher = Matcher::of_map(&mut library(list), method, "list").expect("a map");
        for (text, expected) in rows {
            let found = matcher.find(key(method, text));
            let value = found.and_then(|entry| entry.value.as_deref().map(<[u8]>::to_vec));
            let value = value.map_or_else(|| "-".to_owned(), |value| String::from_utf8(value).expect("text"));
            assert_eq!(value, *expected, "{} {text}", method.name());
            assert_eq!(matcher.matches(key(method, text)), *expected != "-", "{} {text}", method.name());
        }
    }
    check(
        Method::Beg,
        BEG,
        &[("/a/b/c/d", "5"), ("/a/bx", "2"), ("/ax", "1"), ("/b", "3"), ("b", "-"), ("", "-")],
    );
    check(
        Method::End,
        END,
        &[("www.example.com", "1"), ("x.com", "1"), ("m", "0"), ("com", "0"), ("n", "-")],
    );
    check(Method::Sub, SUB, &[("xabc", "1"), ("xac", "3"), ("zzzz", "4"), ("yzzy", "5"), ("", "-")]);
    check(
        Method::Dir,
        DIR,
        &[
            ("/images/png/x", "1"),
            ("/x/images/png/x", "1"),
            ("/png/images", "2"),
            ("/a/b/c", "4"),
            ("/a/b", "5"),
            ("/zz", "-"),
            ("/", "6"),
            ("", "6"),
            ("zz", "-"),
            ("zz/", "6"),
            ("/c?x", "7"),
        ],
    );
    check(
        Method::Dom,
        DOM,
        &[
            ("http://www.example.com:80/x", "1"),
            ("example.com", "2"),
            ("xexample.com", "3"),
            ("a.org", "4"),
            ("a..b", "-"),
            ("z:80/x", "6"),
        ],
    );
    check(
        Method::Reg,
        REG,
        &[("/a/x", "1"), ("b", "3"), ("ab]", "3"), ("[b]", "3"), ("x&&y", "5"), ("zq", "-"), ("<q", "6")],
    );
    check(
        Method::Int,
        INT,
        &[
            ("5", "a"),
            ("3", "a"),
            ("15", "c"),
            ("100", "d"),
            ("-6", "e"),
            ("-5", "e"),
            ("-1", "f"),
            ("50", "-"),
        ],
    );
    check(Method::Len, LEN, &[("abcd", "a"), ("abc", "b"), ("", "c"), ("ab", "-")]);
    check(Method::Bin, BIN, &[("abc", "a"), ("ab", "-"), ("616263", "-")]);
    check(
        Method::Str,
        STR,
        &[
            ("a", "1"),
            ("A", "2"),
            ("b", "x  y"),
            ("c", "z"),
            ("#e", "5"),
            ("f", ""),
            ("g", "v # c"),
            ("h", "1"),
            ("#", "-"),
            ("aa", "-"),
        ],
    );
    check(
        Method::Ip,
        IP,
        &[
            ("10.1.2.3", "c"),
            ("10.1.2.4", "b"),
            ("10.2.2.4", "a"),
            ("172.16.9.9", "f"),
            ("9.4.4.5", "z"),
            ("9.1.4.5", "o"),
            ("11.4.4.5", "z"),
            ("200.0.0.1", "-"),
            ("200.9.9.7", "m"),
            ("2001:db8::1", "h"),
            ("::ffff:10.1.2.3", "c"),
            ("::ffff:11.1.2.3", "i"),
            ("::10.1.2.3", "c"),
            ("2002:0a01:0203::", "c"),
            ("2002:0a01:0203::1", "c"),
            ("2002:0c00:0203:4::1", "j"),
            ("::ffff:9.4.4.5", "z"),
            ("::1", "z"),
            ("1::1", "-"),
        ],
    );
}

/// Flags, patterns of the configuration, a key and whether it matches.
#[test]
fn written_in_the_configuration() {
    #[track_caller]
    fn check(method: Method, ignore_case: bool, patterns: &str, text: &str, expected: bool) {
        let flags = Flags { ignore_case, no_names: false };
        let patterns: Vec<&str> = patterns.split(',').collect();
        let matcher =
            Matcher::build(&mut library(""), method, flags, &patterns, &[], false, None).expect("patterns");
        let name = method.name();
        assert_eq!(matcher.matches(key(method, text)), expected, "{name} {patterns:?} {text}");
    }
    check(Method::Str, true, "aBc", "AbC", true);
    check(Method::Str, false, "aBc", "AbC", false);
    check(Method::Beg, true, "aB", "AbC", true);
    check(Method::End, true, "bC", "AbC", true);
    check(Method::Sub, true, "aBc", "xAbCx", true);
    check(Method::Sub, true, "aBc,d,e,f", "xAbCx", true);
    check(Method::Dir, true, "a", "/A/b", true);
    check(Method::Dom, true, "b", "a.B", true);
    check(Method::Reg, true, "^abc", "AbC", true);
    check(Method::Int, false, "gt,4", "5", true);
    check(Method::Int, false, "lt,4,gt,6", "5", false);
    check(Method::Int, false, "gt,6,lt,9", "5", true);
    check(Method::Int, false, "eq,1:10", "5", true);
    check(Method::Int, false, "ge,5", "5", true);
    check(Method::Int, false, "le,4", "5", false);
    check(Method::Len, false, "3", "abc", true);
    check(Method::Len, false, "gt,2", "abc", true);
    check(Method::Len, false, "5:", "abc", false);
    check(Method::Bin, false, "616263", "abc", true);
    check(Method::Bool, false, "false", "true", true);
    check(Method::Bool, false, "true", "false", false);
    // An empty word ends the list.
    check(Method::Str, false, "", "", false);
    check(Method::Str, false, ",a", "a", false);
    check(Method::Ip, false, "host.example", "10.0.0.1", true);
    check(Method::Ip, false, "host.example/8", "10.2.3.4", true);
    // The manual's ranges: 7.1.2.
    check(Method::Int, false, "1024:65535", "1024", true);
    check(Method::Int, false, ":1023", "1024", false);
    // "lt 0" is how the manual finds a negative Content-Length.
    check(Method::Int, false, "lt,0", "-1", true);
    // The manual's sub-directories and domains: 7.1.3.
    for part in ["/images", "/images/png", "images/png", "/png/logo", "logo/32x32.png", "32x32.png"] {
        check(Method::Dir, false, part, "/images/png/logo/32x32.png", true);
    }
    for part in ["32x32", "image"] {
        check(Method::Dir, false, part, "/images/png/logo/32x32.png", false);
    }
    for part in ["http", "www1", ".www1", "dc-eu", "example", "com", "80", "dc-eu.example", "blah", ":www1:"]
    {
        check(Method::Dom, false, part, "http://www1.dc-eu.example.com:80/blah", true);
    }
    for part in ["eu", "dc"] {
        check(Method::Dom, false, part, "http://www1.dc-eu.example.com:80/blah", false);
    }
}

#[test]
fn mistakes() {
    #[track_caller]
    fn check(method: Method, list: &str, expected: &str) {
        let error = Matcher::of_map(&mut library(list), method, "list").expect_err("a mistake");
        assert_eq!(error, expected);
    }
    check(Method::Int, "1 a\n\nx b\n", "'x' is not a number at line 3 of file 'list'");
    check(
        Method::Ip,
        "1.2.3.4 a\n1.2.3 b\nno.name c\n",
        "'no.name' is not a valid IPv4 or IPv6 address at line 3 of file 'list'",
    );
    check(Method::Bin, "0 a", "'0' is not a sequence of bytes in hexadecimal at line 1 of file 'list'");
    let long = format!("a b\n{} c\n", "k".repeat(70_000));
    check(Method::Str, &long, "an entry has at most 65536 bytes at line 2 of file 'list'");
    let error = Matcher::of_map(&mut library("( x"), Method::Reg, "list").expect_err("a mistake");
    assert!(
        error.starts_with("regex '(' is invalid:") && error.ends_with("at line 1 of file 'list'"),
        "{error}"
    );
    let flags = Flags { ignore_case: false, no_names: true };
    let build = |patterns: &[&str], method| {
        Matcher::build(&mut library(""), method, flags, patterns, &[], false, None).expect_err("a mistake")
    };
    assert_eq!(build(&["host.example"], Method::Ip), "'host.example' is not a valid IPv4 or IPv6 address");
    assert_eq!(build(&["gt"], Method::Int), "an operator needs a number behind it");
}

/// Manual 2.7, and numbers given by `-u`.
#[test]
fn names_of_lists() {
    let mut library = library("a 1\n");
    let list = library.open("list", true).expect("there");
    for same in ["file@list", "opt@list"] {
        assert_eq!(library.open(same, true).expect("there").id(), list.id(), "{same}");
    }
    assert_eq!(
        library.open("list", false).expect_err("a map"),
        "The file \"list\" is already used as two column file and cannot be used by as one column file."
    );
    assert!(
        library
            .open("missing", true)
            .expect_err("missing")
            .starts_with("failed to open pattern file <missing>")
    );
    assert!(library.open("opt@missing", true).expect("may be missing").is_empty());
    assert_eq!(&*library.open("virt@dynamic", true).expect("no file").name, "virt@dynamic");
    let mut numbered = |id| {
        Matcher::build(&mut library, Method::Str, Flags::default(), &["a"], &[], false, id)
            .map(|matcher| matcher.references().map(|list| list.id()).collect::<Vec<_>>())
    };
    assert_eq!(numbered(Some(0)), Ok(vec![0]));
    assert_eq!(numbered(Some(0)), Err("pattern id '0' is already used".to_owned()));
    assert_eq!(numbered(Some(9)), Ok(vec![9]));
    let mut ids: Vec<u32> = library.all().iter().map(|list| list.id()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), library.all().len(), "{ids:?}");
}
