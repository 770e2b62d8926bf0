//! What expressions in log formats and unique ids look at: the facts that the log line of a stream has anyway.

use std::net::SocketAddr;
use std::time::SystemTime;

use sockeye_http::RequestHead;
use sockeye_log::{Peer, Process, Record};
use sockeye_sample as sample;
use sockeye_sample::{
    Address, Date, Number, ProcessNumber, ProcessText, ProxyNumber, Scene, ServerNumber, Stage, Target, Text,
    World,
};

/// A finished stream. Borrowed by the [`Scene`] that expressions are evaluated in.
pub(super) struct LogScene<'a> {
    pub(super) record: &'a Record<'a>,
    pub(super) process: &'a Process,
    pub(super) request: Option<&'a RequestHead>,
}

impl LogScene<'_> {
    pub(super) fn scene(&self) -> Scene<'_> {
        let mut scene = Scene::new(Stage::Log, SystemTime::now(), self);
        scene.facts = Some(self);
        scene.request = self.request;
        scene
    }
}

impl sample::Facts for LogScene<'_> {
    fn number(&self, what: Number) -> Option<i64> {
        let record = self.record;
        let timers = &record.timers;
        let timer = |milliseconds: Option<u32>| Some(milliseconds.map_or(-1, i64::from));
        match what {
            Number::BytesIn => i64::try_from(record.bytes_uploaded).ok(),
            Number::BytesOut => i64::try_from(record.bytes_read).ok(),
            Number::Retries => Some(record.retries.count.into()),
            Number::Redispatched => Some(record.retries.redispatched.into()),
            Number::TransactionId | Number::StreamId => i64::try_from(record.request_counter).ok(),
            Number::ResponseStatus | Number::ServerStatus => record.status.map(i64::from),
            Number::BackendQueue => Some(record.queues.backend.into()),
            Number::ServerQueue => Some(record.queues.server.into()),
            // A connection with a stream has no error: the others are reported before.
            Number::FrontError => Some(0),
            Number::TimerHandshake => Some(timers.handshake.into()),
            Number::TimerIdle => timer(timers.idle),
            Number::TimerRequest => timer(timers.request),
            Number::TimerQueue => timer(timers.queue),
            Number::TimerConnect => timer(timers.connect),
            Number::TimerResponse => timer(timers.response),
            _ => None,
        }
    }

    fn text(&self, what: Text) -> Option<&[u8]> {
        let record = self.record;
        let request = || record.request.as_ref();
        match what {
            Text::FrontendName => Some(record.frontend.as_bytes()),
            Text::BackendName => Some(record.backend.as_bytes()),
            Text::ServerName => record.server.map(str::as_bytes),
            Text::TerminationState => Some(&record.termination),
            Text::RequestMethod => request().map(|request| request.method),
            Text::RequestUri => request().map(|request| request.target),
            Text::RequestVersion => request().map(|request| request.version),
            Text::ResponseVersion => record.status.map(|_| &b"HTTP/1.1"[..]),
            _ => None,
        }
    }

    fn address(&self, what: Address) -> Option<SocketAddr> {
        let inet = |peer: Option<Peer>| match peer {
            Some(Peer::Inet(address)) => Some(address),
            _ => None,
        };
        match what {
            Address::Source | Address::FrontSource => inet(self.record.client),
            Address::Destination | Address::FrontDestination => inet(self.record.destination),
            Address::BackSource => self.record.server_source,
            Address::BackDestination => inet(self.record.server_address),
        }
    }

    fn date(&self, what: Date) -> Option<SystemTime> {
        Some(match what {
            Date::Accept => self.record.accept_date,
            Date::Request => self.record.request_date,
        })
    }

    fn capture(&self, request: bool, slot: usize) -> Option<&[u8]> {
        let captures = &self.record.captures;
        let slots = if request { captures.request_headers } else { captures.response_headers };
        slots.get(slot).copied().flatten()
    }

    fn keep_capture(&self, _: bool, _: usize, _: &[u8]) -> bool {
        // The stream is over.
        false
    }

    fn unique_id(&self) -> Option<&[u8]> {
        self.record.unique_id
    }
}

impl World for LogScene<'_> {
    fn process(&self, what: ProcessNumber) -> Option<i64> {
        match what {
            ProcessNumber::Pid => Some(self.process.pid.into()),
            ProcessNumber::ActiveConnections => Some(self.record.connections.process.into()),
            _ => None,
        }
    }

    fn proxy(&self, _: Target, _: ProxyNumber) -> Option<i64> {
        None
    }

    fn server(&self, _: usize, _: usize, _: ServerNumber) -> Option<i64> {
        None
    }

    fn backend_named(&self, _: &[u8]) -> Option<usize> {
        None
    }

    fn server_named(&self, _: usize, _: &[u8]) -> Option<usize> {
        None
    }

    fn frontend_named(&self, _: &[u8]) -> Option<usize> {
        None
    }

    fn text(&self, what: ProcessText) -> Option<&[u8]> {
        match what {
            ProcessText::Hostname | ProcessText::Node => Some(self.process.hostname.as_bytes()),
            _ => None,
        }
    }

    fn authenticate(&self, _: usize, _: &[u8], _: &[u8]) -> bool {
        false
    }

    fn groups_of(&self, _: usize, _: &[u8], _: &mut dyn FnMut(&str) -> bool) {}

    fn random(&self, range: Option<u32>) -> u32 {
        let random = fastrand::u32(..);
        range.map_or(random, |range| random.checked_rem(range).unwrap_or(0))
    }
}
