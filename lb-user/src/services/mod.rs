//! Replies made here instead of by a server.

pub mod replies;
