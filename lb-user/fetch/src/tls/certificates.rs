//! The certificates of a connection: the client's (`ssl_c_…`), the server's (`ssl_s_…`) and the one that we present
//! to clients (`ssl_f_…`), with what the check of the client's found.

use aws_lc_rs::digest;
use sockeye_sample::tls::{TlsFacts, TlsSide};
use sockeye_sample::{Arg, Compiler, Fetch, Scene, Value};

use super::certificate::Certificate;
use super::{alternative, name, oids};
use crate::arguments;

/// Whose certificate.
#[derive(Debug, Clone, Copy)]
enum Whose {
    Client,
    Server,
    Ours,
}

use Whose::{Client, Ours, Server};

pub(crate) static FETCHES: &[Fetch] = &[
    Fetch::new("ssl_c_der", |scene, _| der(scene, Client).map(Value::bin)),
    Fetch::new("ssl_c_sha1", |scene, _| fingerprint(scene, Client)),
    Fetch::new("ssl_c_version", |scene, _| Some(Value::Int(certificate(scene, Client)?.version))),
    Fetch::new("ssl_c_serial", |scene, _| Some(Value::Bin(certificate(scene, Client)?.serial()))),
    Fetch::new("ssl_c_notbefore", |scene, _| Some(Value::str(certificate(scene, Client)?.not_before))),
    Fetch::new("ssl_c_notafter", |scene, _| Some(Value::str(certificate(scene, Client)?.not_after))),
    Fetch::new("ssl_c_key_alg", |scene, _| algorithm(certificate(scene, Client)?.key_algorithm)),
    Fetch::new("ssl_c_sig_alg", |scene, _| algorithm(certificate(scene, Client)?.signature_algorithm)),
    Fetch::new("ssl_c_s_dn", |scene, args| dn(certificate(scene, Client)?.subject, args)).prepare(prepare_dn),
    Fetch::new("ssl_c_i_dn", |scene, args| dn(certificate(scene, Client)?.issuer, args)).prepare(prepare_dn),
    Fetch::new("ssl_f_der", |scene, _| der(scene, Ours).map(Value::bin)),
    Fetch::new("ssl_f_sha1", |scene, _| fingerprint(scene, Ours)),
    Fetch::new("ssl_f_version", |scene, _| Some(Value::Int(certificate(scene, Ours)?.version))),
    Fetch::new("ssl_f_serial", |scene, _| Some(Value::Bin(certificate(scene, Ours)?.serial()))),
    Fetch::new("ssl_f_notbefore", |scene, _| Some(Value::str(certificate(scene, Ours)?.not_before))),
    Fetch::new("ssl_f_notafter", |scene, _| Some(Value::str(certificate(scene, Ours)?.not_after))),
    Fetch::new("ssl_f_key_alg", |scene, _| algorithm(certificate(scene, Ours)?.key_algorithm)),
    Fetch::new("ssl_f_sig_alg", |scene, _| algorithm(certificate(scene, Ours)?.signature_algorithm)),
    Fetch::new("ssl_f_s_dn", |scene, args| dn(certificate(scene, Ours)?.subject, args)).prepare(prepare_dn),
    Fetch::new("ssl_f_i_dn", |scene, args| dn(certificate(scene, Ours)?.issuer, args)).prepare(prepare_dn),
    Fetch::new("ssl_s_der", |scene, _| der(scene, Server).map(Value::bin)),
    Fetch::new("ssl_s_sha1", |scene, _| fingerprint(scene, Server)),
    Fetch::new("ssl_s_version", |scene, _| Some(Value::Int(certificate(scene, Server)?.version))),
    Fetch::new("ssl_s_serial", |scene, _| Some(Value::Bin(certificate(scene, Server)?.serial()))),
    Fetch::new("ssl_s_notbefore", |scene, _| Some(Value::str(certificate(scene, Server)?.not_before))),
    Fetch::new("ssl_s_notafter", |scene, _| Some(Value::str(certificate(scene, Server)?.not_after))),
    Fetch::new("ssl_s_key_alg", |scene, _| algorithm(certificate(scene, Server)?.key_algorithm)),
    Fetch::new("ssl_s_sig_alg", |scene, _| algorithm(certificate(scene, Server)?.signature_algorithm)),
    Fetch::new("ssl_s_s_dn", |scene, args| dn(certificate(scene, Server)?.subject, args)).prepare(prepare_dn),
    Fetch::new("ssl_s_i_dn", |scene, args| dn(certificate(scene, Server)?.issuer, args)).prepare(prepare_dn),
    Fetch::new("ssl_c_chain_der", |scene, _| {
        // A server keeps the client's own certificate apart from the rest.
        chain(scene.tls(TlsSide::Front)?.peer_chain.get(1..)?)
    }),
    Fetch::new("ssl_s_chain_der", |scene, _| chain(&scene.tls(TlsSide::Back)?.peer_chain)),
    Fetch::new("ssl_c_r_dn", |scene, args| dn(scene.tls(TlsSide::Front)?.root_subject.as_deref()?, args))
        .prepare(prepare_dn),
    Fetch::new("ssl_c_san", |scene, _| {
        alternative::print(certificate(scene, Client)?.alternative_names()?).map(Value::string)
    }),
    Fetch::new("ssl_c_used", |scene, _| {
        Some(Value::Bool(scene.tls(TlsSide::Front)?.peer_certificate().is_some()))
    }),
    // What the check found.
    Fetch::new("ssl_c_verify", |scene, _| {
        found(scene, |tls| tls.established.then_some(tls.verification.result))
    }),
    Fetch::new("ssl_c_err", |scene, _| found(scene, |tls| Some(tls.verification.leaf_error))),
    Fetch::new("ssl_c_ca_err", |scene, _| found(scene, |tls| Some(tls.verification.authority_error))),
    Fetch::new("ssl_c_ca_err_depth", |scene, _| found(scene, |tls| Some(tls.verification.authority_depth))),
];

