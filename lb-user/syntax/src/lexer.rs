//! One line into words (manual §2.2 and §2.3): quotes, escapes, environment variables, comments.
//!
//! As in HAProxy a line is a statement: a backslash at its end is a backslash, not a continuation. Errors carry a
//! position, and `excerpt` draws the line with a caret below it.

use crate::ast::Word;

/// Words a line may have, its keyword included; HAProxy's limit.
pub const WORDS_MAX: usize = 64;

/// Columns of a source line shown in a diagnostic.
pub(crate) const EXCERPT_WIDTH: usize = 80;

/// A line's words, up to the first empty one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lexed {
    pub words: Vec<Word>,
    /// An empty word ends the arguments; what follows is ignored, which is worth a warning.
    pub empty: Option<EmptyWord>,
}

/// Where the first empty word was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmptyWord {
    /// The keyword is number 0.
    pub number: usize,
    pub column: u32,
}

/// Why a line is none. Columns count bytes from one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LexError {
    #[error("unmatched quote at position {column}:")]
    UnmatchedQuote { column: u32 },
    #[error("unmatched brace in environment variable name at position {column}:")]
    UnmatchedBrace { column: u32 },
    #[error("forbidden first char in environment variable name at position {column}:")]
    VariableName { column: u32 },
    #[error("truncated or invalid word expansion sequence at position {column}:")]
    Expansion { column: u32 },
    #[error("truncated or invalid hexadecimal sequence at position {column}:")]
    Hexadecimal { column: u32 },
    #[error("too many words, truncating after word {WORDS_MAX}, position {column}: <{word}>.")]
    TooManyWords { column: u32, word: String },
}

impl LexError {
    /// The message with the line and a caret, where HAProxy draws them.
    pub fn render(&self, line: &[u8]) -> String {
        match self {
            Self::UnmatchedQuote { column }
            | Self::UnmatchedBrace { column }
            | Self::VariableName { column }
            | Self::Expansion { column }
            | Self::Hexadecimal { column } => format!("{self}\n{}", excerpt(line, *column)),
            Self::TooManyWords { .. } => self.to_string(),
        }
    }
}

/// Cuts a line into words. `lookup` answers for variables, those that start with a dot included.
pub fn lex(line: &[u8], lookup: &dyn Fn(&str) -> Option<String>) -> Result<Lexed, LexError> {
    let mut lexer = Lexer { line, at: 0, lookup, words: Vec::new(), word: None };
    lexer.run()?;
    lexer.finish()
}

/// Writes a word so that `lex` reads exactly it; bare where nothing needs protection.
///
/// Neither an empty word nor one with a NUL can be written: the language ends its arguments at the first and cuts
/// a word at the second.
pub fn quote(word: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !b"\"'\\#".contains(byte);
    if !word.is_empty() && word.iter().all(plain) {
        return String::from_utf8_lossy(word).into_owned();
    }
    let mut out = String::from("\"");
    let mut emit = |text: &str| out.push_str(text);
    for chunk in word.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' | '\\' | '$' => emit(&format!("\\{character}")),
                '\n' => emit("\\n"),
                '\r' => emit("\\r"),
                '\t' => emit("\\t"),
                control if control.is_ascii_control() => emit(&format!("\\x{:02x}", control as u32)),
                other => emit(other.encode_utf8(&mut [0; 4])),
            }
        }
        for byte in chunk.invalid() {
            emit(&format!("\\x{byte:02x}"));
        }
    }
    out.push('"');
    out
}

/// The line without its indent, with a caret below the column; long lines are cut around it.
pub fn excerpt(line: &[u8], column: u32) -> String {
    let indent = line.iter().take_while(|byte| is_blank(**byte)).count();
    let position = (column as usize).saturating_sub(indent + 1);
    let (shown, caret) = window(&line[indent..], position, EXCERPT_WIDTH);
    format!("  {shown}\n  {:caret$}^", "")
}

/// As much of a text as fits, with the byte at `position` in it, and where that one is shown.
pub(crate) fn window(text: &[u8], position: usize, width: usize) -> (String, usize) {
    // The caret counts characters, the position bytes.
    let mut caret = String::from_utf8_lossy(&text[..position.min(text.len())]).chars().count();
    let mut characters: Vec<char> = String::from_utf8_lossy(text.trim_ascii_end())
        .chars()
        .map(|character| match character {
            '\t' | '\r' | '\u{b}' | '\u{c}' => ' ',
            character if character.is_control() => '?',
            character => character,
        })
        .collect();
    if caret < width {
        characters.truncate(width);
        return (characters.into_iter().collect(), caret);
    }
    let start = caret - width / 2;
    caret = width / 2;
    let middle: String = characters.iter().skip(start + 3).take(width - 6).collect();
    (format!("...{middle}..."), caret)
}

