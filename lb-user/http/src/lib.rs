//! The HTTP message and its encodings; pure
