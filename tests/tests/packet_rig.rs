//! The network of namespaces itself, with the kernel as forwarder: what the tests of `mode packet` stand on.

use std::net::SocketAddr;

use lb_tests::echo::ask_udp;
use lb_tests::netns::{Arms, server};
use lb_tests::{Echo, Flow, Net, within};

#[tokio::test]
async fn client_reaches_servers_and_they_answer_through_the_balancer() {
    let Some(net) = Net::new(Arms::Two, 1, 2).await else { return };
    let mut servers = Vec::new();
    for (index, namespace) in net.servers.iter().enumerate() {
        let mut echo = Echo::new(format!("s{index}"));
        for address in server(index) {
            let at = SocketAddr::new(address.parse().expect("an address"), 8080);
            echo.tcp(namespace, at).udp(namespace, at);
        }
        servers.push(echo);
    }
    for (index, echo) in servers.iter().enumerate() {
        for address in server(index) {
            let at = SocketAddr::new(address.parse().expect("an address"), 8080);
            let mut flow = Flow::when_ready(&net.client, at).await;
            assert_eq!(flow.server, echo.name());
            within("an answer", flow.ask(b"hello")).await.expect("an answer");
            within("the end", flow.close()).await.expect("an end");
            let socket = net.client.connect_udp(at).await.expect("a socket");
            let (name, seen) = within("an answer", ask_udp(&socket, b"hello")).await.expect("an answer");
            assert_eq!((&*name, seen), (echo.name(), socket.local_addr().expect("a bound socket")));
        }
    }
    let sent = net.balancers[0].ip("-s link show eth0").expect("ip");
    assert!(sent.contains("UP"), "{sent}");
}
