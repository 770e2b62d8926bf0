//! The log-format language (manual 8.2.6), parsed once. The fixed formats are written in it.

use std::fmt;

use sockeye_config::model::{LogFormat, Mode};

/// `option tcplog` (manual 8.2.2).
const TCP: &str = "%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq";

/// `option httplog` (manual 8.2.3).
const HTTP: &str = "%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc \
                    %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs %{+Q}r";

/// `option tcplog clf` (manual 8.2.2).
const TCP_CLF: &str = "%{+Q}o %{-Q}ci - - [%T] \"TCP \" 000 %B \"\" \"\" %cp %ms %ft %b %s %Th %Tw %Tc %Tt %U \
                       %ts-- %ac %fc %bc %sc %rc %sq %bq \"\" \"\" ";

/// `option httplog clf` (manual 8.2.3).
const HTTP_CLF: &str = "%{+Q}o %{-Q}ci - - [%trg] %r %ST %B \"\" \"\" %cp %ms %ft %b %s %TR %Tw %Tc %Tr %Ta \
                        %tsc %ac %fc %bc %sc %rc %sq %bq %CC %CS %hrl %hsl";

/// A parsed format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    pub(crate) items: Vec<Item>,
}

/// One part of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    Text(Box<[u8]>),
    /// A blank, left out where the line is empty or ends in one already.
    Blank,
    Alias(Alias, Flags),
}

/// How an item is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    /// `Q`: strings in quotes, empty ones too.
    pub quote: bool,
    /// `X`: addresses, ports and some numbers in hexadecimal.
    pub hex: bool,
    /// `E`: a backslash before `"`, `\` and `]`.
    pub escape: bool,
}

