//! What a caller's idle timers see of a direction that the kernel forwards without waking anybody.

mod rig;

use std::task::Poll;

use rig::Rig;
use sockeye_conn::Buffer;
use sockeye_relay::{Path, Pump};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// More messages than a direction copies before it is handed over.
const MESSAGES: u64 = 100;

#[test]
fn a_forwarded_direction_tells_its_progress_at_the_next_poll() {
    let Some(policy) = rig::sockmap_policy() else { return };
    rig::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let Rig { mut client, mut inner_client, mut inner_server, mut server } =
            Rig::new(&listener).await.expect("loopback sockets");
        let mut pump = Pump::new(&policy, None, Buffer::none());
        assert_eq!(pump.idle(&inner_client), None, "it is ours to know");
        for message in 1..=MESSAGES {
            client.write_all(b"x").await.expect("an open socket");
            let arrived = server.read_u8();
            tokio::pin!(arrived);
            // The pump and the message's arrival, whichever moves it.
            std::future::poll_fn(|cx| {
                let end = pump.poll(cx, &mut inner_client, &mut inner_server);
                assert!(end.is_pending(), "{end:?}");
                arrived.as_mut().poll(cx).map(|byte| byte.expect("no error"))
            })
            .await;
            let end =
                std::future::poll_fn(|cx| Poll::Ready(pump.poll(cx, &mut inner_client, &mut inner_server)));
            assert!(end.await.is_pending());
            assert_eq!(pump.moved(), message);
        }
        assert_eq!(pump.path(), Path::Sockmap);
        // Nobody polls the pump now, and still it arrives.
        client.write_all(b"unseen").await.expect("an open socket");
        server.read_exact(&mut [0; 6]).await.expect("an open socket");
        assert_eq!(pump.moved(), MESSAGES);
        let end = std::future::poll_fn(|cx| Poll::Ready(pump.poll(cx, &mut inner_client, &mut inner_server)));
        assert!(end.await.is_pending());
        assert_eq!(pump.moved(), MESSAGES + 6);
        let idle = pump.idle(&inner_client).expect("the kernel knows");
        assert!(idle.as_secs() < 10, "{idle:?}");
    });
}
