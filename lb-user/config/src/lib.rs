//! Text in, Config out: keyword tables, defaults, resolution, the validated model
