//! Every file of patterns that a configuration opened.

/// Files of patterns by name: a file that several rules name is read once.
#[derive(Debug, Default)]
pub struct Library {}
