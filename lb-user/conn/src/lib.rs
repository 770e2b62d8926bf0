//! One byte channel, client or server side: the socket, its addresses and the buffers its bytes pass through.
//!
//! Everything here belongs to one worker thread. Sockets are polled from the task of the session that owns
//! them; an idle connection owns no buffer.

mod addr;
mod buffer;
pub mod clock;
mod pipe;
mod socket;
mod timer;
mod tls;

pub use addr::{Peer, Port};
pub use buffer::{Buffer, BufferLimits};
pub use pipe::{Carrier, PipeEnd, pipe};
pub use socket::Socket;
pub use timer::Timer;
pub use tls::{HandshakeError, Handshaking, RecordLimits, TlsSocket, tls_sockets};
