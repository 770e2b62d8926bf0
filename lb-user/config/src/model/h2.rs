//! HTTP/2: `tune.h2.…` and `h2-workaround-bogus-websocket-clients`.

/// What is announced to peers, and what is borne from them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct H2 {
    /// Towards clients.
    pub fe: H2Side,
    /// Towards servers.
    pub be: H2Side,
    /// `tune.h2.initial-window-size`: 16384 by default. See [`initial_window`](Self::initial_window).
    pub initial_window_size: u32,
    /// `tune.h2.max-concurrent-streams`: 100 by default. See [`concurrent_streams`](Self::concurrent_streams).
    pub max_concurrent_streams: u32,
    /// `tune.h2.header-table-size`: bytes of the decoder's dynamic table, 4096..=65536.
    pub header_table_size: u32,
    /// `tune.h2.max-frame-size`: 16384..=16777215. `None`: `tune.bufsize`, 16384 at least.
    pub max_frame_size: Option<u32>,
    /// `tune.h2.fe.max-total-streams`: streams of a connection until GOAWAY. 0: no limit.
    pub max_total_streams: u32,
    /// `h2-workaround-bogus-websocket-clients`: WebSockets over HTTP/2 are not announced.
    pub no_websockets: bool,
}

/// One side of [`H2`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct H2Side {
    /// `None`: that of both sides.
    pub initial_window_size: Option<u32>,
    /// `None`: that of both sides.
    pub max_concurrent_streams: Option<u32>,
    /// Violations that end a connection. 0: no threshold of the configuration's.
    pub glitches_threshold: u32,
    /// Bytes received that a connection may hold for all its streams: 100 streams of 16 kB by default.
    pub rxbuf: u64,
}

impl H2 {
    /// Bytes of a stream's window at first, on `side`.
    pub fn initial_window(&self, side: &H2Side) -> u32 {
        side.initial_window_size.unwrap_or(self.initial_window_size)
    }

    /// Streams at a time on one connection of `side`. 0: no limit.
    pub fn concurrent_streams(&self, side: &H2Side) -> u32 {
        side.max_concurrent_streams.unwrap_or(self.max_concurrent_streams)
    }
}

impl Default for H2 {
    fn default() -> Self {
        Self {
            fe: H2Side::default(),
            be: H2Side::default(),
            initial_window_size: 16_384,
            max_concurrent_streams: 100,
            header_table_size: 4_096,
            max_frame_size: None,
            max_total_streams: 0,
            no_websockets: false,
        }
    }
}

impl Default for H2Side {
    fn default() -> Self {
        Self {
            initial_window_size: None,
            max_concurrent_streams: None,
            glitches_threshold: 0,
            rxbuf: 1_600 * 1_024,
        }
    }
}
