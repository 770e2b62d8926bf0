//! `http-check expect` and `tcp-check expect`: what a check wants to hear.

use std::sync::Arc;

use sockeye_syntax::words::Words;

use super::{Context, binary, comment};
use crate::keyword::not_yet_message;
use crate::model::{CheckExpect, CheckStep, ExpectWhat, MatchHow, TextMatch};

pub(super) fn expect(words: &mut Words<'_>, context: &Context<'_>) -> Result<CheckStep, String> {
    let mut expect = CheckExpect {
        negate: false,
        what: ExpectWhat::String(Arc::from([])),
        min_recv: None,
        comment: None,
        ok_status: None,
        error_status: None,
        tout_status: None,
    };
    let mut found = false;
    while let Some(word) = words.next() {
        let bare = word.trim_start_matches('!');
        if word.len() != bare.len() {
            expect.negate ^= (word.len() - bare.len()) % 2 == 1;
            if bare.is_empty() {
                continue;
            }
        }
        match bare {
            "min-recv" => {
                let text = words.next().ok_or("'min-recv' expects a integer as argument.")?;
                let value = text.parse().ok().filter(|value| *value >= -1);
                expect.min_recv = Some(value.ok_or("'min-recv' must be -1 or greater.")?);
            }
            "comment" => expect.comment = comment(words)?,
            "ok-status" => expect.ok_status = status_word(words, bare, &["L4OK", "L6OK", "L7OK", "L7OKC"])?,
            "error-status" => {
                expect.error_status =
                    status_word(words, bare, &["L7OKC", "L7RSP", "L7STS", "L6RSP", "L4CON"])?;
            }
            "tout-status" => {
                expect.tout_status = status_word(words, bare, &["L7TOUT", "L6TOUT", "L4TOUT"])?;
            }
            "on-success" | "on-error" | "status-code" | "string-lf" | "binary-lf" => {
                return Err(not_yet_message(bare));
            }
            _ if found => return Err("only one pattern expected.".to_owned()),
            _ => {
                expect.what = what(bare, words, context)?;
                found = true;
            }
        }
    }
    if !found {
        return Err("expects at least a matching pattern as arguments.".to_owned());
    }
    Ok(CheckStep::Expect(expect))
}

fn what(word: &str, words: &mut Words<'_>, context: &Context<'_>) -> Result<ExpectWhat, String> {
    let http = context.http;
    let mut pattern =
        || words.next_word().ok_or_else(|| format!("'{word}' expects a <pattern> as argument."));
    Ok(match word {
        "string" => ExpectWhat::String(pattern()?.bytes().into()),
        "rstring" => ExpectWhat::Regex(regex(&pattern()?.text)?),
        "status" if http => ExpectWhat::Status(statuses(&pattern()?.text)?),
        "rstatus" if http => ExpectWhat::RegexStatus(regex(&pattern()?.text)?),
        "binary" if !http => ExpectWhat::Binary(binary(&pattern()?.text)?),
        "rbinary" if !http => ExpectWhat::RegexBinary(regex(&pattern()?.text)?),
        "hdr" | "fhdr" if http => {
            let usage =
                || format!("'{word}' expects at the name keyword as first argument followed by a pattern.");
            if words.peek() == Some("name-lf") {
                return Err(not_yet_message("name-lf"));
            }
            if !words.take("name") {
                return Err(usage());
            }
            let name = text_match(words)?.ok_or_else(usage)?;
            let value = if words.peek() == Some("value-lf") {
                return Err(not_yet_message("value-lf"));
            } else if words.take("value") {
                Some(text_match(words)?.ok_or_else(|| format!("'{word}' expects a pattern after 'value'."))?)
            } else {
                None
            };
            ExpectWhat::Header { name, value, full: word == "fhdr" }
        }
        _ if http => {
            return Err(format!(
                "'only supports min-recv, [!]string', '[!]rstring', '[!]string-lf', '[!]status', '[!]rstatus', [!]hdr, [!]fhdr or comment but got '{word}' as argument."
            ));
        }
        _ => {
            return Err(format!(
                "'only supports min-recv, '[!]binary', '[!]string', '[!]rstring', '[!]string-lf''[!]rbinary', '[!]binary-lf' or comment but got '{word}' as argument."
            ));
        }
    })
}

/// `[-m METHOD] TEXT`.
fn text_match(words: &mut Words<'_>) -> Result<Option<TextMatch>, String> {
    let mut how = MatchHow::Exact;
    if words.take("-m") {
        let method = words.next().unwrap_or_default();
        how = match method {
            "str" => MatchHow::Exact,
            "beg" => MatchHow::Begins,
            "end" => MatchHow::Ends,
            "sub" => MatchHow::Contains,
            "reg" => MatchHow::Regex,
            _ => {
                return Err(format!(
                    "unknown matching method '{method}', supported are 'str', 'beg', 'end', 'sub' and 'reg'."
                ));
            }
        };
    }
    let Some(text) = words.next() else { return Ok(None) };
    let text = if how == MatchHow::Regex { regex(text)? } else { text.into() };
    Ok(Some(TextMatch { how, text }))
}

fn status_word(words: &mut Words<'_>, option: &str, known: &[&str]) -> Result<Option<Arc<str>>, String> {
    let word = words.next().ok_or_else(|| format!("'{option}' expects a string as argument."))?;
    if known.contains(&word) {
        return Ok(Some(word.into()));
    }
    let (last, first) = known.split_last().unwrap_or((&"", &[]));
    let list = first.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(", ");
    Err(format!("'{option}' only supports {list} or '{last}' status (got '{word}')."))
}

/// An expression that will compile when the checks start.
fn regex(text: &str) -> Result<Arc<str>, String> {
    match regex::bytes::Regex::new(text) {
        Ok(_) => Ok(text.into()),
        Err(error) => {
            let error = error.to_string();
            let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
            Err(format!("regex '{text}' is invalid (error={reason})."))
        }
    }
}

/// `200-399,404`.
fn statuses(text: &str) -> Result<Vec<(u16, u16)>, String> {
    let wrong = |character| format!("invalid character '{character}' in the list of status codes.");
    if let Some(character) = text.chars().find(|c| !c.is_ascii_digit() && !matches!(c, '-' | ',')) {
        return Err(wrong(character));
    }
    text.split(',')
        .map(|part| {
            let (low, high) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.parse::<u16>().ok().filter(|code| (100..=999).contains(code));
            match (number(low), number(high)) {
                (Some(low), Some(high)) if low <= high => Ok((low, high)),
                _ => Err(format!("invalid range of status codes '{part}'.")),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_lists() {
        let check = |text: &str, expected: Result<&[(u16, u16)], &str>| {
            let found = statuses(text);
            let found = found.as_deref().map_err(String::as_str);
            assert_eq!(found, expected, "{text}");
        };
        check("200", Ok(&[(200, 200)]));
        check("200-399,404", Ok(&[(200, 399), (404, 404)]));
        check("2xx", Err("invalid character 'x' in the list of status codes."));
        for wrong in ["", "200,", "399-200", "99", "1000", "200-", "-200"] {
            check(
                wrong,
                Err(&format!("invalid range of status codes '{}'.", wrong.trim_start_matches("200,"))),
            );
        }
    }
}
