//! The ABI between the kernel programs and the daemon: map keys, values, verdicts and limits, nothing else
