//! The command line, exit codes, diagnostics, signals.

use std::path::PathBuf;
use std::time::Duration;

use lb_tests::daemon::{Signal, command_line};
use lb_tests::{Daemon, Exit, Origin, Reserved, Rig, Setup, eventually, get, is_haproxy, ok};
use rustix::process::{Pid, kill_process, test_kill_process};

const GOOD: &str = "defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n\
                    frontend fe\n bind <fe>\n default_backend be\nbackend be\n server s1 <s1>\n";

async fn check(cfg: &str, args: &[&str]) -> Exit {
    let mut setup = Setup::new(cfg);
    for arg in args {
        setup = setup.arg(*arg);
    }
    setup.run().await
}

#[tokio::test]
async fn check_of_a_good_file_is_silent() {
    let exit = check(GOOD, &["-c"]).await;
    assert_eq!((exit.code, exit.stdout.as_str(), exit.stderr.as_str()), (Some(0), "", ""));
}

#[tokio::test]
async fn verbose_check_says_so() {
    let exit = check(GOOD, &["-c", "-V"]).await;
    // Behind HAProxy's line is what the kernel would do.
    let mut lines = exit.stdout.lines();
    assert_eq!((exit.code, lines.next()), (Some(0), Some("Configuration file is valid")));
    if !is_haproxy() {
        assert!(lines.next().is_some_and(|line| line.starts_with("Kernel offload on this machine (kernel ")));
        for line in [" splice : off (not asked for;", " packet : off (not asked for;"] {
            assert!(exit.stdout.contains(line), "{}", exit.stdout);
        }
    }
}

#[tokio::test]
async fn unloading_what_is_not_there() {
    if is_haproxy() {
        return;
    }
    for (name, reason) in [
        ("there-is-none-of-this-name", "instance 'there-is-none-of-this-name' holds nothing."),
        ("../x", "instance '../x': a name has 1 to 64 letters, digits, '-' and '_'."),
    ] {
        let exit = Setup::new("").arg("--unload").arg(name).run_bare().await;
        assert_eq!((exit.code, exit.stdout.as_str()), (Some(1), ""));
        assert!(exit.stderr.starts_with("[ALERT] ") && exit.stderr.contains(reason), "{}", exit.stderr);
    }
}

#[tokio::test]
async fn check_binds_nothing() {
    // The port is taken, and still the file is fine.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let exit = Setup::new(GOOD).at("fe", taken.local_addr().expect("bound")).arg("-c").run().await;
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
}

#[tokio::test]
async fn every_error_is_listed_with_its_place() {
    let exit = check(
        "global\n nonsense 1\ndefaults\n mode http\n timeout client 5 lightyears\nfrontend fe\n bind <fe>\n \
         default_backend nowhere\n bnid <x>\nbackend be\n server s1 <s1> wieght 3\n balance roundrobbin\n",
        &["-c"],
    )
    .await;
    assert_eq!(exit.code, Some(1));
    assert_eq!(exit.stdout, "");
    for line in [2, 5, 9, 11, 12] {
        assert!(
            exit.stderr.lines().any(|text| text.starts_with("[ALERT]    (")
                && text.contains(") : config : ")
                && text.contains(&format!("test.cfg:{line}]"))),
            "line {line} is missing in\n{}",
            exit.stderr
        );
    }
    assert!(exit.stderr.contains("unknown keyword 'nonsense' in 'global' section"), "{}", exit.stderr);
    assert!(exit.stderr.contains("; did you mean 'bind' maybe ?"), "{}", exit.stderr);
    assert!(exit.stderr.contains("config : Fatal errors found in configuration."), "{}", exit.stderr);
}

#[tokio::test]
async fn unresolved_names_are_errors() {
    let exit = check(
        "defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n\
         frontend fe\n bind <fe>\n default_backend nowhere\n",
        &["-c"],
    )
    .await;
    assert_eq!(exit.code, Some(1));
    assert!(exit.stderr.contains("unable to find required default_backend: 'nowhere'"), "{}", exit.stderr);
}

