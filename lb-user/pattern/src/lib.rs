//! stub
mod library;
pub use library::*;
