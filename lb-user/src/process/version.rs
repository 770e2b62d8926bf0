//! Who we are: `-v`, `-vv`, the banner above diagnostics, and the answers that conditions get about this program.
//!
//! Scripts match the first line and the lines that start with "Built with", "Running on" and "Feature list :".
//! Every `+` below is something that works now.

use sockeye_syntax::condition::Facts;
use sockeye_syntax::diag::Banner;

use super::args::Args;

/// The HAProxy version whose language and interfaces are spoken; what `version_atleast()` compares with.
pub const COMPATIBLE: &str = "3.4.0";

/// Our own version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The version as one word: `3.4.0-sockeye-0.1.0`.
pub const FULL: &str = concat!("3.4.0-sockeye-", env!("CARGO_PKG_VERSION"));

/// The day of this version.
pub const DATE: &str = "2026/11/21";

/// What conditions of files are told of the TLS library: the OpenSSL whose protocols, words and texts of errors are spoken
/// here. Its newest that matters to files is X25519MLKEM768.
const TLS_LIBRARY: (&str, &str) = ("OpenSSL", "3.5.0");

/// What is built in: HAProxy's names, and EBPF, which is ours.
pub const FEATURES: &[(&str, bool)] = &[
    ("51DEGREES", false),
    ("ACCEPT4", true),
    ("CPU_AFFINITY", false),
    ("CRYPT_H", true),
    ("DEVICEATLAS", false),
    ("EBPF", true),
    ("EPOLL", true),
    ("EVPORTS", false),
    ("GETADDRINFO", true),
    ("KQUEUE", false),
    ("LIBCRYPT", true),
    ("LINUX_SPLICE", true),
    ("LINUX_TPROXY", true),
    ("LUA", false),
    ("MEMORY_PROFILING", false),
    ("NS", true),
    ("OPENSSL", true),
    ("OT", false),
    ("PCRE", false),
    ("PCRE2", true),
    ("POLL", false),
    ("PROMEX", false),
    ("QUIC", false),
    ("SLZ", false),
    ("SSL", true),
    ("TFO", true),
    ("THREAD", true),
    ("TPROXY", true),
    ("WURFL", false),
    ("ZLIB", false),
];

/// The name we were called by, and where we run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub program: Program,
    /// `/proc/self/exe`.
    pub executable: String,
    /// `uname`: `Linux 6.1.0 #1 SMP … x86_64`.
    pub system: String,
    /// Threads that run when the file does not say how many.
    pub threads: usize,
}

/// The two names of the one program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// Called as `haproxy`, or as a file that ends so: everything looks as tools expect it.
    Haproxy,
    Sockeye,
}

impl Program {
    /// By the last part of `argv[0]`: `haproxy`, `haproxy-3.2`, `haproxy.sockeye`, else ourselves.
    pub fn from_argv0(argv0: &str) -> Self {
        let name = argv0.rsplit('/').next().unwrap_or(argv0);
        if name.starts_with("haproxy") { Self::Haproxy } else { Self::Sockeye }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Haproxy => "haproxy",
            Self::Sockeye => "sockeye",
        }
    }

    /// `sockeye check FILE` is ours; `haproxy check` is a mistake.
    pub fn has_subcommands(self) -> bool {
        self == Self::Sockeye
    }

    fn version(self) -> &'static str {
        match self {
            Self::Haproxy => FULL,
            Self::Sockeye => VERSION,
        }
    }
}

