//! TLS on our own connections (manual 7.3.4), as long as connections are in clear text.
//!
//! Every connection is: `bind … ssl` and `server … ssl` are refused when the file is read. So what asks whether there
//! is TLS has its answer, and what asks about a session or a certificate has none, as in HAProxy for such a
//! connection.

use sockeye_sample::{Arg, Compiler, Fetch, Scene, Value};

use crate::arguments;

/// A word that has no value without TLS.
const fn absent(name: &'static str) -> Fetch {
    fn none<'a>(_: &Scene<'a>, _: &'a [Arg]) -> Option<Value<'a>> {
        None
    }
    Fetch::new(name, none)
}

/// A word that is false without TLS.
const fn no(name: &'static str) -> Fetch {
    fn run<'a>(_: &Scene<'a>, _: &'a [Arg]) -> Option<Value<'a>> {
        Some(Value::Bool(false))
    }
    Fetch::new(name, run)
}

pub(crate) static FETCHES: &[Fetch] = &[
    no("ssl_bc"),
    no("ssl_bc_is_resumed"),
    no("ssl_fc"),
    no("ssl_fc_has_sni"),
    no("ssl_fc_is_resumed"),
    absent("ssl_bc_alg_keysize"),
    absent("ssl_bc_alpn"),
    absent("ssl_bc_cipher"),
    absent("ssl_bc_client_early_traffic_secret"),
    absent("ssl_bc_client_handshake_traffic_secret"),
    absent("ssl_bc_client_random"),
    absent("ssl_bc_client_traffic_secret_0"),
    absent("ssl_bc_curve"),
    absent("ssl_bc_early_exporter_secret"),
    absent("ssl_bc_err"),
    absent("ssl_bc_err_str"),
    absent("ssl_bc_exporter_secret"),
    absent("ssl_bc_npn"),
    absent("ssl_bc_protocol"),
    absent("ssl_bc_server_handshake_traffic_secret"),
    absent("ssl_bc_server_random"),
    absent("ssl_bc_server_traffic_secret_0"),
    absent("ssl_bc_session_id"),
    absent("ssl_bc_session_key"),
    absent("ssl_bc_sni"),
    absent("ssl_bc_unique_id"),
    absent("ssl_bc_use_keysize"),
    absent("ssl_c_ca_err"),
    absent("ssl_c_ca_err_depth"),
    absent("ssl_c_chain_der"),
    absent("ssl_c_der"),
    absent("ssl_c_err"),
    absent("ssl_c_key_alg"),
    absent("ssl_c_notafter"),
    absent("ssl_c_notbefore"),
    absent("ssl_c_san"),
    absent("ssl_c_serial"),
    absent("ssl_c_sha1"),
    absent("ssl_c_sig_alg"),
    absent("ssl_c_used"),
    absent("ssl_c_verify"),
    absent("ssl_c_version"),
    absent("ssl_f_der"),
    absent("ssl_f_key_alg"),
    absent("ssl_f_notafter"),
    absent("ssl_f_notbefore"),
    absent("ssl_f_serial"),
    absent("ssl_f_sha1"),
    absent("ssl_f_sig_alg"),
    absent("ssl_f_version"),
    absent("ssl_fc_alg_keysize"),
    absent("ssl_fc_alpn"),
    absent("ssl_fc_cipher"),
    absent("ssl_fc_cipherlist_xxh"),
    absent("ssl_fc_client_early_traffic_secret"),
    absent("ssl_fc_client_handshake_traffic_secret"),
    absent("ssl_fc_client_random"),
    absent("ssl_fc_client_traffic_secret_0"),
    absent("ssl_fc_crtname"),
    absent("ssl_fc_curve"),
    absent("ssl_fc_early_exporter_secret"),
    absent("ssl_fc_early_rcvd"),
    absent("ssl_fc_ecformats_bin"),
    absent("ssl_fc_err"),
    absent("ssl_fc_err_str"),
    absent("ssl_fc_exporter_secret"),
    absent("ssl_fc_has_crt"),
    absent("ssl_fc_has_early"),
    absent("ssl_fc_npn"),
    absent("ssl_fc_protocol"),
    absent("ssl_fc_protocol_hello_id"),
    absent("ssl_fc_server_handshake_traffic_secret"),
    absent("ssl_fc_server_random"),
    absent("ssl_fc_server_traffic_secret_0"),
    absent("ssl_fc_session_id"),
    absent("ssl_fc_session_key"),
    absent("ssl_fc_sni"),
    absent("ssl_fc_unique_id"),
    absent("ssl_fc_use_keysize"),
    absent("ssl_s_chain_der"),
    absent("ssl_s_der"),
    absent("ssl_s_key_alg"),
    absent("ssl_s_notafter"),
    absent("ssl_s_notbefore"),
    absent("ssl_s_serial"),
    absent("ssl_s_sha1"),
    absent("ssl_s_sig_alg"),
    absent("ssl_s_version"),
    // With a choice among what there is.
    absent("ssl_c_policies"),
    absent("ssl_fc_cipherlist_bin"),
    absent("ssl_fc_cipherlist_hex"),
    absent("ssl_fc_cipherlist_str"),
    absent("ssl_fc_eclist_bin"),
    absent("ssl_fc_extlist_bin"),
    absent("ssl_fc_sigalgs_bin"),
    absent("ssl_fc_supported_versions_bin"),
    absent("ssl_c_i_dn").prepare(prepare_name),
    absent("ssl_c_r_dn").prepare(prepare_name),
    absent("ssl_c_s_dn").prepare(prepare_name),
    absent("ssl_f_i_dn").prepare(prepare_name),
    absent("ssl_f_s_dn").prepare(prepare_name),
    absent("ssl_s_i_dn").prepare(prepare_name),
    absent("ssl_s_s_dn").prepare(prepare_name),
];

/// `ssl_c_s_dn(entry,occurrence,format)`
fn prepare_name(args: &mut [Arg], _: &mut Compiler<'_>) -> Result<(), String> {
    match arguments::word(args, 2)? {
        None | Some("rfc2253") => Ok(()),
        Some(_) => {
            Err("only rfc2253 or a blank value are currently supported as the format argument.".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Case, check, check_refused};

    /// Values of HAProxy 3.2 for a connection in clear text.
    #[test]
    fn clear_text() {
        check(
            &Case::default(),
            &[
                ("ssl_fc", Some("0")),
                ("ssl_fc_has_sni", Some("0")),
                ("ssl_fc_is_resumed", Some("0")),
                ("ssl_bc", Some("0")),
                ("ssl_fc_has_crt", None),
                ("ssl_c_used", None),
                ("ssl_c_verify", None),
                ("ssl_fc_sni", None),
                ("ssl_fc_protocol", None),
                ("ssl_c_s_dn(cn,1,rfc2253)", None),
                ("ssl_fc_cipherlist_bin(1)", None),
            ],
        );
        check_refused(&[("ssl_c_s_dn(cn,1,x)", "only rfc2253 or a blank value are currently supported")]);
    }
}
