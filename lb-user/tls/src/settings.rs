//! What the configuration says of TLS, as it says it: paths are complete (`crt-base` and `ca-base` are applied), the rest
//! is still text. Manual: 5.1 (bind), 5.2 (server), 3.1 (`ssl-default-*`), 3.12 (`crt-store`).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// TLS versions that exist to us. Older ones are refused when the file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    Tls12,
    Tls13,
}

/// What both sides of a proxy may say: `ssl-default-bind-*` and `ssl-default-server-*` are the defaults of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// `ciphers`: of TLS 1.2, names and groups of OpenSSL.
    pub ciphers: Option<String>,
    /// `ciphersuites`: of TLS 1.3.
    pub ciphersuites: Option<String>,
    /// `curves`, `ecdhe`.
    pub curves: Option<String>,
    pub sigalgs: Option<String>,
    pub client_sigalgs: Option<String>,
    pub min: Option<Version>,
    pub max: Option<Version>,
    /// Versions that `no-tlsv12` and its kin leave out.
    pub without: Vec<Version>,
    /// `tls-tickets` and `no-tls-tickets`; `None`: not said.
    pub tickets: Option<bool>,
    /// `alpn`, without the length bytes; `None`: the default; empty: `no-alpn`.
    pub alpn: Option<Vec<Vec<u8>>>,
}

/// What a `bind … ssl` line says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bind {
    pub profile: Profile,
    /// `crt`, in order: files, directories, or names in a `crt-store` (`@store/name`).
    pub certificates: Vec<PathBuf>,
    /// `default-crt`.
    pub default_certificates: Vec<PathBuf>,
    /// `ssl-f-use` of the frontend: lines as a crt-list has them.
    pub list_lines: Vec<String>,
    /// `crt-list`.
    pub lists: Vec<PathBuf>,
    /// In which order the line has the three: each stands for the next one of its list, and what it leaves out follows in
    /// the order `default-crt`, `crt`, `crt-list`. The first certificate of all is a default one.
    pub order: Vec<Source>,
    pub strict_sni: bool,
    pub client: ClientAuth,
    pub allow_0rtt: bool,
    /// `prefer-client-ciphers`.
    pub prefer_client_ciphers: bool,
    /// `tls-ticket-keys FILE`.
    pub ticket_keys: Option<PathBuf>,
    /// `generate-certificates` with `ca-sign-file` and `ca-sign-pass`.
    pub generate: bool,
    pub sign_file: Option<PathBuf>,
    pub sign_pass: Option<String>,
}

/// A word of a bind line that brings certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Certificate,
    DefaultCertificate,
    List,
}

/// `verify` of a bind line and what belongs to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientAuth {
    pub verify: Verify,
    /// `ca-file`: a file, a directory or `@system-ca`.
    pub ca_file: Option<PathBuf>,
    /// `ca-verify-file`: trusted, but not named to clients.
    pub ca_verify_file: Option<PathBuf>,
    pub crl_file: Option<PathBuf>,
    pub no_ca_names: bool,
    pub crt_ignore_err: Ignored,
    pub ca_ignore_err: Ignored,
}

/// Whether the peer's certificate is asked for and checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Verify {
    #[default]
    None,
    /// Asked for; checked if there is one.
    Optional,
    Required,
}

/// Verification errors that do not end the handshake (X509_V_ERR_*).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Ignored {
    #[default]
    Nothing,
    All,
    /// Numbers of OpenSSL.
    These(Vec<u32>),
}

/// What a `server … ssl` (or `check-ssl`) line says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Server {
    pub profile: Profile,
    /// `verify`; `None`: the default, which `ssl-server-verify` sets.
    pub verify: Option<Verify>,
    pub ca_file: Option<PathBuf>,
    pub crl_file: Option<PathBuf>,
    /// `verifyhost`: the name the certificate must have. Without it the one of `sni` counts.
    pub verify_host: Option<String>,
    /// `crt`: our certificate and key.
    pub certificate: Option<PathBuf>,
    /// `no-ssl-reuse`: every connection shakes hands in full.
    pub no_reuse: bool,
}

