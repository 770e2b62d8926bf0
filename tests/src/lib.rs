//! End-to-end tests of the daemon: byte-exact client and origin
