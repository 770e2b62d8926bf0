//! Rules that wait, and what goes on meanwhile.

use lb_tests::Rig;

#[tokio::test]
async fn the_request_goes_on_while_a_rule_waits_for_the_response() {
    let mut rig = Rig::http().frontend("http-response wait-for-body time 10s").start();
    let head = "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\n";
    let (mut client, mut origin) = rig.asked([head, "12345"].concat()).await;
    origin.expect([head, "12345"].concat()).await;
    origin.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab").await;
    client.send("67890").await;
    origin.expect("67890").await;
    origin.send("cd").await;
    client.expect("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabcd").await;
    client.finish();
}