#[tokio::test]
async fn warnings_do_not_fail_the_check() {
    let exit = check("frontend fe\n mode http\n bind <fe>\n", &["-c"]).await;
    assert_eq!(exit.code, Some(0));
    assert!(exit.stderr.contains("[WARNING]  ("), "{}", exit.stderr);
    assert!(exit.stderr.contains("missing timeouts for frontend 'fe'"), "{}", exit.stderr);
    // -dW turns them into errors, -q hides them.
    assert_eq!(check("frontend fe\n mode http\n bind <fe>\n", &["-c", "-dW"]).await.code, Some(1));
}

#[tokio::test]
async fn missing_file() {
    let exit = Setup::new("").arg("-c").arg("-f").arg("<dir>/nothing.cfg").run_bare().await;
    assert_eq!(exit.code, Some(1));
    assert!(exit.stderr.contains("nothing.cfg"), "{}", exit.stderr);
    assert!(exit.stderr.contains("[ALERT]    ("), "{}", exit.stderr);
}

#[tokio::test]
async fn no_file_at_all() {
    let exit = Setup::new("").arg("-c").run_bare().await;
    assert_eq!(exit.code, Some(1));
}

#[tokio::test]
async fn unknown_option_shows_the_usage() {
    let exit = Setup::new("").arg("-%").run_bare().await;
    assert_eq!(exit.code, Some(1));
    assert!(exit.stderr.contains("Usage : ") || exit.stdout.contains("Usage : "), "{exit:?}");
}

#[tokio::test]
async fn several_files_are_one_configuration() {
    let exit =
        Setup::new("defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n")
            .file("b.cfg", "frontend fe\n bind 127.0.0.1:1\n default_backend be\n")
            .file("c.cfg", "backend be\n server s1 127.0.0.1:2\n")
            .arg("-f")
            .arg("<dir>/b.cfg")
            .arg("-f")
            .arg("<dir>/c.cfg")
            .arg("-c")
            .run()
            .await;
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
}

#[tokio::test]
async fn a_folder_is_read_in_order() {
    let setup = Setup::new("");
    let folder = setup.dir().join("conf.d");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::write(
        folder.join("10-defaults.cfg"),
        "defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n",
    )
    .expect("a file");
    std::fs::write(folder.join("20-fe.cfg"), "frontend fe\n bind 127.0.0.1:1\n default_backend be\n")
        .expect("a file");
    std::fs::write(folder.join("30-be.cfg"), "backend be\n server s1 127.0.0.1:2\n").expect("a file");
    std::fs::write(folder.join("README"), "not a configuration").expect("a file");
    let exit = setup.arg("-c").arg("-f").arg("<dir>/conf.d").run_bare().await;
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
}

#[tokio::test]
async fn environment_in_the_file() {
    let exit = Setup::new(
        "defaults\n mode http\n timeout client \"$PATIENCE\"\n timeout server \"${PATIENCE}\"\n timeout connect \"${UNSET-7s}\"\n\
         frontend fe\n bind \"127.0.0.1:${PORT}\"\n default_backend be\nbackend be\n server s1 127.0.0.1:2\n",
    )
    .env("PATIENCE", "5s")
    .env("PORT", "1")
    .arg("-c")
    .run()
    .await;
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
}

#[tokio::test]
async fn condition_on_the_command_line() {
    for (condition, code) in [
        ("1", 0),
        ("0", 1),
        ("streq(a,a)", 0),
        ("!streq(a,a)", 1),
        ("defined(PATH)", 0),
        ("version_atleast(2.0)", 0),
    ] {
        let exit = Setup::new("").arg("-cc").arg(condition).run_bare().await;
        assert_eq!(exit.code, Some(code), "{condition}: {}", exit.stderr);
    }
}

#[tokio::test]
async fn removed_words_say_what_to_write_instead() {
    let exit = check("frontend fe\n mode http\n bind <fe>\n reqrep ^Host:.* Host:\\ x\n", &["-c"]).await;
    assert_eq!(exit.code, Some(1));
    assert!(exit.stderr.contains("http-request replace-header"), "{}", exit.stderr);
}

