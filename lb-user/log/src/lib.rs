//! Log formats, lines and sinks
