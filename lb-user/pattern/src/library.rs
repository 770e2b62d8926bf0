//! stub
use std::net::IpAddr;
use std::sync::Arc;
#[derive(Debug, Default)]
pub struct Library {}
#[derive(Debug)]
pub struct Reference {}
impl Library {
    pub fn all(&self) -> Vec<Arc<Reference>> { Vec::new() }
    pub fn open(&mut self, _: &str, _: bool) -> Result<Arc<Reference>, String> { Err(String::new()) }
}
impl Reference {
    pub fn add(&self, _: &[u8], _: Option<&[u8]>) -> Result<(), String> { Ok(()) }
    pub fn set(&self, _: &[u8], _: &[u8]) -> Result<(), String> { Ok(()) }
    pub fn del(&self, _: &[u8]) -> bool { true }
}
#[derive(Debug, Default, Clone, Copy)]
pub struct Flags { pub ignore_case: bool, pub no_names: bool }
#[derive(Debug)]
pub enum Key<'a> { Bool(bool), Int(i64), Ip(IpAddr), Bytes(&'a [u8]) }
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method { Found, Bool, Int, Ip, Bin, Len, Str, Sub, Reg, Beg, End, Dir, Dom }
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants { Anything, Bool, Int, Ip, Text }
impl Method {
    pub fn of_name(_: &str) -> Option<Self> { None }
    pub fn name(self) -> &'static str { "" }
    pub fn wants(self) -> Wants { Wants::Text }
}
#[derive(Debug)]
pub struct Matcher {}
impl Matcher {
    pub fn build(_: &mut Library, _: Method, _: Flags, _: &[&str], _: &[&str], _: bool, _: Option<u32>) -> Result<Self, String> { Ok(Self{}) }
    pub fn matches(&self, _: Key<'_>) -> bool { false }
}
#[derive(Debug)]
pub struct Regex {}
pub struct Captures<'a>(&'a [u8]);
impl Regex {
    pub fn new(_: &str, _: bool) -> Result<Self, String> { Ok(Self{}) }
    pub fn is_match(&self, _: &[u8]) -> bool { false }
    pub fn captures<'a>(&self, _: &'a [u8]) -> Option<Captures<'a>> { None }
}
impl<'a> Captures<'a> { pub fn get(&self, _: usize) -> Option<&'a [u8]> { Some(self.0) } }
