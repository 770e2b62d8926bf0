//! The agreed parameters of a connection, its session, its secrets and its errors: `ssl_fc…` and `ssl_bc…`.
//!
//! `ssl_fc_unique_id` and `ssl_bc_unique_id` are left out: they are the Finished message, which rustls keeps to itself.
//! Secrets are those of clients' connections, with `tune.ssl.keylog on`; the session's key and its id exist in TLS 1.2.

use sockeye_sample::tls::{EarlyData, Secrets, TlsFacts, TlsSide, cipher_bits, group_name};
use sockeye_sample::{Fetch, Scene, Value};

use TlsSide::{Back, Front};

/// Looks at one connection, which speaks TLS.
type Look = for<'a> fn(&'a TlsFacts) -> Option<Value<'a>>;

fn look<'a>(scene: &Scene<'a>, side: TlsSide, what: Look) -> Option<Value<'a>> {
    what(scene.tls(side)?)
}

/// True and false even where there is no TLS.
fn flag<'a>(scene: &Scene<'a>, side: TlsSide, what: fn(&TlsFacts) -> bool) -> Option<Value<'a>> {
    Some(Value::Bool(scene.tls(side).is_some_and(what)))
}

pub(crate) static FETCHES: &[Fetch] = &[
    Fetch::new("ssl_fc", |scene, _| flag(scene, Front, |_| true)),
    Fetch::new("ssl_bc", |scene, _| flag(scene, Back, |_| true)),
    Fetch::new("ssl_fc_is_resumed", |scene, _| flag(scene, Front, |tls| tls.resumed)),
    Fetch::new("ssl_bc_is_resumed", |scene, _| flag(scene, Back, |tls| tls.resumed)),
    Fetch::new("ssl_fc_has_sni", |scene, _| flag(scene, Front, |tls| tls.sni.is_some())),
    Fetch::new("ssl_fc_sni", |scene, _| look(scene, Front, server_name)),
    Fetch::new("ssl_bc_sni", |scene, _| look(scene, Back, server_name)),
    Fetch::new("ssl_fc_alpn", |scene, _| look(scene, Front, protocol)),
    Fetch::new("ssl_bc_alpn", |scene, _| look(scene, Back, protocol)),
    // Nobody negotiates protocols that way any more: there never is one.
    Fetch::new("ssl_fc_npn", |_, _| None),
    Fetch::new("ssl_bc_npn", |_, _| None),
    Fetch::new("ssl_fc_protocol", |scene, _| look(scene, Front, version)),
    Fetch::new("ssl_bc_protocol", |scene, _| look(scene, Back, version)),
    Fetch::new("ssl_fc_cipher", |scene, _| look(scene, Front, cipher)),
    Fetch::new("ssl_bc_cipher", |scene, _| look(scene, Back, cipher)),
    Fetch::new("ssl_fc_alg_keysize", |scene, _| look(scene, Front, key_bits)),
    Fetch::new("ssl_bc_alg_keysize", |scene, _| look(scene, Back, key_bits)),
    Fetch::new("ssl_fc_use_keysize", |scene, _| look(scene, Front, key_bits)),
    Fetch::new("ssl_bc_use_keysize", |scene, _| look(scene, Back, key_bits)),
    Fetch::new("ssl_fc_curve", |scene, _| look(scene, Front, group)),
    Fetch::new("ssl_bc_curve", |scene, _| look(scene, Back, group)),
    Fetch::new("ssl_fc_has_crt", |scene, _| {
        look(scene, Front, |tls| tls.established.then_some(Value::Bool(tls.peer_certificate_sent)))
    }),
    Fetch::new("ssl_fc_has_early", |scene, _| {
        look(scene, Front, |tls| Some(Value::Bool(tls.early_data == EarlyData::Unconfirmed)))
    }),
    Fetch::new("ssl_fc_early_rcvd", |scene, _| {
        look(scene, Front, |tls| Some(Value::Bool(tls.early_data != EarlyData::None)))
    }),
    Fetch::new("ssl_fc_crtname", |scene, _| {
        look(scene, Front, |tls| Some(Value::str(tls.own_certificate_name.as_deref()?.as_bytes())))
    }),
    // What went wrong.
    Fetch::new("ssl_fc_err", |scene, _| look(scene, Front, error)),
    Fetch::new("ssl_bc_err", |scene, _| look(scene, Back, error)),
    Fetch::new("ssl_fc_err_str", |scene, _| look(scene, Front, error_text)),
    Fetch::new("ssl_bc_err_str", |scene, _| look(scene, Back, error_text)),
    // The session and its secrets.
    Fetch::new("ssl_fc_session_id", |scene, _| look(scene, Front, session_id)),
    Fetch::new("ssl_bc_session_id", |scene, _| look(scene, Back, session_id)),
    Fetch::new("ssl_fc_session_key", |scene, _| look(scene, Front, session_key)),
    Fetch::new("ssl_fc_client_random", |scene, _| look(scene, Front, client_random)),
    Fetch::new("ssl_bc_client_random", |scene, _| look(scene, Back, client_random)),
    Fetch::new("ssl_fc_server_random", |scene, _| look(scene, Front, server_random)),
    Fetch::new("ssl_bc_server_random", |scene, _| look(scene, Back, server_random)),
    Fetch::new("ssl_fc_client_early_traffic_secret", |scene, _| {
        secret(scene, |secrets| &secrets.client_early_traffic)
    }),
    Fetch::new("ssl_fc_client_handshake_traffic_secret", |scene, _| {
        secret(scene, |secrets| &secrets.client_handshake_traffic)
    }),
    Fetch::new("ssl_fc_server_handshake_traffic_secret", |scene, _| {
        secret(scene, |secrets| &secrets.server_handshake_traffic)
    }),
    Fetch::new("ssl_fc_client_traffic_secret_0", |scene, _| {
        secret(scene, |secrets| &secrets.client_traffic_0)
    }),
    Fetch::new("ssl_fc_server_traffic_secret_0", |scene, _| {
        secret(scene, |secrets| &secrets.server_traffic_0)
    }),
    Fetch::new("ssl_fc_exporter_secret", |scene, _| secret(scene, |secrets| &secrets.exporter)),
    Fetch::new("ssl_fc_early_exporter_secret", |scene, _| secret(scene, |secrets| &secrets.early_exporter)),
];

