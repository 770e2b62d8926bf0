//! The statements of a `userlist` section (manual 12.2), and the list that they make.

use aws_lc_rs::constant_time::verify_slices_are_equal;

use crate::crypt::{Hash, HashError};

/// Who may come in, and in which groups they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserList {
    pub name: Box<str>,
    pub users: Vec<User>,
    /// The names of all groups, whether or not anybody is in them.
    pub groups: Vec<Box<str>>,
}

/// One user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub name: Box<str>,
    /// Without one the user is never let in.
    pub password: Option<Password>,
    /// Names of groups, each once, in the order of [`UserList::groups`].
    pub groups: Vec<Box<str>>,
}

/// What a password is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Password {
    /// `insecure-password`: as it is.
    Clear(Secret),
    /// `password`: as crypt(3) made it.
    Crypt(Hash),
}

/// A text that messages do not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl UserList {
    /// A user by name. A list is short: it is looked through.
    pub fn user(&self, name: &[u8]) -> Option<&User> {
        self.users.iter().find(|user| user.name.as_bytes() == name)
    }
}

impl User {
    /// Whether the password fits. Slow for hashes: see [`Verifier`](crate::Verifier).
    pub fn has_password(&self, password: &[u8]) -> bool {
        match &self.password {
            None => false,
            Some(Password::Clear(secret)) => verify_slices_are_equal(secret.0.as_bytes(), password).is_ok(),
            Some(Password::Crypt(hash)) => hash.fits(password),
        }
    }
}

/// A section while it is read.
#[derive(Debug)]
pub struct Draft {
    name: Box<str>,
    groups: Vec<DraftGroup>,
    users: Vec<(User, Vec<Box<str>>)>,
}

#[derive(Debug)]
struct DraftGroup {
    name: Box<str>,
    users: Vec<Box<str>>,
}

