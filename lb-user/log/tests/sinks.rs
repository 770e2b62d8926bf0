//! Sinks and loggers over real sockets and pipes.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::Read;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::sync::Arc;

use jiff::tz::TimeZone;
use sockeye_config::model::{Facility, Level, LogAddress, LogSample, LogTarget, LogWire};
use sockeye_log::{Logger, Process, Sink, Sinks};

fn target(address: LogAddress) -> LogTarget {
    LogTarget {
        address,
        length: 1024,
        format: LogWire::Priority,
        sample: None,
        facility: Facility(16),
        level: Level::Debug,
        minlevel: None,
    }
}

fn logger(sinks: Vec<Arc<Sink>>) -> Logger {
    let process = Process { hostname: "vm".into(), pid: 7, header_hostname: None, zone: TimeZone::UTC };
    Logger::new(sinks, "sockeye", Arc::new(process))
}

/// A receiver, and the address of it.
fn receiver() -> (UdpSocket, LogAddress) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = LogAddress::Udp(socket.local_addr().unwrap());
    (socket, address)
}

fn line(socket: &UdpSocket) -> String {
    let mut room = [0; 2048];
    let length = socket.recv(&mut room).unwrap();
    String::from_utf8(room[..length].to_vec()).unwrap()
}

#[test]
fn levels_filter_and_cap() {
    let (socket, address) = receiver();
    let sink = Sink::open(&LogTarget { level: Level::Notice, minlevel: Some(Level::Err), ..target(address) });
    let logger = logger(vec![Arc::new(sink.unwrap())]);
    assert!(!logger.wants(Level::Info));
    logger.event(Level::Info, "too verbose");
    logger.event(Level::Alert, "capped");
    logger.event(Level::Notice, "as it is");
    assert_eq!(line(&socket), "<131>capped\n");
    assert_eq!(line(&socket), "<133>as it is\n");
}

#[test]
fn a_line_is_cut_to_the_length_of_its_target() {
    let (socket, address) = receiver();
    let short = Sink::open(&LogTarget { length: 80, ..target(address.clone()) }).unwrap();
    let long = Sink::open(&target(address)).unwrap();
    let logger = logger(vec![Arc::new(short), Arc::new(long)]);
    logger.event(Level::Info, &"x".repeat(200));
    let cut = line(&socket);
    assert_eq!(cut, format!("<134>{}\n", "x".repeat(74)));
    assert_eq!(cut.len(), 80);
    assert_eq!(line(&socket), format!("<134>{}\n", "x".repeat(200)));
}

#[test]
fn control_characters_of_events_are_encoded() {
    let (socket, address) = receiver();
    let logger = logger(vec![Arc::new(Sink::open(&target(address)).unwrap())]);
    logger.event(Level::Info, "a\nb\x1b[31mé");
    assert_eq!(line(&socket), "<134>a#0Ab#1B[31mé\n");
}

#[test]
fn a_sample_counts_lines_of_its_level() {
    let (socket, address) = receiver();
    let sample = Some(LogSample { ranges: vec![(2, 3)], size: 4 });
    let sink = Sink::open(&LogTarget { sample, level: Level::Info, ..target(address) }).unwrap();
    let logger = logger(vec![Arc::new(sink)]);
    for number in 0..10 {
        logger.event(Level::Debug, "not counted");
        logger.event(Level::Info, &number.to_string());
    }
    let lines: Vec<String> = (0..5).map(|_| line(&socket)).collect();
    assert_eq!(lines, ["<134>1\n", "<134>2\n", "<134>5\n", "<134>6\n", "<134>9\n"]);
}

#[test]
fn equal_statements_share_a_sink() {
    let (_socket, address) = receiver();
    let mut sinks = Sinks::default();
    let first = sinks.open(&target(address.clone())).unwrap();
    let same = sinks.open(&target(address.clone())).unwrap();
    let other = sinks.open(&LogTarget { length: 100, ..target(address) }).unwrap();
    assert!(Arc::ptr_eq(&first, &same) && !Arc::ptr_eq(&first, &other));
    assert_eq!(sinks.all().len(), 2);
}

