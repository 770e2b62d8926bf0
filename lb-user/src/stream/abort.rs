//! Who ended a stream, and in which stage: the termination code of the manual (8.5).

/// The first event that made the stream end (first character of the code).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cause {
    /// Both sides finished.
    #[default]
    Normal,
    /// The client closed or reset its connection.
    Client,
    /// The client let `timeout client` (or `http-request`) pass.
    ClientTimeout,
    /// The server closed, reset or refused its connection.
    Server,
    /// The server let `timeout server`, `connect` or `queue` pass.
    ServerTimeout,
    /// The proxy refused or stopped it: an invalid message, a rule, a limit.
    Proxy,
    /// What was asked for makes no sense: a request that a rule sends to a backend of `mode tcp`.
    Internal,
    /// A resource of the proxy was used up: memory, descriptors, ports.
    Resource,
    /// Answered here: monitor, redirect, statistics.
    Local,
    /// The server was marked down (`on-marked-down shutdown-sessions`).
    Down,
    /// An active server came up (`on-marked-up shutdown-backup-sessions`).
    Up,
    /// An operator, or a hard stop, ended the session.
    Killed,
}

/// What the stream was doing (second character of the code).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stage {
    /// Over.
    #[default]
    Done,
    /// Waiting for a complete request.
    Request,
    /// Waiting for a place on a server.
    Queue,
    /// Connecting to the server.
    Connect,
    /// Waiting for a complete response head.
    Headers,
    /// Moving data.
    Data,
    /// Held back by a rule (`tarpit`).
    Tarpit,
    /// Sending the last data to the client after the server has closed.
    Last,
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ending {
    pub cause: Cause,
    pub stage: Stage,
}

impl Ending {
    pub fn new(cause: Cause, stage: Stage) -> Self {
        Self { cause, stage }
    }

    /// Both characters as logged.
    pub fn code(self) -> [u8; 2] {
        let cause = match self.cause {
            Cause::Normal => b'-',
            Cause::Client => b'C',
            Cause::ClientTimeout => b'c',
            Cause::Server => b'S',
            Cause::ServerTimeout => b's',
            Cause::Proxy => b'P',
            Cause::Internal => b'I',
            Cause::Resource => b'R',
            Cause::Local => b'L',
            Cause::Down => b'D',
            Cause::Up => b'U',
            Cause::Killed => b'K',
        };
        let stage = match self.stage {
            Stage::Done => b'-',
            Stage::Request => b'R',
            Stage::Queue => b'Q',
            Stage::Connect => b'C',
            Stage::Headers => b'H',
            Stage::Data => b'D',
            Stage::Tarpit => b'T',
            Stage::Last => b'L',
        };
        [cause, stage]
    }

    /// Whether the log line counts as an error (`log-separate-errors`, `dontlog-normal`).
    pub fn is_error(self) -> bool {
        !matches!(self.cause, Cause::Normal | Cause::Local)
    }
}