impl Draft {
    /// Begins the section `userlist NAME`.
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), groups: Vec::new(), users: Vec::new() }
    }

    /// Reads one statement; a warning is what should be said although it is valid.
    ///
    /// # Errors
    /// A message without place.
    pub fn statement(&mut self, words: &[&str]) -> Result<Option<String>, String> {
        match words {
            ["group", rest @ ..] => self.group(rest),
            ["user", rest @ ..] => self.user(rest),
            [keyword, ..] => Err(format!("unknown keyword '{keyword}' in 'userlist' section")),
            [] => Ok(None),
        }
    }

    /// `group NAME [users USER,USER…]`
    fn group(&mut self, words: &[&str]) -> Result<Option<String>, String> {
        let [name, options @ ..] = words else {
            return Err("'group' expects <name> as arguments.".to_owned());
        };
        if let Some(bad) =
            name.chars().find(|char| !(char.is_ascii_alphanumeric() || matches!(char, '_' | '.' | ':' | '-')))
        {
            return Err(format!("character '{bad}' is not permitted in 'group' name '{name}'."));
        }
        if self.groups.iter().any(|group| *group.name == **name) {
            return Ok(Some(format!("ignoring duplicated group '{name}' in userlist '{}'.", self.name)));
        }
        let mut users = Vec::new();
        for option in options.chunks(2) {
            match option {
                ["users", list] => users = names(list),
                ["users"] => {}
                _ => return Err("'group' only supports 'users' option.".to_owned()),
            }
        }
        self.groups.push(DraftGroup { name: (*name).into(), users });
        Ok(None)
    }

    /// `user NAME [password HASH | insecure-password PASSWORD] [groups GROUP,GROUP…]`
    fn user(&mut self, words: &[&str]) -> Result<Option<String>, String> {
        let [name, options @ ..] = words else {
            return Err("'user' expects <name> as arguments.".to_owned());
        };
        if self.users.iter().any(|(user, _)| *user.name == **name) {
            return Ok(Some(format!("ignoring duplicated user '{name}' in userlist '{}'.", self.name)));
        }
        let (mut password, mut groups, mut warning) = (None, Vec::new(), None);
        for option in options.chunks(2) {
            match option {
                ["password", text] => match Hash::parse(text) {
                    Ok(hash) => password = Some(Password::Crypt(hash)),
                    Err(problem @ (HashError::UnknownMethod | HashError::TooExpensive)) => {
                        return Err(format!("'password' of user '{name}' is {problem}."));
                    }
                    // Examples are full of shortened hashes; HAProxy takes them, and lets nobody in.
                    Err(problem @ HashError::Malformed(_)) => {
                        password = None;
                        warning =
                            Some(format!("'password' of user '{name}' is {problem}: no password will fit."));
                    }
                },
                ["insecure-password", text] => password = Some(Password::Clear(Secret((*text).into()))),
                ["groups", list] => groups = names(list),
                // HAProxy takes an option without its value for nothing.
                ["password" | "insecure-password" | "groups"] => {}
                _ => {
                    return Err("'user' only supports 'password', 'insecure-password' and 'groups' options."
                        .to_owned());
                }
            }
        }
        self.users.push((User { name: (*name).into(), password, groups: Vec::new() }, groups));
        Ok(warning)
    }

    /// Ends the section.
    ///
    /// # Errors
    /// Every name that means nobody.
    pub fn finish(self) -> Result<UserList, Vec<String>> {
        let Self { name, groups, users } = self;
        let mut problems = Vec::new();
        for group in &groups {
            for user in group.users.iter().filter(|name| !users.iter().any(|(user, _)| user.name == **name)) {
                problems.push(format!(
                    "userlist '{name}': no such user '{user}' specified in group '{}'",
                    group.name
                ));
            }
        }
        for (user, wanted) in &users {
            for group in wanted.iter().filter(|name| !groups.iter().any(|group| group.name == **name)) {
                problems.push(format!(
                    "userlist '{name}': no such group '{group}' specified in user '{}'",
                    user.name
                ));
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let users = users.into_iter().map(|(user, wanted)| {
            let member =
                |group: &&DraftGroup| wanted.contains(&group.name) || group.users.contains(&user.name);
            let groups = groups.iter().filter(member).map(|group| group.name.clone()).collect();
            User { groups, ..user }
        });
        let users = users.collect();
        Ok(UserList { name, users, groups: groups.into_iter().map(|group| group.name).collect() })
    }
}

/// Names between commas.
fn names(list: &str) -> Vec<Box<str>> {
    list.split(',').filter(|name| !name.is_empty()).map(Into::into).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Result<UserList, Vec<String>>, Vec<String>) {
        let mut draft = Draft::new("L");
        let (mut problems, mut warnings) = (Vec::new(), Vec::new());
        for line in text.lines() {
            match draft.statement(&line.split_whitespace().collect::<Vec<_>>()) {
                Ok(warning) => warnings.extend(warning),
                Err(problem) => problems.push(problem),
            }
        }
        let list = if problems.is_empty() { draft.finish() } else { Err(problems) };
        (list, warnings)
    }

    /// The manual's example, both ways.
    #[test]
    fn groups() {
        let users = |text: &str| {
            let (list, warnings) = read(text);
            assert_eq!(warnings, [] as [String; 0]);
            let list = list.unwrap_or_else(|problems| panic!("{problems:?}"));
            assert!(
                list.user(b"scott")
                    .is_some_and(|user| user.has_password(b"elgato") && !user.has_password(b"elgat"))
            );
            assert!(
                list.user(b"xdb").is_some_and(|user| user.has_password(b"hello") && !user.has_password(b""))
            );
            assert!(list.user(b"tiger").is_some_and(|user| user.has_password(b"password")));
            assert!(list.user(b"nobody").is_none());
            list.users.iter().map(|user| (user.name.to_string(), user.groups.join(","))).collect::<Vec<_>>()
        };
        let expected = [("tiger", "G1"), ("scott", "G1,G2"), ("xdb", "G2")]
            .map(|(user, groups)| (user.into(), groups.into()));
        let passwords = "user tiger password $1$saltsalt$qjXMvbEw8oaL.CzflDtaK/";
        assert_eq!(
            users(&format!(
                "group G1 users tiger,scott\ngroup G2 users xdb,scott\n{passwords}\nuser scott insecure-password elgato\nuser xdb insecure-password hello"
            )),
            expected
        );
        assert_eq!(
            users(&format!(
                "group G1\ngroup G2\n{passwords} groups G1\nuser scott insecure-password elgato groups G1,G2\nuser xdb insecure-password hello groups G2"
            )),
            expected
        );
    }

    #[test]
    fn problems() {
        let check = |text: &str, expected: &str| match read(text).0 {
            Err(problems) => assert!(problems[0].starts_with(expected), "{problems:?}"),
            Ok(list) => panic!("{text}: {list:?}"),
        };
        check("group", "'group' expects <name> as arguments.");
        check("user", "'user' expects <name> as arguments.");
        check("group a,b", "character ',' is not permitted in 'group' name 'a,b'.");
        check("group g foo", "'group' only supports 'users' option.");
        check("group g users u1 extra", "'group' only supports 'users' option.");
        check("user u foo", "'user' only supports 'password', 'insecure-password' and 'groups' options.");
        check("foo", "unknown keyword 'foo' in 'userlist' section");
        check("group g users a,b", "userlist 'L': no such user 'a' specified in group 'g'");
        check("user u insecure-password x groups g", "userlist 'L': no such group 'g' specified in user 'u'");
        check("user u password hunter2", "'password' of user 'u' is not a hash of a method that is known:");
    }

    #[test]
    fn warnings() {
        let check = |text: &str, expected: &str| {
            let (list, warnings) = read(text);
            assert_eq!(warnings, [expected], "{text}");
            list.unwrap_or_else(|problems| panic!("{problems:?}"))
        };
        check("group g\ngroup g users nobody", "ignoring duplicated group 'g' in userlist 'L'.");
        let list = check(
            "user u insecure-password x\nuser u insecure-password y",
            "ignoring duplicated user 'u' in userlist 'L'.",
        );
        assert!(list.users[0].has_password(b"x") && !list.users[0].has_password(b"y"));
        let list = check(
            "user u password $6$k6y3o.eP$JlKBx(...)xHSwRv6J",
            "'password' of user 'u' is not a whole SHA-512 hash: no password will fit.",
        );
        assert!(!list.users[0].has_password(b""));
        assert!(
            read("user u\nuser v password")
                .0
                .is_ok_and(|list| list.users.iter().all(|user| !user.has_password(b"")))
        );
        assert!(!format!("{:?}", read("user u insecure-password hunter2").0).contains("hunter2"));
    }
}
