//! Server choice: every balancing algorithm; pure
