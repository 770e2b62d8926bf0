//! Kernel offload: probe, load, and the user side of each kernel program
