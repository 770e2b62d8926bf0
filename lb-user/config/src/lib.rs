//! Text in, `Config` out: keyword tables, defaults, cross-section resolution and the validated model.
//!
//! No sockets, no tasks, no clock. Reading never stops at the first error: it returns a `Config` only when
//! no alert was raised, and all diagnostics either way.

pub mod model;