#[tokio::test]
async fn version_lines() {
    let exit = Setup::new("").arg("-v").run_bare().await;
    assert_eq!(exit.code, Some(0));
    let first = exit.stdout.lines().next().unwrap_or_default().to_owned();
    if is_haproxy() {
        assert!(first.starts_with("HAProxy version 3."), "{first}");
    } else {
        assert!(first.starts_with("Sockeye "), "{first}");
    }
    let exit = Setup::new("").arg("-vv").run_bare().await;
    assert_eq!(exit.code, Some(0));
    assert_eq!(exit.stdout.lines().next(), Some(first.as_str()));
    for part in [
        "Build options :",
        "Feature list : ",
        "Available polling systems :",
        "Available multiplexer protocols :",
    ] {
        assert!(exit.stdout.contains(part), "{part} is missing in\n{}", exit.stdout);
    }
}

#[tokio::test]
async fn called_as_haproxy_it_answers_to_the_name() {
    if is_haproxy() {
        return;
    }
    let setup = Setup::new("").arg("-v");
    let link = setup.dir().join("haproxy");
    std::os::unix::fs::symlink(PathBuf::from(&command_line()[0]), &link).expect("a link");
    let exit = setup.program(link).run_bare().await;
    assert_eq!(exit.code, Some(0));
    let first = exit.stdout.lines().next().unwrap_or_default();
    // Tools cut the version out of this line.
    assert!(
        lb_tests::pattern::matches("HAProxy version 3.4.0-sockeye-<n>.<n>.<n> <n>/<n>/<n> - <*>", first),
        "{first}"
    );
}

#[tokio::test]
async fn one_taken_port_stops_everything_and_all_are_listed() {
    let taken = [
        std::net::TcpListener::bind("127.0.0.1:0").expect("a port"),
        std::net::TcpListener::bind("127.0.0.1:0").expect("a port"),
    ];
    let [first, second] = taken.each_ref().map(|listener| listener.local_addr().expect("bound"));
    let free = Reserved::v4();
    let exit = Setup::new(GOOD.replace("bind <fe>", "bind <free>\n bind <first>\n bind <second>"))
        .at("free", free.addr())
        .at("first", first)
        .at("second", second)
        .arg("-db")
        .run()
        .await;
    assert_eq!(exit.code, Some(1));
    for addr in [first, second] {
        assert!(
            exit.stderr.lines().any(|line| line.starts_with("[ALERT]    (")
                && line.contains("cannot bind socket (Address already in use)")
                && line.contains(&format!("[{addr}]"))),
            "{addr} is missing in\n{}",
            exit.stderr
        );
    }
}

#[tokio::test]
async fn quiet_hides_the_diagnostics() {
    let exit = check("frontend fe\n mode http\n bind <fe>\n", &["-c", "-q"]).await;
    assert_eq!((exit.code, exit.stderr.as_str()), (Some(0), ""));
}

#[tokio::test]
async fn connection_limit_of_the_command_line() {
    let origin = Origin::bind();
    let mut daemon = Rig::tcp().setup().at("s1", origin.addr()).arg("-n").arg("1").start();
    let mut first = daemon.connect("fe").await;
    let mut server = origin.accept().await;
    first.send("x").await;
    server.expect("x").await;
    let mut second = daemon.connect("fe").await;
    second.send("y").await;
    origin.expect_quiet().await;
    first.close();
    server.expect_end().await;
    server.close();
    origin.accept().await.expect("y").await;
}

#[tokio::test]
async fn daemon_goes_to_the_background_and_writes_its_pid() {
    let origin = Origin::bind().serve(|_| ok("from behind"));
    let setup = Setup::new(GOOD).at("s1", origin.addr()).arg("-D").arg("-p").arg("<dir>/pid");
    let pid_file = setup.dir().join("pid");
    let (mut daemon, exit) = setup.run_and_keep().await;
    assert_eq!((exit.code, exit.stdout.as_str(), exit.stderr.as_str()), (Some(0), "", ""));
    // The parent leaves when the child serves.
    let text = std::fs::read_to_string(&pid_file).expect("the pid file");
    let pid = Pid::from_raw(text.trim().parse().expect("a pid")).expect("a pid");
    let answer = async {
        let mut client = daemon.connect("fe").await;
        client.ask(get("/")).await.text()
    }
    .await;
    kill_process(pid, Signal::TERM).expect("the child runs");
    assert_eq!(answer, "from behind");
    eventually("the child to end", || !alive(pid)).await;
}

