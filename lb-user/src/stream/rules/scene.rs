//! A stream as expressions see it.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use sockeye_conn::{Carrier, clock};
use sockeye_http::RequestHead;
use sockeye_sample as sample;
use sockeye_sample::tls::{TlsFacts, TlsSide};
use sockeye_sample::{Address, Alias, Date, Format, Now, Number, Scene, Stage, Text, VariablesInUse};

use super::decided::Decided;
use super::world;
use crate::backend::Server;
use crate::backend::server::Destination;
use crate::frontend::session::Session;
use crate::stream::log;
use crate::stream::log::Facts;
use crate::stream::retry::Attempts;

/// What rules may ask about a stream.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub session: &'a Session,
    pub facts: &'a Facts,
    pub attempts: &'a Attempts,
    pub decided: &'a Decided,
}

impl<'a> View<'a> {
    /// A scene without messages.
    pub fn scene(&'a self, stage: Stage) -> Scene<'a> {
        let world = world::world();
        let mut scene = Scene::new(stage, Now::Read(SystemTime::now), world);
        scene.facts = Some(self);
        scene.variables = VariablesInUse {
            proc: Some(&world.variables),
            sess: Some(&self.session.variables),
            txn: Some(&self.decided.txn),
            req: (!self.decided.responding).then_some(&self.decided.message),
            res: self.decided.responding.then_some(&self.decided.message),
            check: None,
        };
        scene
    }

    /// Writes a format, as much of it as HAProxy's buffer would take: what it writes may be kept in a variable that
    /// the next one writes twice. Its aliases stand for what the log would say now.
    pub fn write(
        &self,
        format: &Format,
        scene: &Scene<'_>,
        request: Option<&RequestHead>,
        out: &mut Vec<u8>,
    ) {
        let limit = out.len() + self.session.frontend.tune.bufsize.saturating_sub(1);
        if !format.has_aliases() {
            format.write_exprs(out, scene);
            return out.truncate(limit);
        }
        if format.aliases().any(|alias| alias == Alias::UniqueId) {
            log::unique_id(self.session, self.facts, self.attempts, request, self.decided);
        }
        let slots = log::Slots::of(self.facts);
        let record = log::record(self.session, self.facts, self.attempts, request, &slots);
        self.session.frontend.logger.text(format, &record, Some(scene), out);
        out.truncate(limit);
    }

    fn failed(&self) -> bool {
        let slots = log::Slots::default();
        log::record(self.session, self.facts, self.attempts, None, &slots).is_error()
    }

    fn server(&self) -> Option<&'static Server> {
        let backend = self.facts.backend?;
        backend.servers.get(self.facts.server?)
    }

