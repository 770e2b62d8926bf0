//! The configuration language without its keywords: lines, words, conditions, diagnostics, units, addresses.
//!
//! Pure: files come through a [`source::Loader`], the environment is a value, and what is wrong goes into
//! [`diag::Diagnostics`]. The reading order is the list of modules below.

pub mod source;

pub mod lexer;

pub mod ast;

pub mod condition;

pub mod read;

pub mod words;

pub mod diag;

pub mod units;

pub mod address;

#[doc(hidden)]
pub mod fuzz;
