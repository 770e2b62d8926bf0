//! Health checks: one check run, rise and fall, the schedule