    fn tcp_info(&self) -> Option<sockeye_sys::tcp_info::TcpInfo> {
        sockeye_sys::tcp_info::tcp_info(&self.session.client).ok()
    }
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn is_local(addr: Option<SocketAddr>) -> Option<i64> {
    // An address of this machine is one that a socket can be bound to.
    let addr = SocketAddr::new(addr?.ip(), 0);
    Some(i64::from(std::net::UdpSocket::bind(addr).is_ok()))
}

impl sample::Facts for View<'_> {
    fn number(&self, what: Number) -> Option<i64> {
        let frontend = self.session.frontend;
        let own = || frontend.backend.filter(|backend| frontend.is_own(backend));
        // The rules of a `listen` section know its backend before it is chosen.
        let be = self.facts.backend.or_else(own);
        let backend = self.facts.backend;
        let timeouts = &self.decided.timeouts;
        let time = |time: Option<Duration>| Some(milliseconds(time.unwrap_or_default()));
        let index = |index: usize| i64::try_from(index).ok();
        Some(match what {
            Number::FrontendId => i64::from(frontend.cfg.numeric_id),
            Number::FrontendIndex => index(frontend.id.0)?,
            Number::BackendId => match backend {
                Some(backend) => i64::from(backend.cfg.numeric_id),
                None => i64::from(frontend.cfg.numeric_id),
            },
            Number::BackendIndex => index(backend?.id.0)?,
            Number::ServerId => i64::from(self.server()?.cfg.numeric_id),
            Number::ServerIndex => index(self.facts.server?)?,
            Number::ListenerId => i64::from(self.session.listener_number()),
            Number::ListenerConnections => i64::from(self.session.listener.limit.connections.now()),
            Number::FrontHttpMajor => http_major(self.session.client.carrier()),
            Number::BackHttpMajor => http_major(self.facts.server_carrier.as_ref()),
            Number::FrontError => self.session.fault.0.into(),
            Number::BackError => 0,
            Number::FrontStreams => {
                self.session.client.carrier().map_or(1, |carrier| carrier.streams.get()).into()
            }
            Number::BackStreams => match &self.facts.server_carrier {
                Some(carrier) => carrier.streams.get().into(),
                None => i64::from(self.server().is_some()),
            },
            Number::FrontStreamsLimit => streams_max(self.session.client.carrier()),
            Number::BackStreamsLimit => streams_max(self.facts.server_carrier.as_ref()),
            Number::FrontGlitches => glitches(self.session.client.carrier()),
            Number::BackGlitches => glitches(self.facts.server_carrier.as_ref()),
            Number::BackReused => i64::from(self.facts.reused),
            Number::FrontRtt => i64::try_from(self.tcp_info()?.rtt.as_micros()).ok()?,
            Number::FrontRttVariance => i64::try_from(self.tcp_info()?.rtt_variance.as_micros()).ok()?,
            Number::FrontUnacked => i64::from(self.tcp_info()?.unacked),
            Number::FrontSacked => i64::from(self.tcp_info()?.sacked),
            Number::FrontRetransmissions => i64::from(self.tcp_info()?.retrans),
            Number::FrontFackets => i64::from(self.tcp_info()?.fackets),
            Number::FrontLost => i64::from(self.tcp_info()?.lost),
            Number::FrontReordering => i64::from(self.tcp_info()?.reordering),
            // The server's socket belongs to the exchange, which rules cannot see.
            Number::BackRtt | Number::BackRttVariance => return None,
            Number::ReceivedProxy => self.session.proxy.is_received().into(),
            Number::BackendQueue => i64::from(self.attempts.backend_queue),
            Number::ServerQueue => i64::from(self.attempts.server_queue),
            Number::BytesIn | Number::RequestBytesOut => i64::try_from(self.facts.uploaded).ok()?,
            Number::BytesOut | Number::ResponseBytesOut => i64::try_from(self.facts.downloaded).ok()?,
            Number::Retries => i64::from(self.attempts.retries),
            Number::Failed => i64::from(self.failed()),
            Number::Forwarded => i64::from(self.facts.server.is_some()),
            Number::Redispatched => i64::from(self.attempts.redispatched),
            Number::TransactionId | Number::StreamId => {
                i64::try_from(self.facts.number & 0xffff_ffff).ok()?
            }
            Number::ResponseStatus => i64::from(self.facts.status?),
            Number::ServerStatus => i64::from(self.decided.server_status?),
            Number::FirstRequest => i64::from(self.session.requests <= 1),
            Number::ClientTimeout => return time(timeouts.client.or(frontend.cfg.timeout_client)),
            Number::ServerTimeout => {
                // The configured one applies once there is a server.
                let configured = self.attempts.connected_at.and(be);
                return time(timeouts.server.or_else(|| configured.and_then(|be| be.cfg.timeout_server)));
            }
            Number::TunnelTimeout => return time(timeouts.tunnel.or(backend?.cfg.timeout_tunnel)),
            Number::ConnectTimeout => return time(timeouts.connect.or(backend?.cfg.timeout_connect)),
            Number::QueueTimeout => return time(timeouts.queue.or(backend?.cfg.timeout_queue)),
            Number::TarpitTimeout => return time(timeouts.tarpit.or(frontend.cfg.timeout_tarpit)),
            Number::MaxRetries => {
                i64::from(self.decided.retries.or_else(|| backend.map(|be| be.cfg.retries))?)
            }
            Number::FrontendClientTimeout => return time(frontend.cfg.timeout_client),
            Number::FrontendTarpitTimeout => return time(frontend.cfg.timeout_tarpit),
            Number::BackendServerTimeout => return time(be?.cfg.timeout_server),
            Number::BackendTunnelTimeout => return time(be?.cfg.timeout_tunnel),
            Number::BackendConnectTimeout => return time(be?.cfg.timeout_connect),
            Number::BackendQueueTimeout => return time(be?.cfg.timeout_queue),
            Number::BackendTarpitTimeout => return time(be?.cfg.timeout_tarpit),
            Number::BackendMaxRetries => i64::from(be?.cfg.retries),
            Number::TimerHandshake => 0,
            Number::TimerIdle => milliseconds(self.facts.started_at.duration_since(self.facts.idle_since)),
            Number::TimerRequest => {
                milliseconds(self.facts.received_at?.duration_since(self.facts.started_at))
            }
            Number::TimerQueue => {
                milliseconds(self.attempts.placed_at?.duration_since(self.facts.received_at?))
            }
            Number::TimerConnect => {
                milliseconds(self.attempts.connected_at?.duration_since(self.attempts.placed_at?))
            }
            Number::TimerResponse => {
                milliseconds(self.facts.response_at?.duration_since(self.attempts.connected_at?))
            }
            Number::TimerData => milliseconds(self.facts.ended_at?.duration_since(self.facts.response_at?)),
            Number::TimerActive | Number::TimerUser => {
                let end = self.facts.ended_at.unwrap_or_else(clock::now);
                milliseconds(end.duration_since(self.facts.started_at))
            }
            Number::TimerRequestFromAccept => {
                milliseconds(self.facts.received_at?.duration_since(self.facts.idle_since))
            }
            Number::TimerTotal => {
                let end = self.facts.ended_at.unwrap_or_else(clock::now);
                milliseconds(end.duration_since(self.session.accepted_at))
            }
            Number::LastRuleLine => return None,
            Number::SourceIsLocal => return is_local(self.address(Address::Source)),
            Number::DestinationIsLocal => return is_local(self.address(Address::Destination)),
            Number::FrontSourceIsLocal => return is_local(self.address(Address::FrontSource)),
            Number::FrontDestinationIsLocal => return is_local(self.address(Address::FrontDestination)),
            Number::PriorityClass => self.decided.priority_class,
            Number::PriorityOffset => self.decided.priority_offset,
            Number::FrontAborted | Number::BackAborted => 0,
            Number::FrontStreamId | Number::BackStreamId => 0,
            Number::FrontResetCode | Number::BackResetCode => return None,
        })
    }