/// Why a format was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormatError<'a> {
    #[error("no such format alias '{0}'; to emit the '%' character verbatim, write '%%'")]
    UnknownAlias(&'a str),
    #[error("no such format flag '{0}'")]
    UnknownFlag(&'a str),
    #[error("the format flag '{0}' is not available yet")]
    UnavailableFlag(&'a str),
    #[error("sample expressions are not available yet: '%[{0}'")]
    Expression(&'a str),
    #[error("missing '{closing}' after '{opening}'")]
    Unclosed { opening: &'a str, closing: char },
    #[error("'%' at the end of the format")]
    Ends,
}

impl Format {
    /// What a frontend's options ask for. `None` for the default line, which is no format but
    /// [`connect_line`](crate::connect_line).
    pub fn of_option(option: LogFormat, mode: Mode) -> Option<Self> {
        let text = match (option, mode) {
            (LogFormat::Default, _) => return None,
            (LogFormat::Tcp, _) => TCP,
            (LogFormat::Http, _) => HTTP,
            (LogFormat::Clf, Mode::Tcp) => TCP_CLF,
            (LogFormat::Clf, Mode::Http) => HTTP_CLF,
        };
        let format = Self::parse(text);
        debug_assert!(format.is_ok(), "{format:?}");
        format.ok()
    }

    /// Parses a format.
    ///
    /// # Errors
    /// See [`FormatError`]; the words in it are parts of `text`.
    pub fn parse(text: &str) -> Result<Self, FormatError<'_>> {
        let mut parser = Parser { rest: text, common: Flags::default(), items: Vec::new(), text: Vec::new() };
        parser.parse()?;
        Ok(Self { items: parser.items })
    }

    pub fn items(&self) -> &[Item] {
        &self.items
    }
}

struct Parser<'a> {
    rest: &'a str,
    /// The flags that `%o` set for all items after it.
    common: Flags,
    items: Vec<Item>,
    /// Text not yet made an item.
    text: Vec<u8>,
}

impl<'a> Parser<'a> {
    fn parse(&mut self) -> Result<(), FormatError<'a>> {
        while let Some(first) = self.rest.chars().next() {
            match first {
                '%' => {
                    self.rest = &self.rest[1..];
                    self.item()?;
                }
                ' ' | '\t' => {
                    self.rest = self.rest.trim_start_matches([' ', '\t']);
                    self.end_text();
                    self.items.push(Item::Blank);
                }
                _ => {
                    let end = self.rest.find(['%', ' ', '\t']).unwrap_or(self.rest.len());
                    self.text.extend_from_slice(&self.rest.as_bytes()[..end]);
                    self.rest = &self.rest[end..];
                }
            }
        }
        self.end_text();
        Ok(())
    }

    fn end_text(&mut self) {
        if !self.text.is_empty() {
            self.items.push(Item::Text(std::mem::take(&mut self.text).into()));
        }
    }

    /// What follows a `%`: `%`, or `(name:type)` `{flags}` and a name or `[expression]`.
    fn item(&mut self) -> Result<(), FormatError<'a>> {
        if let Some(rest) = self.rest.strip_prefix('%') {
            self.text.push(b'%');
            self.rest = rest;
            return Ok(());
        }
        // A name matters to the json and cbor encodings alone.
        if self.rest.starts_with('(') {
            self.within(')')?;
        }
        let written = if self.rest.starts_with('{') { self.within('}')? } else { "" };
        if let Some(expression) = self.rest.strip_prefix('[') {
            return Err(FormatError::Expression(expression));
        }
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        if name.is_empty() {
            return Err(if rest.is_empty() { FormatError::Ends } else { FormatError::UnknownAlias("") });
        }
        self.rest = rest;
        let flags = self.flags(written)?;
        if name == "o" {
            self.common = flags;
            return Ok(());
        }
        let alias = Alias::named(name).ok_or(FormatError::UnknownAlias(name))?;
        self.end_text();
        self.items.push(Item::Alias(alias, flags));
        Ok(())
    }

    /// What stands between the opening bracket here and `closing`.
    fn within(&mut self, closing: char) -> Result<&'a str, FormatError<'a>> {
        let opening = self.rest;
        let Some(end) = opening.find(closing) else { return Err(FormatError::Unclosed { opening, closing }) };
        self.rest = &opening[end + 1..];
        Ok(&opening[1..end])
    }

    fn flags(&self, written: &'a str) -> Result<Flags, FormatError<'a>> {
        let mut flags = self.common;
        for word in written.split(',').filter(|word| !word.is_empty()) {
            let (on, name) = match word.strip_prefix('-') {
                Some(name) => (false, name),
                None => (true, word.strip_prefix('+').unwrap_or(word)),
            };
            match name {
                "Q" => flags.quote = on,
                "X" => flags.hex = on,
                "E" => flags.escape = on,
                "bin" | "json" | "utf8" | "cbor" => return Err(FormatError::UnavailableFlag(name)),
                _ => return Err(FormatError::UnknownFlag(name)),
            }
        }
        Ok(flags)
    }
}

/// Declares the aliases with the names the manual's table gives them.
macro_rules! aliases {
    ($($name:literal $variant:ident $meaning:literal)*) => {
        /// What an item names (the table of manual 8.2.6).
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Alias {
            $(#[doc = concat!("`%", $name, "`: ", $meaning, ".")] $variant,)*
        }

        impl Alias {
            /// Every alias.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The alias written `%name`.
            pub fn named(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// Its name, without the `%`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

aliases! {
    "T" AcceptDateUtc "accept date, UTC with zone"
    "Tl" AcceptDateLocal "accept date, local with zone"
    "Ts" AcceptTimestamp "accept date in seconds since 1970"
    "t" AcceptDate "accept date, local with milliseconds"
    "ms" AcceptMilliseconds "milliseconds of the accept date"
    "tr" RequestDate "request date, local with milliseconds"
    "trg" RequestDateUtc "request date, UTC with zone"
    "trl" RequestDateLocal "request date, local with zone"
    "Ta" TimeActive "active time of the request"
    "Tc" TimeConnect "time to connect to the server"
    "Td" TimeData "time of the response's data"
    "Th" TimeHandshake "time of TLS and PROXY protocol handshakes"
    "Ti" TimeIdle "idle time before the request"
    "Tq" TimeRequestFromAccept "Th + Ti + TR"
    "TR" TimeRequest "time from the request's first byte to the end of its headers"
    "Tr" TimeResponse "time the server took to send the response's headers"
    "Tt" TimeTotal "time from accept to the end"
    "Tu" TimeUser "time from accept to the end without idle time"
    "Tw" TimeQueue "time in queues"
    "B" BytesRead "bytes from server to client"
    "CC" CookieRequest "captured request cookie"
    "CS" CookieResponse "captured response cookie"
    "H" Hostname "name of this machine"
    "HM" Method "request method"
    "HP" Uri "request target without query"
    "HPO" Path "request path without host and query"
    "HQ" Query "query with its question mark"
    "HU" Target "request target"
    "HV" Version "protocol version"
    "ID" UniqueId "unique id"
    "ST" Status "status code"
    "U" BytesUploaded "bytes from client to server"
    "ac" ActConn "connections of the process"
    "b" BackendName "backend name"
    "bc" BeConn "streams of the backend"
    "bi" BackendIp "source address of the connection to the server"
    "bp" BackendPort "source port of the connection to the server"
    "bq" BackendQueue "requests that were before this one in the backend's queue"
    "ci" ClientIp "client address"
    "cp" ClientPort "client port"
    "f" FrontendName "frontend name"
    "fc" FeConn "connections of the frontend"
    "fi" FrontendIp "address the client connected to"
    "fp" FrontendPort "port the client connected to"
    "ft" FrontendNameTransport "frontend name, with `~` on TLS"
    "lc" LogCounter "lines the frontend has logged"
    "hr" RequestHeaders "captured request headers"
    "hrl" RequestHeadersList "captured request headers, one by one"
    "hs" ResponseHeaders "captured response headers"
    "hsl" ResponseHeadersList "captured response headers, one by one"
    "OG" LogOrigin "what caused the line"
    "pid" Pid "process id"
    "r" RequestLine "request line"
    "rc" RetryCount "retries, with `+` after a redispatch"
    "rt" RequestCounter "streams of the process so far"
    "s" ServerName "server name"
    "sc" SrvConn "streams of the server"
    "si" ServerIp "server address"
    "sp" ServerPort "server port"
    "sq" SrvQueue "requests that were before this one in the server's queue"
    "sslc" TlsCipher "TLS cipher of the client's connection"
    "sslv" TlsVersion "TLS version of the client's connection"
    "ts" Termination "termination state"
    "tsc" TerminationCookie "termination state with cookie status"
}

impl Alias {
    /// Whether it exists in `mode http` alone.
    pub fn is_http(self) -> bool {
        matches!(
            self,
            Self::RequestDate
                | Self::RequestDateUtc
                | Self::RequestDateLocal
                | Self::TimeActive
                | Self::TimeIdle
                | Self::TimeRequestFromAccept
                | Self::TimeRequest
                | Self::TimeResponse
                | Self::CookieRequest
                | Self::CookieResponse
                | Self::Method
                | Self::Uri
                | Self::Path
                | Self::Query
                | Self::Target
                | Self::Version
                | Self::RequestHeaders
                | Self::RequestHeadersList
                | Self::ResponseHeaders
                | Self::ResponseHeadersList
                | Self::RequestLine
                | Self::TerminationCookie
        )
    }
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&[Item], FormatError<'_>>) {
        let parsed = Format::parse(text);
        assert_eq!(
            parsed.as_ref().map(|format| format.items()).map_err(|error| *error),
            expected,
            "{text:?}"
        );
    }

    fn text(text: &str) -> Item {
        Item::Text(text.as_bytes().into())
    }

    fn alias(name: &str, quote: bool) -> Item {
        Item::Alias(Alias::named(name).unwrap(), Flags { quote, ..Flags::default() })
    }

    #[test]
    fn items() {
        check("", Ok(&[]));
        check("100%% of\t  it", Ok(&[text("100%"), Item::Blank, text("of"), Item::Blank, text("it")]));
        check("%ts--", Ok(&[alias("ts", false), text("--")]));
        check("%b/%{+Q}s", Ok(&[alias("b", false), text("/"), alias("s", true)]));
        check("%{+Q}o%b%{-Q}s%r", Ok(&[alias("b", true), alias("s", false), alias("r", true)]));
        check("%(name:str){Q}r", Ok(&[alias("r", true)]));
    }

    #[test]
    fn mistakes() {
        check("%zz", Err(FormatError::UnknownAlias("zz")));
        check("50%", Err(FormatError::Ends));
        check("% b", Err(FormatError::UnknownAlias("")));
        check("%{+Z}b", Err(FormatError::UnknownFlag("Z")));
        check("%{+json}o", Err(FormatError::UnavailableFlag("json")));
        check("%{+Q", Err(FormatError::Unclosed { opening: "{+Q", closing: '}' }));
        check("%[src]", Err(FormatError::Expression("src]")));
    }

    #[test]
    fn fixed_formats_parse() {
        for option in [LogFormat::Tcp, LogFormat::Http, LogFormat::Clf] {
            for mode in [Mode::Tcp, Mode::Http] {
                assert!(Format::of_option(option, mode).is_some());
            }
        }
        assert_eq!(Format::of_option(LogFormat::Default, Mode::Http), None);
    }
}