/// A process of another parent: gone, or a zombie that nobody has collected yet.
fn alive(pid: Pid) -> bool {
    test_kill_process(pid).is_ok()
        && std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')))
}

#[tokio::test]
async fn term_and_int_end_at_once() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let mut rig = Rig::tcp().start();
        let (mut client, mut origin) = rig.pair().await;
        rig.daemon.signal(signal);
        client.expect_closed().await;
        origin.expect_closed().await;
        let exit = rig.daemon.exit().await;
        // HAProxy ends by exit(0) on INT and TERM in the foreground, older ones as killed by the signal.
        assert!([Some(0), Some(code), None].contains(&exit.code), "{exit:?}");
    }
}

#[tokio::test]
async fn usr1_waits_for_the_sessions() {
    let mut rig = Rig::tcp().start();
    let (mut client, mut origin) = rig.pair().await;
    rig.daemon.signal(Signal::USR1);
    rig.log().wait("Proxy fe stopped (cumulated conns: FE: 1, BE: 0).").await;
    assert!(lb_tests::Peer::connect(rig.daemon.addr("fe")).await.is_err());
    client.send("still served").await;
    origin.expect("still served").await;
    origin.send("to the end").await;
    client.expect("to the end").await;
    client.close();
    origin.expect_end().await;
    origin.close();
    let exit = rig.daemon.exit().await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
}

#[tokio::test]
async fn usr1_ends_idle_keep_alive_connections() {
    let mut rig = Rig::http().start();
    let (mut client, mut origin) = rig.asked(get("/")).await;
    origin.head().await;
    rig.daemon.signal(Signal::USR1);
    client.expect_quiet().await;
    origin.send(ok("last")).await;
    let answer = client.reply().await;
    // The client is told, and nothing keeps the daemon alive.
    assert_eq!((answer.text().as_str(), answer.header("connection")), ("last", Some("close")));
    client.expect_end().await;
    client.close();
    origin.close();
    assert_eq!(rig.daemon.exit().await.code, Some(0));
}

#[tokio::test]
async fn hard_stop_after_bounds_the_soft_stop() {
    let mut rig = Rig::tcp().global("hard-stop-after 200ms").start();
    let (mut client, mut origin) = rig.pair().await;
    client.send("x").await;
    origin.expect("x").await;
    rig.daemon.signal(Signal::USR1);
    client.expect_closed().await;
    origin.expect_closed().await;
    rig.daemon.exit().await;
}

#[tokio::test]
async fn soft_stop_without_sessions_is_immediate() {
    let mut daemon = Rig::http().setup().start();
    daemon.connect("fe").await.close();
    daemon.signal(Signal::USR1);
    assert_eq!(daemon.exit().await.code, Some(0));
}

#[tokio::test]
async fn hup_dumps_the_servers() {
    let mut daemon = Rig::http().setup().start();
    let mut client = daemon.connect("fe").await;
    client.ask(get("/")).await;
    daemon.signal(Signal::HUP);
    daemon.stdout.wait("SIGHUP received, dumping servers states for proxy fe.").await;
    daemon.stdout.wait("SIGHUP: Server be/s1 is UP. Conn: <n> act, <n> pend, <n> tot.").await;
    daemon.stdout.wait("SIGHUP: Proxy be has <n> active servers and <n> backup servers available. Conn: act(FE+BE): <n>+<n>, <n> pend (<n> unass), tot(FE+BE): <n>+<n>.").await;
    assert_eq!(client.ask(get("/")).await.status(), 503);
}

#[tokio::test]
async fn pidfile_word_of_the_file() {
    let setup = Setup::new(format!("global\n pidfile <dir>/here.pid\n{GOOD}")).arg("-D");
    let pid_file = setup.dir().join("here.pid");
    let (_daemon, exit) = setup.run_and_keep().await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    let text = std::fs::read_to_string(pid_file).expect("the pid file");
    let pid = Pid::from_raw(text.trim().parse().expect("a pid")).expect("a pid");
    kill_process(pid, Signal::TERM).expect("the child runs");
    eventually("the child to end", || !alive(pid)).await;
}