    fn text(&self, what: Text) -> Option<&[u8]> {
        let frontend = self.session.frontend;
        Some(match what {
            Text::FrontendName => frontend.name().as_bytes(),
            Text::DefaultBackend => frontend.backend?.name().as_bytes(),
            Text::BackendName => match self.facts.backend {
                Some(backend) => backend.name().as_bytes(),
                None => frontend.name().as_bytes(),
            },
            Text::ServerName => self.server()?.name().as_bytes(),
            Text::ListenerName => self.session.listener.cfg.name.as_deref()?.as_bytes(),
            _ => return None,
        })
    }

    fn address(&self, what: Address) -> Option<SocketAddr> {
        match what {
            Address::Source => self.session.peer.addr(),
            Address::Destination => self.session.destination(),
            Address::FrontSource => {
                let addr = rustix::net::getpeername(self.session.client.as_fd()).ok()??;
                SocketAddr::try_from(addr).ok()
            }
            Address::FrontDestination => self.session.local_addr(),
            Address::BackSource => self.facts.server_ends.map(|(source, _)| source),
            Address::BackDestination => match (self.facts.server_ends, self.server()?.destination()) {
                (Some((_, address)), _) | (None, Some(Destination::Inet(address))) => Some(address),
                _ => None,
            },
        }
    }

    fn date(&self, what: Date) -> Option<SystemTime> {
        Some(match what {
            Date::Accept => self.session.accept_date,
            Date::Request => log::request_date(self.session, self.facts),
        })
    }

    fn capture(&self, request: bool, slot: usize) -> Option<Vec<u8>> {
        self.facts.captured.as_ref()?.slots(request).nth(slot)?.map(<[u8]>::to_vec)
    }

    fn keep_capture(&self, request: bool, slot: usize, value: &[u8]) -> bool {
        let captures = &self.session.frontend.cfg.captures;
        let slots = if request { &captures.request } else { &captures.response };
        let Some(declared) = slots.get(slot) else { return false };
        let value = value[..value.len().min(declared.length)].to_vec();
        self.decided.captured.borrow_mut().push((request, slot, value));
        true
    }

    fn tlv(&self, kind: u8, index: usize) -> Option<&[u8]> {
        self.session.proxy.tlv(kind, index)
    }

    fn tls(&self, side: TlsSide) -> Option<&TlsFacts> {
        Some(match side {
            TlsSide::Front => self.session.tls.as_ref()?.facts(),
            TlsSide::Back => self.facts.server_tls.as_ref()?.facts(),
        })
    }

    fn unique_id(&self, request: Option<&RequestHead>) -> Option<&[u8]> {
        log::unique_id(self.session, self.facts, self.attempts, request, self.decided)
    }
}

/// The version that a connection is spoken to with: only one whose streams share it has a carrier.
fn http_major(carrier: Option<&Rc<Carrier>>) -> i64 {
    if carrier.is_some() { 2 } else { 1 }
}

fn streams_max(carrier: Option<&Rc<Carrier>>) -> i64 {
    carrier.map_or(1, |carrier| carrier.streams_max.get()).into()
}

fn glitches(carrier: Option<&Rc<Carrier>>) -> i64 {
    carrier.map_or(0, |carrier| carrier.glitches.get()).into()
}
