//! What the client offered in its hello, the stuff of fingerprints: `ssl_fc_cipherlist_bin` and its kin. With
//! `tune.ssl.capture-buffer-size` only.

use std::borrow::Cow;

use sockeye_sample::tls::{HelloCapture, TlsSide, cipher_name};
use sockeye_sample::{Arg, Fetch, Scene, Value};

use crate::arguments;

pub(crate) static FETCHES: &[Fetch] = &[
    Fetch::new("ssl_fc_protocol_hello_id", |scene, _| Some(Value::Int(hello(scene)?.version.into()))),
    Fetch::new("ssl_fc_cipherlist_xxh", |scene, _| {
        Some(Value::Int(hello(scene)?.ciphers_hash.cast_signed()))
    }),
    Fetch::new("ssl_fc_cipherlist_bin", |scene, args| {
        numbers(scene, args, |hello| &hello.ciphers).map(Value::Bin)
    }),
    Fetch::new("ssl_fc_cipherlist_hex", |scene, args| {
        let ciphers = numbers(scene, args, |hello| &hello.ciphers)?;
        Some(Value::string(ciphers.iter().map(|byte| format!("{byte:02X}")).collect::<String>()))
    }),
    Fetch::new("ssl_fc_cipherlist_str", cipher_names),
    Fetch::new("ssl_fc_extlist_bin", |scene, args| {
        numbers(scene, args, |hello| &hello.extensions).map(Value::Bin)
    }),
    Fetch::new("ssl_fc_eclist_bin", |scene, args| {
        numbers(scene, args, |hello| &hello.groups).map(Value::Bin)
    }),
    Fetch::new("ssl_fc_ecformats_bin", |scene, _| {
        Some(&*hello(scene)?.point_formats).filter(|formats| !formats.is_empty()).map(Value::bin)
    }),
    Fetch::new("ssl_fc_sigalgs_bin", |scene, args| {
        numbers(scene, args, |hello| &hello.signatures).map(Value::Bin)
    }),
    Fetch::new("ssl_fc_supported_versions_bin", |scene, args| {
        numbers(scene, args, |hello| &hello.versions).map(Value::Bin)
    }),
];

fn hello<'a>(scene: &Scene<'a>) -> Option<&'a HelloCapture> {
    scene.tls(TlsSide::Front)?.hello.as_ref()
}

/// A list of numbers of two bytes; with 1 as argument without those that only test whether we mind (RFC 8701).
fn numbers<'a>(
    scene: &Scene<'a>,
    args: &[Arg],
    which: for<'b> fn(&'b HelloCapture) -> &'b [u8],
) -> Option<Cow<'a, [u8]>> {
    let list = which(hello(scene)?);
    let list = if arguments::int(args, 0).unwrap_or_default() & 1 == 0 {
        Cow::Borrowed(list)
    } else {
        Cow::Owned(list.chunks_exact(2).filter(|pair| !is_grease(pair)).flatten().copied().collect())
    };
    (!list.is_empty()).then_some(list)
}

fn is_grease(pair: &[u8]) -> bool {
    pair[0] == pair[1] && pair[0] & 0xf == 0xa
}

/// OpenSSL's names with commas between.
fn cipher_names<'a>(scene: &Scene<'a>, args: &'a [Arg]) -> Option<Value<'a>> {
    let ciphers = numbers(scene, args, |hello| &hello.ciphers)?;
    let mut text = String::new();
    for pair in ciphers.chunks_exact(2) {
        if !text.is_empty() {
            text.push(',');
        }
        let number = u16::from_be_bytes([pair[0], pair[1]]);
        match cipher_name(number) {
            Some(name) => text.push_str(name),
            None => text.push_str(&format!("UNKNOWN({number:04x})")),
        }
    }
    Some(Value::string(text))
}