#[test]
fn a_unix_receiver_may_come_late_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let sink = Arc::new(Sink::open(&target(LogAddress::Unix(path.clone()))).unwrap());
    let logger = logger(vec![Arc::clone(&sink)]);
    logger.event(Level::Info, "nobody there");
    assert_eq!(sink.dropped(), 1);
    let receiver = UnixDatagram::bind(&path).unwrap();
    logger.event(Level::Info, "hello");
    let mut room = [0; 64];
    let length = receiver.recv(&mut room).unwrap();
    assert_eq!(&room[..length], b"<134>hello\n");
}

#[test]
fn a_stopped_unix_receiver_costs_lines_not_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let _receiver = UnixDatagram::bind(&path).unwrap();
    let sink = Arc::new(Sink::open(&target(LogAddress::Unix(path))).unwrap());
    let logger = logger(vec![Arc::clone(&sink)]);
    for _ in 0..10_000 {
        logger.event(Level::Info, "nobody reads");
    }
    assert!(sink.dropped() > 0);
}

#[test]
fn a_full_pipe_costs_lines_not_time() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let sink = Arc::new(Sink::open(&target(LogAddress::Fd(writer.as_raw_fd()))).unwrap());
    let logger = logger(vec![Arc::clone(&sink)]);
    let sent = 10_000;
    for _ in 0..sent {
        logger.event(Level::Info, "nobody reads");
    }
    let dropped = usize::try_from(sink.dropped()).unwrap();
    assert!(dropped > 0);
    // The pipe's own open file waits as before: another process may depend on it.
    let flags = rustix::fs::fcntl_getfl(&writer).unwrap();
    assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK));
    drop((writer, logger, sink));
    let mut all = String::new();
    reader.read_to_string(&mut all).unwrap();
    let whole = all.split_inclusive('\n').filter(|line| *line == "<134>nobody reads\n").count();
    assert_eq!(whole + dropped, sent, "every line arrives whole or is counted");
}

#[test]
fn a_passed_socket_is_written_without_waiting() {
    let (receiver, passed) = UnixStream::pair().unwrap();
    let sink = Arc::new(Sink::open(&target(LogAddress::Fd(passed.as_raw_fd()))).unwrap());
    let logger = logger(vec![Arc::clone(&sink)]);
    for _ in 0..100_000 {
        logger.event(Level::Info, "nobody reads");
    }
    assert!(sink.dropped() > 0);
    drop(receiver);
    logger.event(Level::Info, "no signal kills us");
}

#[test]
fn a_file_grows() {
    let mut file = tempfile::tempfile().unwrap();
    let sink = Sink::open(&target(LogAddress::Fd(file.as_raw_fd()))).unwrap();
    let logger = logger(vec![Arc::new(sink)]);
    logger.event(Level::Info, "one");
    logger.event(Level::Info, "two");
    let mut all = String::new();
    std::io::Seek::rewind(&mut file).unwrap();
    file.read_to_string(&mut all).unwrap();
    assert_eq!(all, "<134>one\n<134>two\n");
}

#[test]
fn a_closed_descriptor_is_an_error() {
    let error = Sink::open(&target(LogAddress::Fd(1_000_000))).unwrap_err();
    assert_eq!(error.to_string(), "cannot log to fd@1000000: Bad file descriptor (os error 9)");
}

#[test]
fn a_line_made_while_one_is_made() {
    let (socket, address) = receiver();
    let logger = logger(vec![Arc::new(Sink::open(&target(address)).unwrap())]);
    logger.emit(Level::Info, |out, _| {
        out.extend_from_slice(b"outer");
        logger.event(Level::Info, "inner");
    });
    assert_eq!(line(&socket), "<134>inner\n");
    assert_eq!(line(&socket), "<134>outer\n");
}
