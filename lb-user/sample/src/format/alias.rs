//! The names that a format may use (the table of manual 8.2.6).

use std::fmt;

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
