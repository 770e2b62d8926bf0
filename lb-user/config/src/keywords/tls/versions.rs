//! Versions of TLS: the words that choose them and what they come to.
//!
//! There are two, 1.2 and 1.3. A lower bound below them asks for no more than there is and is raised with a warning; an
//! upper bound below them leaves nothing and is refused.

use sockeye_syntax::words::Words;
use sockeye_tls::settings::{Profile, Version};

/// Words of version choice, as bind and server lines and `ssl-default-*-options` have them.
pub(crate) fn is_version_word(word: &str) -> bool {
    matches!(word, "ssl-min-ver" | "ssl-max-ver")
        || word
            .strip_prefix("force-")
            .or_else(|| word.strip_prefix("no-"))
            .is_some_and(|version| matches!(version, "sslv3" | "tlsv10" | "tlsv11" | "tlsv12" | "tlsv13"))
}

/// Obeys `word`, one of [`is_version_word`]. A warning may come with the effect.
pub(crate) fn read(
    word: &str,
    words: &mut Words<'_>,
    profile: &mut Profile,
) -> Result<Option<String>, String> {
    if let Some(version) = word.strip_prefix("force-") {
        let version = known(version).ok_or_else(|| {
            format!("'{word}' : no such connection is ever made: TLSv1.2 and TLSv1.3 are spoken. Write 'ssl-min-ver TLSv1.2' or nothing")
        })?;
        profile.min = Some(version);
        profile.max = Some(version);
        return Ok(None);
    }
    if let Some(version) = word.strip_prefix("no-") {
        // Versions that are never spoken need not be left out.
        profile.without.extend(known(version));
        return Ok(None);
    }
    let text = words.next().ok_or_else(|| format!("'{word}' : missing the ssl/tls version"))?;
    let version = match text {
        "TLSv1.2" => Some(Version::Tls12),
        "TLSv1.3" => Some(Version::Tls13),
        "SSLv3" | "TLSv1.0" | "TLSv1.1" => None,
        _ => return Err(format!("'{text}' : unknown ssl/tls version")),
    };
    match (word, version) {
        ("ssl-min-ver", Some(version)) => profile.min = Some(version),
        ("ssl-min-ver", None) => {
            profile.min = Some(Version::Tls12);
            return Ok(Some(format!("'{word} {text}' means TLSv1.2, the oldest version that is spoken.")));
        }
        (_, Some(version)) => profile.max = Some(version),
        (_, None) => {
            return Err(format!(
                "'{word} {text}' : all SSL/TLS versions would be disabled: TLSv1.2 is the oldest that is spoken"
            ));
        }
    }
    Ok(None)
}

fn known(version: &str) -> Option<Version> {
    match version {
        "tlsv12" => Some(Version::Tls12),
        "tlsv13" => Some(Version::Tls13),
        _ => None,
    }
}

/// What a line and the defaults of `global` come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Range {
    /// From and to, inclusive. `ignored`: `no-tlsv1x` stood beside a bound, which counts alone.
    Spoken { min: Version, max: Version, ignored: bool },
    /// Nothing is left.
    Disabled,
}

/// The versions of a line: its own words, then those of `global`.
pub(crate) fn range(line: &Profile, defaults: &Profile) -> Range {
    let min = line.min.or(defaults.min);
    let max = line.max.or(defaults.max);
    let without = |version| line.without.contains(&version) || defaults.without.contains(&version);
    let bounded = min.is_some() || max.is_some();
    let left_out = without(Version::Tls12) || without(Version::Tls13);
    if bounded {
        let (min, max) = (min.unwrap_or(Version::Tls12), max.unwrap_or(Version::Tls13));
        return if min <= max { Range::Spoken { min, max, ignored: left_out } } else { Range::Disabled };
    }
    match (without(Version::Tls12), without(Version::Tls13)) {
        (true, true) => Range::Disabled,
        (true, false) => Range::Spoken { min: Version::Tls13, max: Version::Tls13, ignored: false },
        (false, true) => Range::Spoken { min: Version::Tls12, max: Version::Tls12, ignored: false },
        (false, false) => Range::Spoken { min: Version::Tls12, max: Version::Tls13, ignored: false },
    }
}

#[cfg(test)]
mod tests {
    use sockeye_syntax::ast::{Statement, Word};
    use sockeye_syntax::diag::{Diagnostics, Location};

    use super::*;

    /// The profile that words make, and the warnings or the error.
    fn profile(text: &str) -> Result<(Profile, usize), String> {
        let words = text.split_whitespace().map(Word::from).collect();
        let statement = Statement { words, location: Location::new("f", 1) };
        let mut diags = Diagnostics::new();
        let mut words = Words::new(&statement, &mut diags);
        words.seek(0);
        let mut profile = Profile::default();
        let mut warnings = 0;
        while let Some(word) = words.next() {
            assert!(is_version_word(word), "{word}");
            warnings += usize::from(read(word, &mut words, &mut profile)?.is_some());
        }
        Ok((profile, warnings))
    }

    #[test]
    fn words_come_to_a_range() {
        use Version::{Tls12, Tls13};
        let check = |line: &str,
                     defaults: &str,
                     expected: Option<(Version, Version, bool)>,
                     warned: usize| {
            let (line_profile, warnings) = profile(line).expect("words that are obeyed");
            let (defaults_profile, more) = profile(defaults).expect("words that are obeyed");
            let expected =
                expected.map_or(Range::Disabled, |(min, max, ignored)| Range::Spoken { min, max, ignored });
            assert_eq!(range(&line_profile, &defaults_profile), expected, "{line} / {defaults}");
            assert_eq!(warnings + more, warned, "{line} / {defaults}");
        };
        check("", "", Some((Tls12, Tls13, false)), 0);
        check("no-sslv3 no-tlsv10 no-tlsv11", "", Some((Tls12, Tls13, false)), 0);
        check("no-tlsv12", "", Some((Tls13, Tls13, false)), 0);
        check("no-tlsv12", "no-tlsv13", None, 0);
        check("ssl-min-ver TLSv1.3", "", Some((Tls13, Tls13, false)), 0);
        check("ssl-min-ver TLSv1.1", "", Some((Tls12, Tls13, false)), 1);
        check("ssl-max-ver TLSv1.2", "ssl-min-ver TLSv1.3", None, 0);
        check("ssl-min-ver TLSv1.2", "ssl-min-ver TLSv1.3", Some((Tls12, Tls13, false)), 0);
        check("ssl-min-ver TLSv1.2 no-tlsv12", "", Some((Tls12, Tls13, true)), 0);
        check("force-tlsv12", "ssl-min-ver TLSv1.3", Some((Tls12, Tls12, false)), 0);
        check("force-tlsv13", "", Some((Tls13, Tls13, false)), 0);
    }

    #[test]
    fn words_that_leave_nothing_are_refused() {
        let check = |text: &str, expected: &str| {
            let error = profile(text).expect_err("words that are refused");
            assert!(error.contains(expected), "{text}: {error}");
        };
        check("force-sslv3", "TLSv1.2 and TLSv1.3 are spoken");
        check("force-tlsv11", "TLSv1.2 and TLSv1.3 are spoken");
        check("ssl-max-ver TLSv1.1", "would be disabled");
        check("ssl-max-ver TLSv1.4", "'TLSv1.4' : unknown ssl/tls version");
        check("ssl-min-ver", "missing the ssl/tls version");
    }
}
