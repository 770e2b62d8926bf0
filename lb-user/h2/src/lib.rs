//! HTTP/2 between its frames and HTTP/1 messages, and what a peer may cost.
