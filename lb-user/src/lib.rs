//! The Sockeye daemon
