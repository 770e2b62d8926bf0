//! The convert words.
