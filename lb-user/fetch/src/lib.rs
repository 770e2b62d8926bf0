//! The fetch words.
