//! Moving decided bytes: copy, splice, sockmap
