//! How a value is compared with a pattern (manual 7.1): the words after `-m`.

/// A match method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// There is a value; no pattern is needed.
    Found,
    Bool,
    Int,
    Ip,
    /// Bytes, written in hexadecimal.
    Bin,
    /// The length of the text.
    Len,
    Str,
    Sub,
    Reg,
    Beg,
    End,
    /// Whole parts between slashes.
    Dir,
    /// Whole parts between dots.
    Dom,
}

/// What a value has to be for a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    Anything,
    Bool,
    Int,
    Ip,
    Text,
}

const NAMES: [(&str, Method); 13] = [
    ("found", Method::Found),
    ("bool", Method::Bool),
    ("int", Method::Int),
    ("ip", Method::Ip),
    ("bin", Method::Bin),
    ("len", Method::Len),
    ("str", Method::Str),
    ("sub", Method::Sub),
    ("reg", Method::Reg),
    ("beg", Method::Beg),
    ("end", Method::End),
    ("dir", Method::Dir),
    ("dom", Method::Dom),
];

impl Method {
    /// The method by its word.
    pub fn of_name(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, method)| *method)
    }

    /// Its word.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, method)| *method == self).map_or("", |(name, _)| name)
    }

    pub fn wants(self) -> Wants {
        match self {
            Self::Found => Wants::Anything,
            Self::Bool => Wants::Bool,
            Self::Int => Wants::Int,
            Self::Ip => Wants::Ip,
            _ => Wants::Text,
        }
    }
}
