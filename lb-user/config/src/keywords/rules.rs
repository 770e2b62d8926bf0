//! Words of rules, of small sections, filters and services, as HAProxy lists them. Which actions are obeyed is known
//! to the crate of the rules.

use sockeye_rules::parse::Set;
use sockeye_rules::parse::actions::{ACTIONS, NICE_HAS_NO_EFFECT};

use crate::keyword::{Class, Listed, Standing};

/// Class, the words in front, and the words themselves; `*` ends one that is a beginning.
pub(super) const LISTS: &[(Class, &str, &str)] = &[
    (
        Class::Action,
        "tcp-request connection ",
        "
        accept do-log expect-netscaler-cip expect-proxy reject sc-add-gpc* sc-inc-gpc* sc-inc-gpc0*
        sc-inc-gpc1* sc-set-gpt* sc-set-gpt0* set-dst set-dst-port set-fc-mark set-fc-tos set-mark set-src
        set-src-port set-tos set-var* set-var-fmt* silent-drop track-sc* unset-var*
        ",
    ),
    (
        Class::Action,
        "tcp-request session ",
        "
        accept attach-srv do-log reject sc-add-gpc* sc-inc-gpc* sc-inc-gpc0* sc-inc-gpc1* sc-set-gpt*
        sc-set-gpt0* set-dst set-dst-port set-fc-mark set-fc-tos set-mark set-src set-src-port set-tos
        set-var* set-var-fmt* silent-drop track-sc* unset-var*
        ",
    ),
    (
        Class::Action,
        "tcp-request content ",
        "
        accept capture do-log do-resolve* reject sc-add-gpc* sc-inc-gpc* sc-inc-gpc0* sc-inc-gpc1*
        sc-set-gpt* sc-set-gpt0* send-spoe-group set-bandwidth-limit set-bc-mark set-bc-tos set-dst
        set-dst-port set-fc-mark set-fc-tos set-log-level set-mark set-nice set-priority-class
        set-priority-offset set-retries set-src set-src-port set-tos set-var* set-var-fmt* silent-drop
        switch-mode track-sc* unset-var* use-service
        ",
    ),
    (
        Class::Action,
        "tcp-response content ",
        "
        accept close do-log reject sc-add-gpc* sc-inc-gpc* sc-inc-gpc0* sc-inc-gpc1* sc-set-gpt*
        sc-set-gpt0* send-spoe-group set-bandwidth-limit set-fc-mark set-fc-tos set-log-level set-mark
        set-nice set-tos set-var* set-var-fmt* silent-drop unset-var*
        ",
    ),
    (
        Class::Action,
        "http-request ",
        "
        add-acl* add-header add-headers-bin allow auth cache-use capture del-acl* del-header del-headers-bin
        del-map* deny disable-l7-retry do-log do-resolve* early-hint normalize-uri pause redirect reject
        replace-header replace-path replace-pathq replace-uri replace-value return sc-add-gpc* sc-inc-gpc*
        sc-inc-gpc0* sc-inc-gpc1* sc-set-gpt* sc-set-gpt0* send-spoe-group set-bandwidth-limit set-bc-mark
        set-bc-tos set-dst set-dst-port set-fc-mark set-fc-tos set-header set-headers-bin set-log-level
        set-map* set-mark set-method set-nice set-path set-pathq set-priority-class set-priority-offset
        set-query set-retries set-src set-src-port set-timeout set-tos set-uri set-var* set-var-fmt*
        silent-drop strict-mode tarpit track-sc* unset-var* use-service wait-for-body wait-for-handshake
        ",
    ),
    (
        Class::Action,
        "http-response ",
        "
        add-acl* add-header add-headers-bin allow cache-store capture del-acl* del-header del-headers-bin
        del-map* deny do-log pause redirect replace-header replace-value return sc-add-gpc* sc-inc-gpc*
        sc-inc-gpc0* sc-inc-gpc1* sc-set-gpt* sc-set-gpt0* send-spoe-group set-bandwidth-limit set-fc-mark
        set-fc-tos set-header set-headers-bin set-log-level set-map* set-mark set-nice set-status
        set-timeout set-tos set-var* set-var-fmt* silent-drop strict-mode track-sc* unset-var* wait-for-body
        ",
    ),
    (
        Class::Action,
        "http-after-response ",
        "
        add-header add-headers-bin allow capture del-acl* del-header del-headers-bin del-map* do-log
        replace-header replace-value sc-add-gpc* sc-inc-gpc* sc-inc-gpc0* sc-inc-gpc1* sc-set-gpt*
        sc-set-gpt0* set-header set-headers-bin set-log-level set-map* set-status set-var* set-var-fmt*
        strict-mode unset-var*
        ",
    ),
    (
        Class::OtherSection,
        "userlist ",
        "
        group user
        ",
    ),
    (
        Class::OtherSection,
        "crt-list ",
        "
        allow-0rtt alpn ca-file ca-verify-file ciphers ciphersuites client-sigalgs crl-file curves ecdhe
        ktls no-alpn no-ca-names npn sigalgs ssl-max-ver ssl-min-ver verify
        ",
    ),
    (
        Class::OtherSection,
        "crt-store ",
        "
        crt-base key-base load
        ",
    ),
    (
        Class::OtherSection,
        "traces ",
        "
        trace
        ",
    ),
    (
        Class::OtherSection,
        "acme ",
        "
        account-key acme-vars bits challenge challenge-ready contact curves directory dns-delay dns-timeout
        eab-key-id eab-mac-alg eab-mac-key keytype map profile provider-name reuse-key
        ",
    ),
    (
        Class::Filter,
        "",
        "
        bwlim-in bwlim-out cache comp-req comp-res compression fcgi-app spoe trace
        ",
    ),
    (
        Class::Service,
        "",
        "
        prometheus-exporter
        ",
    ),
];

/// Whether the word is obeyed.
pub(super) fn standing(word: Listed) -> Listed {
    let sets = || ACTIONS.iter().find(|(name, _)| *name == word.name).map(|(_, sets)| *sets);
    let has = |set: &Set| word.prefix.trim_end() == set.name();
    match word.class {
        Class::Action if sets().is_some_and(|sets| sets.iter().any(has)) => match word.name {
            "set-nice" => Listed { standing: Standing::NoEffect, help: NICE_HAS_NO_EFFECT, ..word },
            _ => Listed { standing: Standing::Supported, help: "an action of rules", ..word },
        },
        Class::OtherSection if word.prefix == "userlist " => {
            Listed { standing: Standing::Supported, help: "who may pass 'auth'", ..word }
        }
        Class::OtherSection if word.prefix == "crt-store " => {
            Listed { standing: Standing::Supported, help: "certificates by name", ..word }
        }
        Class::OtherSection if word.prefix == "crt-list " => match word.name {
            "ktls" => {
                Listed { standing: Standing::NoEffect, help: "the kernel does not encrypt for us", ..word }
            }
            "npn" => Listed { standing: Standing::NoEffect, help: "ALPN replaced it: use 'alpn'", ..word },
            _ => Listed {
                standing: Standing::Supported,
                help: "as on bind lines, for one certificate",
                ..word
            },
        },
        _ => word,
    }
}