fn der<'a>(scene: &Scene<'a>, whose: Whose) -> Option<&'a [u8]> {
    match whose {
        Client => scene.tls(TlsSide::Front)?.peer_certificate(),
        Server => scene.tls(TlsSide::Back)?.peer_certificate(),
        Ours => scene.tls(TlsSide::Front)?.own_certificate.as_deref(),
    }
}

fn certificate<'a>(scene: &Scene<'a>, whose: Whose) -> Option<Certificate<'a>> {
    Certificate::parse(der(scene, whose)?)
}

fn fingerprint<'a>(scene: &Scene<'a>, whose: Whose) -> Option<Value<'a>> {
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, der(scene, whose)?);
    Some(Value::binary(digest.as_ref()))
}

fn algorithm<'a>(oid: &[u8]) -> Option<Value<'a>> {
    Some(Value::str(oids::algorithm(oid).as_bytes()))
}

/// Certificates one after the other.
fn chain<'a>(certificates: &[Box<[u8]>]) -> Option<Value<'a>> {
    let bytes = certificates.concat();
    (!bytes.is_empty()).then_some(Value::binary(bytes))
}

fn found<'a>(scene: &Scene<'a>, what: fn(&TlsFacts) -> Option<u32>) -> Option<Value<'a>> {
    what(scene.tls(TlsSide::Front)?).map(|number| Value::Int(number.into()))
}

/// `ssl_c_s_dn(entry,occurrence,format)`: the form is that of whole names.
fn dn<'a>(name: &'a [u8], args: &[Arg]) -> Option<Value<'a>> {
    let entry = arguments::text(args, 0);
    if !entry.is_empty() {
        let occurrence = arguments::int(args, 1).unwrap_or(1);
        return name::attribute(name, entry, occurrence).map(Value::str);
    }
    let whole = if arguments::text(args, 2).is_empty() { name::slashes(name) } else { name::rfc2253(name) };
    whole.map(Value::string)
}

fn prepare_dn(args: &mut [Arg], _: &mut Compiler<'_>) -> Result<(), String> {
    match arguments::word(args, 2)? {
        None | Some("" | "rfc2253") => Ok(()),
        Some(_) => {
            Err("only rfc2253 or a blank value are currently supported as the format argument.".to_owned())
        }
    }
}
