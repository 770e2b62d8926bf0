//! Versions between `ssl-min-ver` and `ssl-max-ver`, without those that `no-tlsv…` names.

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

use crate::settings::{Profile, Version};

/// The versions `profile` leaves.
pub(super) fn enabled(profile: &Profile) -> Vec<Version> {
    [Version::Tls12, Version::Tls13]
        .into_iter()
        .filter(|version| profile.min.is_none_or(|min| *version >= min))
        .filter(|version| profile.max.is_none_or(|max| *version <= max))
        .filter(|version| !profile.without.contains(version))
        .collect()
}

pub(super) fn of(version: Version) -> &'static SupportedProtocolVersion {
    match version {
        Version::Tls12 => &TLS12,
        Version::Tls13 => &TLS13,
    }
}