/// What `global` says that is about files and limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Global {
    /// `ssl-default-bind-*` and `ssl-default-server-*`.
    pub bind: Profile,
    pub server: Profile,
    /// `ssl-default-bind-options prefer-client-ciphers` and `strict-sni`.
    pub bind_prefer_client_ciphers: bool,
    pub bind_strict_sni: bool,
    /// `ssl-server-verify`: `Required` unless said otherwise.
    pub server_verify: Verify,
    pub extra_files: ExtraFiles,
    /// `ssl-load-extra-del-ext`: `site.crt` has its key in `site.key`, not in `site.crt.key`.
    pub extra_del_ext: bool,
    pub skip_self_issued_ca: bool,
    /// `tune.ssl.cachesize`: sessions kept for resumption by id.
    pub cache_size: usize,
    /// `tune.ssl.lifetime`.
    pub lifetime: Duration,
    /// `tune.ssl.maxrecord`: bytes of a record at most, 0: as many as fit.
    pub max_record: usize,
    /// `tune.ssl.capture-buffer-size`: bytes of the ClientHello kept for expressions, 0: none.
    pub capture_buffer: usize,
    /// `tune.ssl.keylog`.
    pub keylog: bool,
    /// `tune.ssl.hard-maxrecord`: as `max_record`, from the first byte to the last.
    pub hard_max_record: usize,
    /// `tune.ssl.ssl-ctx-cache-size`: certificates of `generate-certificates` that are kept.
    pub generated_cache: usize,
    /// `ca-base`, `crt-base` and `key-base`, for what names of files a crt-list holds.
    pub ca_base: Option<PathBuf>,
    pub crt_base: Option<PathBuf>,
    pub key_base: Option<PathBuf>,
    /// `issuers-chain-path`: certificates of issuers that complete the chains of files without any.
    pub issuers_chain: Option<PathBuf>,
    pub ocsp: OcspUpdate,
}

/// `ocsp-update.…`: how responses are fetched again while the process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OcspUpdate {
    /// `ocsp-update.mode`: what certificates do that say nothing themselves.
    pub on: bool,
    /// `ocsp-update.disable`: nothing is fetched, whatever a certificate says.
    pub disabled: bool,
    /// `ocsp-update.mindelay` and `.maxdelay`: between two updates of one response.
    pub min_delay: Duration,
    pub max_delay: Duration,
    /// `ocsp-update.httpproxy ADDRESS[:PORT]`.
    pub http_proxy: Option<SocketAddr>,
}

impl Default for OcspUpdate {
    fn default() -> Self {
        Self {
            on: false,
            disabled: false,
            min_delay: Duration::from_mins(5),
            max_delay: Duration::from_hours(1),
            http_proxy: None,
        }
    }
}

impl Default for Global {
    fn default() -> Self {
        Self {
            bind: Profile::default(),
            server: Profile::default(),
            bind_prefer_client_ciphers: false,
            bind_strict_sni: false,
            server_verify: Verify::Required,
            extra_files: ExtraFiles::default(),
            extra_del_ext: false,
            skip_self_issued_ca: false,
            cache_size: 20_000,
            lifetime: Duration::from_mins(5),
            max_record: 0,
            capture_buffer: 0,
            keylog: false,
            hard_max_record: 0,
            generated_cache: 1_000,
            ca_base: None,
            crt_base: None,
            key_base: None,
            issuers_chain: None,
            ocsp: OcspUpdate::default(),
        }
    }
}

/// `ssl-load-extra-files`: which neighbours of a certificate's file are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a word of the directive")]
pub struct ExtraFiles {
    /// `.rsa`, `.ecdsa` and `.dsa` beside each other are one certificate of several kinds.
    pub bundle: bool,
    pub sctl: bool,
    pub ocsp: bool,
    pub issuer: bool,
    pub key: bool,
}

impl Default for ExtraFiles {
    fn default() -> Self {
        Self { bundle: true, sctl: true, ocsp: true, issuer: true, key: true }
    }
}

/// One `load` line of a `crt-store`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Load {
    /// What `crt` lines call it: `@store/alias`, or `@store/` and the path of its file.
    pub name: String,
    pub certificate: PathBuf,
    pub key: Option<PathBuf>,
    pub ocsp: Option<PathBuf>,
    pub issuer: Option<PathBuf>,
    pub sctl: Option<PathBuf>,
    /// `ocsp-update on`.
    pub ocsp_update: bool,
}
