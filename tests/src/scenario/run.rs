//! A scenario in motion: the daemon, its servers, the client's steps, and what each of them shows.

use std::collections::VecDeque;
use std::net::IpAddr;

use super::bytes;
use super::message::response;
use super::normal::Names;
use super::origin::{self, Received, Server};
use super::script::{Script, Step};
use crate::daemon::Signal;
use crate::{Daemon, Peer, Setup, within};

/// Runs the scenario; its text with what came out in the place of what was expected.
pub(super) async fn run(mut script: Script) -> Result<String, String> {
    let received = Received::default();
    let (mut stage, _servers) = Stage::set(&script, received).await?;
    let before = std::mem::take(&mut script.steps);
    let mut steps = before.into_iter().peekable();
    while let Some(step) = steps.next() {
        match step.word.as_str() {
            "origin" | "log" => continue,
            "connect" => {
                stage.connect(step.arg(0), step.option("from")).await?;
                script.steps.push(step);
            }
            "get" => {
                if step.arg(1) != "same" {
                    stage.connect("fe", step.option("from")).await?;
                }
                stage.send(&get(&step)?).await?;
                script.steps.push(step);
                while steps.next_if(|next| matches!(next.word.as_str(), "origin" | "receive")).is_some() {}
                stage.receive(&mut script.steps).await?;
            }
            "send" => {
                let bytes = bytes::read(&step.lines)?;
                stage.send(&bytes).await?;
                script.steps.push(step);
            }
            "finish" => {
                stage.client()?.finish();
                script.steps.push(step);
            }
            "quiet" => {
                stage.client()?.expect_quiet().await;
                stage.origins(&mut script.steps);
                script.steps.push(step);
            }
            "receive" => stage.receive(&mut script.steps).await?,
            "rest" => stage.rest(&mut script.steps).await?,
            _ => script.steps.push(step),
        }
    }
    stage.end(&mut script.steps).await?;
    Ok(script.render())
}

struct Stage {
    daemon: Daemon,
    names: Names,
    received: Received,
    client: Option<Peer>,
    /// Whether the requests that wait for their response are HEAD.
    heads: VecDeque<bool>,
}

impl Stage {
    async fn set(script: &Script, received: Received) -> Result<(Self, Vec<Server>), String> {
        let cfg = configuration(script);
        let mut setup = Setup::new(&cfg);
        for step in script.of("file") {
            let text: String = step.lines.iter().map(|line| format!("{line}\n")).collect();
            setup = setup.file(step.arg(0), text);
        }
        let mut servers = Vec::new();
        for name in (1..=9).map(|number| format!("s{number}")) {
            if cfg.contains(&format!("<{name}>")) || cfg.contains(&format!("<{name}.port>")) {
                let server = origin::start(&name, script, &received)?;
                setup = setup.at(&name, server.addr);
                servers.push(server);
            }
        }
        let daemon = setup.start();
        let names = Names::of(&daemon, &script.setting("mask"))?;
        let heads = VecDeque::new();
        Ok((Self { daemon, names, received, client: None, heads }, servers))
    }

    async fn connect(&mut self, listener: &str, from: Option<&str>) -> Result<(), String> {
        self.client = None;
        self.heads.clear();
        let client = match from {
            Some(from) => {
                let from: IpAddr = from.parse().map_err(|_| format!("'{from}' is not an address"))?;
                self.daemon.connect_from(from, listener).await
            }
            None => self.daemon.connect(listener).await,
        };
        self.names.client(client.local().port());
        self.client = Some(client);
        Ok(())
    }

    fn client(&mut self) -> Result<&mut Peer, String> {
        self.client.as_mut().ok_or_else(|| "there is no connection".to_owned())
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        if self.client.is_none() {
            self.connect("fe", None).await?;
        }
        let text = String::from_utf8_lossy(bytes).into_owned();
        self.heads.extend(
            text.split("\r\n")
                .filter(|line| line.ends_with(" HTTP/1.1"))
                .map(|line| line.starts_with("HEAD ")),
        );
        // A daemon that hangs up before it has read everything shows that in what the client receives.
        self.client()?.try_send(bytes).await;
        Ok(())
    }

    async fn receive(&mut self, steps: &mut Vec<Step>) -> Result<(), String> {
        let to_head = self.heads.pop_front().unwrap_or(false);
        let outcome = within("a response", response(self.client()?, to_head)).await;
        self.origins(steps);
        let (bytes, args) = match outcome {
            Ok(bytes) => (bytes, [].as_slice()),
            Err(bytes) => (bytes, ["ended"].as_slice()),
        };
        steps.push(Step::new("receive", args, bytes::show(&self.names.bytes(bytes))));
        Ok(())
    }

    async fn rest(&mut self, steps: &mut Vec<Step>) -> Result<(), String> {
        let bytes = self.client()?.rest().await;
        self.origins(steps);
        steps.push(Step::new("rest", &[], bytes::show(&self.names.bytes(bytes))));
        Ok(())
    }

    /// What the servers got since the last time.
    fn origins(&self, steps: &mut Vec<Step>) {
        for (name, bytes) in self.received.take() {
            steps.push(Step::new("origin", &[&name], bytes::show(&self.names.bytes(bytes))));
        }
    }

    /// Lets the daemon finish what it does; then its log is complete.
    async fn end(mut self, steps: &mut Vec<Step>) -> Result<(), String> {
        self.client = None;
        self.daemon.signal(Signal::USR1);
        let exit = self.daemon.exit().await;
        let received = self.received.take().into_iter();
        steps.extend(
            received
                .map(|(name, bytes)| Step::new("origin", &[&name], bytes::show(&self.names.bytes(bytes)))),
        );
        // That a proxy stopped is not part of what is compared.
        let lines = exit.stdout.lines();
        let lines = lines.filter(|line| !(line.contains("Proxy ") && line.contains(" stopped (cumulated")));
        steps.push(Step::new("log", &[], lines.map(|line| self.names.log(line)).collect()));
        Ok(())
    }
}

/// `get TARGET` with further header lines.
fn get(step: &Step) -> Result<Vec<u8>, String> {
    let mut out = format!("GET {} HTTP/1.1\r\nhost: test\r\n", step.arg(0)).into_bytes();
    out.extend(bytes::read(&step.lines)?);
    out.extend(b"\r\n");
    Ok(out)
}

/// The file: as written, or the usual arrangement with the scenario's lines.
fn configuration(script: &Script) -> String {
    let whole = script.setting("config");
    if !whole.is_empty() {
        return whole;
    }
    let mode = script.of("mode").next().map_or("http", |step| step.arg(0));
    let indented = |word: &str| -> String {
        script.setting(word).lines().map(|line| format!("    {}\n", line.trim())).collect()
    };
    let backend = indented("backend");
    let server = if backend.lines().any(|line| line.trim().starts_with("server ")) {
        ""
    } else {
        "    server s1 <s1>\n"
    };
    format!(
        "global\n    nbthread 1\n    log stdout format raw local0\n{}\
         defaults\n    mode {mode}\n    log global\n    option {mode}log\n    timeout client 30s\n    \
         timeout server 30s\n    timeout connect 5s\n{}\
         frontend fe\n    bind <fe>\n{}    default_backend be\n\
         backend be\n{backend}{server}{}",
        indented("global"),
        indented("defaults"),
        indented("frontend"),
        script.setting("sections"),
    )
}