struct Lexer<'a> {
    line: &'a [u8],
    at: usize,
    lookup: &'a dyn Fn(&str) -> Option<String>,
    words: Vec<(Vec<u8>, u32)>,
    /// The word being built and the column it started at.
    word: Option<(Vec<u8>, u32)>,
}

impl Lexer<'_> {
    fn run(&mut self) -> Result<(), LexError> {
        while let Some(byte) = self.peek() {
            match byte {
                b'#' => break,
                b'\'' => self.strong()?,
                b'"' => self.weak()?,
                b'\\' => self.escape(false)?,
                // Behind a word a carriage return ends the line as a line feed does.
                b'\r' if self.word.is_some() => break,
                blank if is_blank(blank) => {
                    self.end_word();
                    self.at += 1;
                }
                other => {
                    self.push(other);
                    self.at += 1;
                }
            }
        }
        self.end_word();
        Ok(())
    }

    fn finish(self) -> Result<Lexed, LexError> {
        if self.words.len() > WORDS_MAX {
            let (word, column) = &self.words[WORDS_MAX - 1];
            return Err(LexError::TooManyWords {
                column: *column,
                word: String::from_utf8_lossy(word).into_owned(),
            });
        }
        let mut words = Vec::with_capacity(self.words.len());
        let mut empty = None;
        for (number, (mut bytes, column)) in self.words.into_iter().enumerate() {
            // A NUL ends a word wherever words become C strings; nobody can rely on what is behind it.
            if let Some(nul) = bytes.iter().position(|byte| *byte == 0) {
                bytes.truncate(nul);
            }
            if bytes.is_empty() {
                empty = Some(EmptyWord { number, column });
                break;
            }
            words.push(Word::new(bytes, column));
        }
        Ok(Lexed { words, empty })
    }

    fn peek(&self) -> Option<u8> {
        self.line.get(self.at).copied()
    }

    fn column(&self) -> u32 {
        column_of(self.at)
    }

    fn open_word(&mut self) -> &mut Vec<u8> {
        let column = self.column();
        &mut self.word.get_or_insert_with(|| (Vec::new(), column)).0
    }

    fn push(&mut self, byte: u8) {
        self.open_word().push(byte);
    }

    fn end_word(&mut self) {
        // Beyond the limit nothing is stored: one more word is enough to know.
        if let Some(word) = self.word.take()
            && self.words.len() <= WORDS_MAX
        {
            self.words.push(word);
        }
    }

    /// Single quotes: everything is itself.
    fn strong(&mut self) -> Result<(), LexError> {
        let column = self.column();
        self.open_word();
        self.at += 1;
        let body = &self.line[self.at..];
        let length = body.iter().position(|byte| matches!(byte, b'\'' | b'\r'));
        let length =
            length.filter(|length| body[*length] == b'\'').ok_or(LexError::UnmatchedQuote { column })?;
        self.open_word().extend_from_slice(&body[..length]);
        self.at += length + 1;
        Ok(())
    }

    /// Double quotes: escapes and variables are resolved.
    fn weak(&mut self) -> Result<(), LexError> {
        let column = self.column();
        self.open_word();
        self.at += 1;
        loop {
            match self.peek().ok_or(LexError::UnmatchedQuote { column })? {
                b'\r' => return Err(LexError::UnmatchedQuote { column }),
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => self.escape(true)?,
                b'$' => self.variable()?,
                other => {
                    self.push(other);
                    self.at += 1;
                }
            }
        }
    }

    /// A backslash. What needs no escape keeps it: `a\qb` is four characters.
    fn escape(&mut self, quoted: bool) -> Result<(), LexError> {
        let column = self.column();
        let (byte, length) = match self.line.get(self.at + 1) {
            Some(b'n') => (b'\n', 2),
            Some(b'r') => (b'\r', 2),
            Some(b't') => (b'\t', 2),
            Some(b'x') => {
                let digit = |at: usize| self.line.get(at).and_then(|byte| (*byte as char).to_digit(16));
                let (Some(high), Some(low)) = (digit(self.at + 2), digit(self.at + 3)) else {
                    return Err(LexError::Hexadecimal { column });
                };
                (u8::try_from(high * 16 + low).unwrap_or(0), 4)
            }
            Some(b'$') if quoted => (b'$', 2),
            Some(byte @ (b'\\' | b' ' | b'#' | b'\'' | b'"')) => (*byte, 2),
            _ => (b'\\', 1),
        };
        self.push(byte);
        self.at += length;
        Ok(())
    }

    /// `$NAME`, `${NAME}`, `${NAME-default}`, `${NAME[*]}`.
    fn variable(&mut self) -> Result<(), LexError> {
        self.at += 1;
        let brace = self.peek() == Some(b'{');
        let unmatched = LexError::UnmatchedBrace { column: self.column() };
        self.at += usize::from(brace);
        let start = self.at;
        if !self.peek().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_' || byte == b'.') {
            return Err(LexError::VariableName { column: self.column() });
        }
        self.at += 1;
        while self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            self.at += 1;
        }
        let name = String::from_utf8_lossy(&self.line[start..self.at]).into_owned();
        let found = (self.lookup)(&name);
        // The dot marks what the reader itself knows: .FILE, .LINE, .SECTION.
        if name.starts_with('.') && found.is_none() {
            return Err(LexError::VariableName { column: column_of(start) });
        }
        let mut split = false;
        let mut default = None;
        if brace {
            if self.peek() == Some(b'[') {
                if !self.line[self.at..].starts_with(b"[*]") {
                    return Err(LexError::Expansion { column: self.column() });
                }
                split = true;
                self.at += 3;
            }
            if self.peek() == Some(b'-') {
                let from = self.at + 1;
                let length = self.line[from..].iter().position(|byte| *byte == b'}');
                let length = length.ok_or_else(|| unmatched.clone())?;
                default = Some(self.line[from..from + length].to_vec());
                self.at = from + length;
            }
            if self.peek() != Some(b'}') {
                return Err(unmatched);
            }
            self.at += 1;
        }
        let value = found.map(String::into_bytes).or(default).unwrap_or_default();
        if split {
            self.push_split(&value);
        } else {
            self.open_word().extend_from_slice(&value);
        }
        Ok(())
    }

    /// A value as several words: its blanks end the word that is being built and begin the next.
    fn push_split(&mut self, value: &[u8]) {
        for (index, part) in value.split(|byte| is_blank(*byte)).filter(|part| !part.is_empty()).enumerate() {
            if index > 0 {
                self.end_word();
            }
            self.open_word().extend_from_slice(part);
        }
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | 0x0b | 0x0c)
}

