//! stub
pub fn all() -> Vec<&'static [sockeye_sample::Fetch]> { Vec::new() }
pub static ACLS: &[sockeye_sample::AclWord] = &[];
pub static PREDEFINED: &[sockeye_sample::PredefinedAcl] = &[];