#[tokio::test]
async fn failed_start_leaves_no_daemon() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let setup =
        Setup::new(GOOD).at("fe", taken.local_addr().expect("bound")).arg("-D").arg("-p").arg("<dir>/pid");
    let pid_file = setup.dir().join("pid");
    let (_daemon, exit) = setup.run_and_keep().await;
    assert_eq!(exit.code, Some(1), "{exit:?}");
    assert!(exit.stderr.contains("cannot bind socket"), "{exit:?}");
    assert!(!pid_file.exists());
}

#[tokio::test]
async fn connections_survive_a_burst_of_signals() {
    let mut rig = Rig::tcp().start();
    let (mut client, mut origin) = rig.pair().await;
    for _ in 0..20 {
        rig.daemon.signal(Signal::HUP);
    }
    client.send("x").await;
    origin.expect("x").await;
    client.expect_quiet_for(Duration::from_millis(20)).await;
}

#[tokio::test]
async fn privileges_are_dropped_after_binding() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can become somebody else");
        return;
    }
    let mut rig = Rig::tcp().global("user nobody\ngroup nogroup\nchroot <dir>").start();
    let (mut client, mut origin) = rig.pair().await;
    client.send("x").await;
    origin.expect("x").await;
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", rig.daemon.pid())).expect("the daemon runs");
    assert!(status.contains("\nUid:\t65534\t65534\t65534\t65534\n"), "{status}");
    assert!(status.contains("\nGid:\t65534\t65534\t65534\t65534\n"), "{status}");
    let root = std::fs::read_link(format!("/proc/{}/root", rig.daemon.pid())).expect("the daemon runs");
    assert!(root.ends_with(rig.daemon.dir().file_name().expect("a name")), "{}", root.display());
}

#[tokio::test]
async fn works_without_any_capability() {
    if is_haproxy() {
        return;
    }
    let origin = Origin::bind().serve(|_| ok("unprivileged"));
    let mut daemon = Rig::http()
        .setup()
        .at("s1", origin.addr())
        .wrap(&["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"])
        .start();
    let mut client = daemon.connect("fe").await;
    assert_eq!(client.ask(get("/")).await.text(), "unprivileged");
}

#[tokio::test]
async fn names_of_servers_are_resolved_at_the_start() {
    let origin = Origin::bind().serve(|_| ok("found"));
    let mut daemon = Rig::http().setup().at("s1", format!("ipv4@localhost:{}", origin.addr().port())).start();
    let mut client = daemon.connect("fe").await;
    assert_eq!(client.ask(get("/")).await.text(), "found");
}

#[tokio::test]
async fn unknown_names_stop_the_start_unless_told_otherwise() {
    let exit = Rig::http().setup().at("s1", "no-such-host.invalid:80").arg("-c").run().await;
    assert_eq!(exit.code, Some(1));
    assert!(exit.stderr.contains("could not resolve address 'no-such-host.invalid'"), "{}", exit.stderr);
    let mut daemon =
        Rig::http().server("init-addr last,libc,none").setup().at("s1", "no-such-host.invalid:80").start();
    let mut client = daemon.connect("fe").await;
    assert_eq!(client.ask(get("/")).await.status(), 503);
}

#[tokio::test]
async fn conditional_blocks_choose() {
    let origin = Origin::bind();
    let mut daemon = Setup::new(
        "defaults\n mode tcp\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n\
         .if defined(NOT_HERE)\n garbage\n.elif streq(\"$WHERE\",there) && version_atleast(2.4)\nfrontend fe\n bind <fe>\n default_backend be\n\
         .else\n more garbage\n.endif\nbackend be\n server s1 <s1>\n",
    )
    .env("WHERE", "there")
    .at("s1", origin.addr())
    .start();
    let _client = daemon.connect("fe").await;
    origin.accept().await;
}

#[tokio::test]
async fn same_name_for_frontend_and_backend() {
    // Files of the 2.x days use it.
    let exit = check(
        "defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n\
         frontend web\n bind <fe>\n default_backend web\nbackend web\n server s1 <s1>\n",
        &["-c"],
    )
    .await;
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
}

#[tokio::test]
async fn daemon_of_a_wrong_file_does_not_start() {
    let exit = Daemon::start("frontend fe\n bind <fe>\n garbage\n").exit().await;
    assert_eq!(exit.code, Some(1));
}
