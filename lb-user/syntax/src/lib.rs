//! The configuration language without its keywords: lines, words, conditions, diagnostics, units, addresses