fn column_of(at: usize) -> u32 {
    u32::try_from(at + 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lookup(name: &str) -> Option<String> {
        let value = match name {
            "A" => "1",
            "B" => "x y  z",
            "E" => "",
            ".LINE" => "19",
            _ => return None,
        };
        Some(value.to_owned())
    }

    /// The words as Rust would write them; an empty word that ends them as `!NUMBER@COLUMN`.
    fn check(line: &str, expected: &str) {
        let shown = match lex(line.as_bytes(), &lookup) {
            Ok(lexed) => {
                let mut words: Vec<String> =
                    lexed.words.iter().map(|word| word.bytes().escape_ascii().to_string()).collect();
                words.extend(lexed.empty.map(|empty| format!("!{}@{}", empty.number, empty.column)));
                words.join("|")
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expected, "{line}");
    }

    #[test]
    fn words_and_comments() {
        check("", "");
        check("   # nothing", "");
        check("\tbind  :80\t", "bind|:80");
        check("global#this", "global");
        check("a\u{b}b\u{c}c", "a|b|c");
        check("a b\rc", "a|b");
        check("a \r b", "a|b");
        check("a\\", r"a\\");
        check("c \\", r"c|\\");
    }

    #[test]
    fn escapes() {
        check(r"a\ b a\#b#c a\\ a\'b a\qb \$A", r"a b|a#b");
        check(r"a\\ a\'b a\qb \$A \a", r"a\\|a\'b|a\\qb|\\$A|\\a");
        check(r#"'a\nb'"c\td"\x41\x4a\x4B"#, r"a\\nbc\tdAJK");
        check(r#""x\ y" "a\qb" "a\'b\#c" "\$A" "\x22""#, r#"x y|a\\qb|a\'b#c|$A|\""#);
        check(r#""a'b"'c"d' "a"b"c""#, r#"a\'bc\"d|abc"#);
        check(r"\xc3\xa9 \xff", r"\xc3\xa9|\xff");
        // The manual lists it, HAProxy does not do it.
        check("a\\\tb \"c\td\"", r"a\\|b|c\td");
    }

    #[test]
    fn variables() {
        check(r#""$A" "${A}b" ${A}b '$A' "$A-$A""#, "1|1b|${A}b|$A|1-1");
        check(r#""$AB|" "a${Q}b" "$.LINE""#, "||ab|19");
        check(r#""${B}" "${B[*]}" "x${B[*]}y" ${B[*]}"#, "x y  z|x|y|z|xx|y|zy|${B[*]}");
        check(r#""${Q-def ault}" "${A-}" "${Q-${A}}" "${Q-a}b}""#, "def ault|1|${A}|ab}");
        check(r#""${B[*]-u v}" "${Q[*]-u v}""#, "x|y|z|u|v");
    }

    #[test]
    fn an_empty_word_ends_the_arguments() {
        check(r#".notice "${E-def}" x"#, ".notice|!1@9");
        check(r#".notice "${Q}""#, ".notice|!1@9");
        check(r#".notice "${E[*]}""#, ".notice|!1@9");
        check(".notice a '' b", ".notice|a|!2@11");
        check(r".notice \x00a", ".notice|!1@9");
        check(r".notice b\x00a c", ".notice|b|c");
        check("\"\"", "!0@1");
    }

    #[test]
    fn mistakes() {
        check("  node \"abc", "unmatched quote at position 8:");
        check("  node 'abc", "unmatched quote at position 8:");
        check("\"c\rd\"", "unmatched quote at position 1:");
        check("'c\rd'", "unmatched quote at position 1:");
        check(r"  node abc\xZZ", "truncated or invalid hexadecimal sequence at position 11:");
        check(r"  node abc\x1", "truncated or invalid hexadecimal sequence at position 11:");
        check(r#".notice "\x2""#, "truncated or invalid hexadecimal sequence at position 10:");
        for line in [r#"  node "${ABC""#, r#"  node "${A-x"#, r#"  node "${A.B}""#, r#"  node "${A*}""#] {
            check(line, "unmatched brace in environment variable name at position 10:");
        }
        check(r#"  node "${[x]}""#, "forbidden first char in environment variable name at position 11:");
        for line in [r#".notice "$""#, r#".notice "$ x""#, r#".notice "$1""#] {
            check(line, "forbidden first char in environment variable name at position 11:");
        }
        check(r#"x "$.b_-"#, "forbidden first char in environment variable name at position 5:");
        check(r#".notice "${A[0]}""#, "truncated or invalid word expansion sequence at position 13:");
    }

    #[test]
    fn sixty_four_words_are_enough() {
        let line = |count: usize| (1..count).fold(".warning".to_owned(), |line, n| format!("{line} w{n}"));
        assert_eq!(lex(line(64).as_bytes(), &lookup).map(|lexed| lexed.words.len()), Ok(64));
        check(&line(65), "too many words, truncating after word 64, position 249: <w63>.");
        check(&line(5000), "too many words, truncating after word 64, position 249: <w63>.");
    }

    #[test]
    fn excerpts() {
        let check = |line: &str, column: u32, shown: &str, caret: usize| {
            let expected = format!("  {shown}\n  {}^", " ".repeat(caret));
            assert_eq!(excerpt(line.as_bytes(), column), expected, "{line}");
        };
        check("  node \"abc", 8, "node \"abc", 5);
        check("\tno\tde\u{1} \"é", 8, "no de? \"é", 6);
        let quoted = |before: usize, after: usize| format!("{} \"{}", "a".repeat(before), "c".repeat(after));
        check(&quoted(20, 200), 22, &quoted(20, 58), 21);
        check(&quoted(70, 3), 72, &quoted(70, 3), 71);
        check(&quoted(80, 3), 82, &format!("...{}...", quoted(36, 3)), 40);
        check(&quoted(100, 0), 102, &format!("...{}...", quoted(36, 0)), 40);
        check(&quoted(100, 36), 102, &format!("...{}...", quoted(36, 36)), 40);
        check(&quoted(100, 37), 102, &format!("...{}...", quoted(36, 36)), 40);
        check("ab", 900, "ab", 2);
        check(" 'a\rb\t \r", 2, "'a b", 0);
    }

    proptest! {
        #[test]
        fn any_bytes_are_words_or_an_error(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Err(error) = lex(&line, &lookup) {
                error.render(&line);
            }
        }

        #[test]
        fn the_language_of_the_lexer(line in r#"[ab1 \\"'$\{\}#\[\*\]x-]{0,40}"#) {
            if let Ok(lexed) = lex(line.as_bytes(), &lookup) {
                prop_assert!(lexed.words.iter().all(|word| !word.bytes().is_empty()));
            }
        }

        #[test]
        fn a_quoted_word_reads_as_itself(
            words in proptest::collection::vec(proptest::collection::vec(1u8..=255, 1..20), 1..6)
        ) {
            let line = words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ");
            let lexed = lex(line.as_bytes(), &lookup).expect("quoted words");
            let read: Vec<Vec<u8>> = lexed.words.iter().map(|word| word.bytes().to_vec()).collect();
            prop_assert_eq!(read, words);
        }
    }
}
