//! Where an expression stands, and so what it can look at (the table above the list of fetches in `haproxy -dKall`).

use std::ops::BitOr;

/// One place where expressions are evaluated. In the order of the table's columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Stage {
    FrontendConnection,
    FrontendSession,
    FrontendRequestContent,
    FrontendRequestHeader,
    FrontendRequestBody,
    FrontendUseBackend,
    BackendRequestContent,
    BackendRequestHeader,
    BackendRequestBody,
    /// `use-server`, `balance`, `stick match`.
    BackendServerChoice,
    ServerSource,
    BackendResponseContent,
    BackendResponseHeader,
    BackendResponseBody,
    BackendStickStore,
    FrontendResponseContent,
    FrontendResponseHeader,
    FrontendResponseBody,
    Log,
    TcpCheck,
    ConfigurationFile,
    RuntimeCommand,
}

impl Stage {
    const ALL: [Self; 22] = [
        Self::FrontendConnection,
        Self::FrontendSession,
        Self::FrontendRequestContent,
        Self::FrontendRequestHeader,
        Self::FrontendRequestBody,
        Self::FrontendUseBackend,
        Self::BackendRequestContent,
        Self::BackendRequestHeader,
        Self::BackendRequestBody,
        Self::BackendServerChoice,
        Self::ServerSource,
        Self::BackendResponseContent,
        Self::BackendResponseHeader,
        Self::BackendResponseBody,
        Self::BackendStickStore,
        Self::FrontendResponseContent,
        Self::FrontendResponseHeader,
        Self::FrontendResponseBody,
        Self::Log,
        Self::TcpCheck,
        Self::ConfigurationFile,
        Self::RuntimeCommand,
    ];

    /// As messages call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::FrontendConnection => "frontend tcp-request connection rule",
            Self::FrontendSession => "frontend tcp-request session rule",
            Self::FrontendRequestContent => "frontend tcp-request content rule",
            Self::FrontendRequestHeader => "frontend http-request header rule",
            Self::FrontendRequestBody => "frontend http-request body rule",
            Self::FrontendUseBackend => "frontend use-backend rule",
            Self::BackendRequestContent => "backend tcp-request content rule",
            Self::BackendRequestHeader => "backend http-request header rule",
            Self::BackendRequestBody => "backend http-request body rule",
            Self::BackendServerChoice => "backend use-server, balance or stick-match rule",
            Self::ServerSource => "server source selection",
            Self::BackendResponseContent => "backend tcp-response content rule",
            Self::BackendResponseHeader => "backend http-response header rule",
            Self::BackendResponseBody => "backend http-response body rule",
            Self::BackendStickStore => "backend stick-store rule",
            Self::FrontendResponseContent => "frontend tcp-response content rule",
            Self::FrontendResponseHeader => "frontend http-response header rule",
            Self::FrontendResponseBody => "frontend http-response body rule",
            Self::Log => "logs",
            Self::TcpCheck => "backend tcp-check rule",
            Self::ConfigurationFile => "configuration parser",
            Self::RuntimeCommand => "CLI parser",
        }
    }
}

/// A set of stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Stages(u32);

impl Stages {
    pub const NONE: Self = Self(0);
    pub const ALL: Self = Self((1 << 22) - 1);

    pub const fn of(stage: Stage) -> Self {
        Self(1 << stage as u32)
    }

    /// From a row of `Y` and `.`, one per stage.
    pub fn of_row(row: &str) -> Self {
        Self(row.bytes().take(22).enumerate().fold(
            0,
            |set, (bit, mark)| {
                if mark == b'Y' { set | 1 << bit } else { set }
            },
        ))
    }

    pub fn contains(self, stage: Stage) -> bool {
        self.0 & Self::of(stage).0 != 0
    }

    /// Whether anything of `other` is here.
    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub fn iter(self) -> impl Iterator<Item = Stage> {
        Stage::ALL.into_iter().filter(move |stage| self.contains(*stage))
    }
}

impl BitOr for Stages {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