fn server_name(tls: &TlsFacts) -> Option<Value<'_>> {
    tls.sni.as_deref().map(Value::str)
}

fn protocol(tls: &TlsFacts) -> Option<Value<'_>> {
    tls.alpn.as_deref().map(Value::str)
}

fn version(tls: &TlsFacts) -> Option<Value<'_>> {
    tls.version_name().map(|name| Value::str(name.as_bytes()))
}

fn cipher(tls: &TlsFacts) -> Option<Value<'_>> {
    tls.cipher_name().map(|name| Value::str(name.as_bytes()))
}

/// Those of the cipher and those in use are the same for every cipher that is not broken.
fn key_bits(tls: &TlsFacts) -> Option<Value<'_>> {
    cipher_bits(tls.cipher?).map(|bits| Value::Int(bits.into()))
}

fn group(tls: &TlsFacts) -> Option<Value<'_>> {
    group_name(tls.group?).map(|name| Value::str(name.as_bytes()))
}

fn error(tls: &TlsFacts) -> Option<Value<'_>> {
    Some(Value::Int(tls.error.map_or(0, |error| error.code().into())))
}

fn error_text(tls: &TlsFacts) -> Option<Value<'_>> {
    tls.error.map(|error| Value::string(error.to_string()))
}

fn session_id(tls: &TlsFacts) -> Option<Value<'_>> {
    (tls.established && !tls.session_id.is_empty()).then(|| Value::bin(&tls.session_id))
}

fn session_key(tls: &TlsFacts) -> Option<Value<'_>> {
    let master = &tls.secrets.as_ref()?.master;
    (!master.is_empty()).then(|| Value::bin(master))
}

fn client_random(tls: &TlsFacts) -> Option<Value<'_>> {
    tls.client_random.as_ref().map(|random| Value::bin(random))
}

fn server_random(tls: &TlsFacts) -> Option<Value<'_>> {
    tls.server_random.as_ref().map(|random| Value::bin(random))
}

/// A secret in hexadecimal, as key logs have it.
fn secret<'a>(scene: &Scene<'a>, which: for<'b> fn(&'b Secrets) -> &'b [u8]) -> Option<Value<'a>> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";

    let secret = which(scene.tls(Front)?.secrets.as_ref()?);
    let digit = |nibble: u8| DIGITS[usize::from(nibble & 0xf)];
    let text: Vec<u8> = secret.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect();
    (!text.is_empty()).then_some(Value::string(text))
}
