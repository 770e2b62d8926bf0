//! What is done here instead of by a server: replies, and the fetching of OCSP responses.

pub mod ocsp;
pub mod replies;