impl Identity {
    /// The lines above the first alert or warning.
    pub fn banner(&self) -> Banner<'_> {
        Banner { program: self.program.name(), version: self.program.version(), executable: &self.executable }
    }

    /// The answer to `-v`.
    pub fn version_text(&self) -> String {
        let system = &self.system;
        match self.program {
            Program::Haproxy => format!(
                "HAProxy version {FULL} {DATE} - Sockeye {VERSION}, a drop-in for HAProxy\n\
                 Status: speaks the configuration language and interfaces of HAProxy {COMPATIBLE}.\n\
                 Running on: {system}\n"
            ),
            Program::Sockeye => format!(
                "Sockeye {VERSION}\n\
                 Status: speaks the configuration language and interfaces of HAProxy {COMPATIBLE}, released {DATE}.\n\
                 Running on: {system}\n"
            ),
        }
    }

    /// The answer to `-vv`.
    pub fn detailed_text(&self) -> String {
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        let features: Vec<String> = FEATURES
            .iter()
            .map(|(name, works)| format!("{}{name}", if *works { '+' } else { '-' }))
            .collect();
        format!(
            "{version}Build options :\n  TARGET  = {os}-{arch}\n  PROFILE = {profile}\n\n\
             Feature list : {features}\n\n\
             Default settings :\n  bufsize = 16384, maxrewrite = 1024\n\n\
             Built with multi-threading support (MAX_THREADS={threads_max}, default={threads}).\n\
             Built with Rust {rust} or newer.\n\
             Built with eBPF programs for the kernel; without the privileges for them everything works in user space.\n\
             Built with transparent proxy support using: IP_TRANSPARENT IPV6_TRANSPARENT IP_FREEBIND\n\
             Built with network namespace support.\n\
             Built with SSL library version : {tls}\n\
             Running on SSL library version : {tls}\n\
             SSL library supports TLS extensions : yes\n\
             SSL library supports SNI : yes\n\
             SSL library supports : TLSv1.2 TLSv1.3\n\
             Built with PCRE2 for expressions that need it.\n\
             Encrypted password support via crypt(3): yes\n\
             Built without compression, Lua and the Prometheus exporter.\n\n\
             Available polling systems :\n      epoll : pref=300,  test result OK\nTotal: 1 (1 usable), will use epoll.\n\n\
             Available multiplexer protocols :\n\
             (protocols marked as <default> cannot be specified using 'proto' keyword)\n         \
             h2 : mode=HTTP  side=FE|BE  mux=H2\n  \
             <default> : mode=HTTP  side=FE|BE  mux=H1\n         h1 : mode=HTTP  side=FE|BE  mux=H1\n  \
             <default> : mode=TCP   side=FE|BE  mux=PASS\n       none : mode=TCP   side=FE|BE  mux=PASS\n\n\
             Available services : none\nAvailable filters : none\n\n",
            version = self.version_text(),
            os = std::env::consts::OS,
            arch = std::env::consts::ARCH,
            features = features.join(" "),
            tls = format_args!("{} {} (rustls with AWS-LC)", TLS_LIBRARY.0, TLS_LIBRARY.1),
            threads_max = THREADS_MAX,
            threads = self.threads,
            rust = env!("CARGO_PKG_RUST_VERSION"),
        )
    }
}

/// Worker threads a process may have; HAProxy's limit.
pub const THREADS_MAX: usize = 1024;

/// What conditions learn about this process: the features, and what the command line turned off.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProgramFacts {
    no_splice: bool,
    no_reuseport: bool,
    no_server_verify: bool,
}

impl ProgramFacts {
    pub fn new(args: &Args) -> Self {
        Self {
            no_splice: args.no_splice,
            no_reuseport: args.no_reuseport,
            no_server_verify: args.no_server_verify,
        }
    }
}

impl Facts for ProgramFacts {
    fn version(&self) -> &str {
        FULL
    }

    fn feature(&self, name: &str) -> bool {
        FEATURES.contains(&(name, true))
    }

    fn enabled(&self, name: &str) -> bool {
        match name {
            "EPOLL" | "GETADDRINFO" | "FAST-FORWARD" => true,
            "SPLICE" => !self.no_splice,
            "REUSEPORT" => !self.no_reuseport,
            "SERVER-SSL-VERIFY-NONE" => self.no_server_verify,
            _ => false,
        }
    }

    fn tls_library(&self) -> Option<(&str, &str)> {
        Some(TLS_LIBRARY)
    }

    fn awslc_api(&self) -> Option<u32> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(argv0: &str) -> Identity {
        Identity {
            program: Program::from_argv0(argv0),
            executable: "/x".to_owned(),
            system: "Linux 6.1.0 x86_64".to_owned(),
            threads: 2,
        }
    }

    #[test]
    fn the_name_decides_the_first_line() {
        for name in ["haproxy", "/usr/sbin/haproxy", "./haproxy-3.2"] {
            let text = identity(name).version_text();
            assert!(
                text.starts_with(&format!("HAProxy version 3.4.0-sockeye-{VERSION} {DATE} - ")),
                "{text}"
            );
        }
        for name in ["sockeye", "/opt/haproxy/bin/sockeye", ""] {
            assert!(identity(name).version_text().starts_with(&format!("Sockeye {VERSION}\n")));
        }
    }

    #[test]
    fn details_hold_the_lines_that_scripts_look_for() {
        let text = identity("haproxy").detailed_text();
        for start in [
            "HAProxy version ",
            "Running on: Linux ",
            "Feature list : ",
            "Built with SSL library version : OpenSSL 3.",
            "Built with ",
            "Available polling systems :",
        ] {
            assert!(text.lines().any(|line| line.starts_with(start)), "{start}");
        }
        assert!(text.contains(" +EPOLL ") && text.contains(" +OPENSSL ") && text.contains(" -LUA "));
        assert!(FEATURES.is_sorted());
    }

    #[test]
    fn conditions_get_the_truth() {
        let facts = ProgramFacts::new(&Args { no_splice: true, ..Args::default() });
        assert_eq!((FULL.starts_with(COMPATIBLE), facts.version()), (true, FULL));
        assert!(
            facts.feature("EBPF")
                && facts.feature("OPENSSL")
                && !facts.feature("LUA")
                && !facts.feature("NONSENSE")
        );
        assert!(!facts.enabled("SPLICE") && facts.enabled("REUSEPORT") && !facts.enabled("NONSENSE"));
    }
}
