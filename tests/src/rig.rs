//! The usual arrangement: one frontend `fe`, one backend `be` with one server `s1`, everything logged to standard output.

use crate::{Daemon, Lines, Origin, Peer, Setup};

/// A daemon and the origin behind it.
pub struct Rig {
    pub daemon: Daemon,
    pub origin: Origin,
}

impl Rig {
    /// `mode http` with `option httplog`.
    pub fn http() -> Plan {
        Plan::new("http", "option httplog")
    }

    /// `mode tcp` with `option tcplog`.
    pub fn tcp() -> Plan {
        Plan::new("tcp", "option tcplog")
    }

    /// A client's connection to the frontend.
    #[track_caller]
    pub fn client(&mut self) -> impl Future<Output = Peer> {
        self.daemon.connect("fe")
    }

    /// A client's connection and the connection that the daemon opened to the origin for it: `mode tcp`.
    #[track_caller]
    pub fn pair(&mut self) -> impl Future<Output = (Peer, Peer)> {
        let client = self.daemon.connect("fe");
        let accept = self.origin.accept();
        async move { (client.await, accept.await) }
    }

    /// A client that has sent `request`, and the origin's connection that it will arrive on: `mode http`.
    #[track_caller]
    pub fn asked(&mut self, request: impl AsRef<[u8]>) -> impl Future<Output = (Peer, Peer)> {
        let client = self.daemon.connect("fe");
        let accept = self.origin.accept();
        async move {
            let mut client = client.await;
            client.send(request).await;
            (client, accept.await)
        }
    }

    /// The daemon's log.
    pub fn log(&self) -> &Lines {
        &self.daemon.stdout
    }
}

/// The configuration of a [`Rig`] in the making; each part takes further lines.
pub struct Plan {
    mode: &'static str,
    log: &'static str,
    global: String,
    defaults: String,
    frontend: String,
    backend: String,
    server: String,
}

impl Plan {
    fn new(mode: &'static str, log: &str) -> Self {
        Self {
            mode,
            log: "log global",
            global: String::new(),
            defaults: log.to_owned(),
            frontend: String::new(),
            backend: String::new(),
            server: String::new(),
        }
    }

    pub fn global(mut self, lines: &str) -> Self {
        add(&mut self.global, lines);
        self
    }

    /// Logs nothing: for tests of many connections.
    pub fn quiet(mut self) -> Self {
        self.log = "";
        self
    }

    pub fn defaults(mut self, lines: &str) -> Self {
        add(&mut self.defaults, lines);
        self
    }

    pub fn frontend(mut self, lines: &str) -> Self {
        add(&mut self.frontend, lines);
        self
    }

    pub fn backend(mut self, lines: &str) -> Self {
        add(&mut self.backend, lines);
        self
    }

    /// Further words of the server line.
    pub fn server(mut self, words: &str) -> Self {
        self.server.push(' ');
        self.server.push_str(words);
        self
    }

    /// The text, with `<fe>` and `<s1>` open.
    pub fn cfg(&self) -> String {
        let Self { mode, log, global, defaults, frontend, backend, server } = self;
        // One thread: connection pools are per thread, and tests count connections.
        format!(
            "global\n    nbthread 1\n    log stdout format raw local0\n    {global}\n\
             defaults\n    mode {mode}\n    {log}\n    \
             timeout client 30s\n    timeout server 30s\n    timeout connect 5s\n    {defaults}\n\
             frontend fe\n    bind <fe>\n    default_backend be\n    {frontend}\n\
             backend be\n    {backend}\n    server s1 <s1>{server}\n"
        )
    }

    /// Starts the daemon with an origin that listens.
    pub fn start(self) -> Rig {
        let origin = Origin::bind();
        let daemon = Setup::new(self.cfg()).at("s1", origin.addr()).start();
        Rig { daemon, origin }
    }

    /// The daemon not yet started, for further settings; `<s1>` refuses connections unless given.
    pub fn setup(self) -> Setup {
        Setup::new(self.cfg())
    }
}

fn add(part: &mut String, lines: &str) {
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        part.push_str("\n    ");
        part.push_str(line);
    }
}
