//! From argv to an exit status.

use std::ffi::OsString;
use std::process::ExitCode;

use sockeye_config::model::Config;

/// Prints a line as HAProxy prints its own: severity, process, text.
pub fn say(severity: &str, text: &str) {
    use std::io::Write as _;
    let label = format!("[{severity}]");
    // A closed standard error leaves nobody to tell.
    let _ = writeln!(std::io::stderr(), "{label:<10} ({}) : {text}", std::process::id());
}

/// Prints to standard output.
pub fn print(text: &str) {
    use std::io::Write as _;
    // A closed standard output leaves nobody to tell.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

pub fn wants_sockmap(config: &Config) -> bool {
    config.global.ebpf.accel && config.global.ebpf.splice == sockeye_config::model::EbpfSplice::Sockmap
}

pub fn run(_args: impl Iterator<Item = OsString>) -> ExitCode {
    use sockeye_config::model::*;
    let ms = |n| Some(std::time::Duration::from_millis(n));
    let server = |name: &str, addr: &str| Server {
        place: Place::default(),
        name: name.into(),
        numeric_id: 1,
        address: ServerAddress::Inet {
            host: Host::Ip(addr.parse::<std::net::SocketAddr>().unwrap().ip()),
            port: ServerPort::Fixed(addr.parse::<std::net::SocketAddr>().unwrap().port()),
        },
        init_addr: vec![],
        weight: 1,
        backup: false,
        disabled: false,
        maxconn: None,
        minconn: None,
        maxqueue: None,
        slowstart: None,
        pool_max_conn: None,
        pool_low_conn: None,
        pool_purge_delay: std::time::Duration::from_secs(5),
        max_reuse: None,
        source: None,
        tfo: false,
        tcp_user_timeout: None,
        congestion: None,
        namespace: None,
        check: ServerCheck {
            enabled: false,
            inter: std::time::Duration::from_secs(2),
            fastinter: None,
            downinter: None,
            rise: 2,
            fall: 3,
            port: None,
            addr: None,
            observe: None,
            error_limit: 10,
            on_error: OnError::FailCheck,
            on_marked_down: false,
            on_marked_up: false,
            track: None,
            init_state: InitState::Up,
        },
    };
    let mut config = Config::default();
    config.global.nbthread = Some(1);
    for (i, mode, port) in [(0, Mode::Http, 18180), (1, Mode::Tcp, 18181)] {
        config.frontends.push(Frontend {
            place: Place::default(),
            name: "f".into(),
            kind: SectionKind::Listen,
            numeric_id: 2,
            mode,
            disabled: false,
            description: None,
            binds: vec![Bind {
                place: Place::default(),
                text: "x".into(),
                address: BindAddress::Inet(([127, 0, 0, 1], port).into()),
                name: None,
                id: None,
                interface: None,
                backlog: None,
                maxconn: None,
                defer_accept: false,
                tfo: false,
                v4v6: false,
                v6only: false,
                transparent: false,
                mss: None,
                tcp_user_timeout: None,
                congestion: None,
                unix: Default::default(),
                nice: 0,
                threads: vec![],
                shards: None,
                namespace: None,
            }],
            maxconn: None,
            backlog: None,
            default_backend: Some(BackendId(i)),
            timeout_client: ms(30000),
            timeout_client_fin: None,
            timeout_http_request: None,
            timeout_http_keep_alive: None,
            timeout_tarpit: None,
            timeout_client_hs: None,
            log: vec![],
            log_tag: None,
            log_format: LogFormat::Http,
            options: Default::default(),
            monitor_uri: None,
            errorfiles: Default::default(),
            clitcpka: Default::default(),
            splice: SpliceOptions { auto: true, ..Default::default() },
        });
        config.backends.push(Backend {
            place: Place::default(),
            name: "f".into(),
            kind: SectionKind::Listen,
            numeric_id: 2,
            mode,
            disabled: false,
            description: None,
            balance: Default::default(),
            servers: vec![server("s", "127.0.0.1:18190")],
            fullconn: None,
            timeout_connect: ms(5000),
            timeout_server: ms(30000),
            timeout_server_fin: None,
            timeout_queue: None,
            timeout_check: None,
            timeout_tunnel: None,
            timeout_http_request: None,
            timeout_http_keep_alive: None,
            timeout_tarpit: None,
            retries: 3,
            retry_on: Default::default(),
            redispatch: 0,
            http_reuse: HttpReuse::Always,
            max_keep_alive_queue: None,
            source: Default::default(),
            check: Default::default(),
            log: vec![],
            log_tag: None,
            options: Default::default(),
            errorfiles: Default::default(),
            srvtcpka: Default::default(),
            splice: Default::default(),
            hash_preserve_affinity: Default::default(),
        });
    }
    match super::boot::start(config, &Default::default()) {
        Ok(s) => ExitCode::from(s),
        Err(_) => ExitCode::FAILURE,
    }
}
