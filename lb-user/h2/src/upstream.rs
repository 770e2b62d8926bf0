//! A request to a server, and its response: the other way round.
