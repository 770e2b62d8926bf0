//! The command line: HAProxy's own grammar of options, which no argument library can express (`-sf PID…`, `-dM…`).
//!
//! Pure: words in, [`Args`] out. [`OPTIONS`] is the one table that both the parser's usage text and `-h` print.

use std::ffi::OsString;

use super::version::Identity;

/// What the command line asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Args {
    pub command: Command,
    /// Files and folders, in order: `-f` and what follows `--`.
    pub files: Vec<String>,
    /// `-q`: nothing on standard output or error while starting.
    pub quiet: bool,
    /// `-V`: also say what goes well.
    pub verbose: bool,
    /// `-d`: stay in the foreground and show what passes.
    pub debug: bool,
    /// `-db`: stay in the foreground, whatever the file says.
    pub foreground: bool,
    /// `-D`: go to the background.
    pub daemon: bool,
    /// `-n`: connections of the whole process.
    pub maxconn: Option<u32>,
    /// `-N`: connections of a frontend that has no limit of its own.
    pub proxy_maxconn: Option<u32>,
    /// `-m`: memory in megabytes.
    pub memory_mb: Option<u32>,
    /// `-p`: the file that gets the process number.
    pub pidfile: Option<String>,
    /// `-C`: the folder to go to before anything is read.
    pub directory: Option<String>,
    /// `-L`: the name of the local peer instead of the host's.
    pub local_peer: Option<String>,
    /// `-4`: names are resolved to IPv4 addresses only.
    pub ipv4_only: bool,
    /// `-dr`: a server whose name cannot be resolved starts without an address.
    pub ignore_resolution_failures: bool,
    /// `-dD`: also print diagnostics of the lowest level.
    pub diagnostic: bool,
    /// `-dW`: a warning is fatal.
    pub zero_warning: bool,
    /// `-dS`: no splice(2).
    pub no_splice: bool,
    /// `-dR`: no SO_REUSEPORT.
    pub no_reuseport: bool,
    /// `-dV`: servers' certificates are not verified.
    pub no_server_verify: bool,
    /// `-dC`: print the configuration as it was understood.
    pub dump: Option<Dump>,
    /// `-dK`: print the keywords of these classes.
    pub keywords: Vec<KeywordClass>,
    /// `-sf`, `-st`: processes that are told to go when this one serves.
    pub replaced: Option<Replaced>,
    /// What was accepted because HAProxy accepts it and has nothing to act on here: to be said as notices.
    pub notices: Vec<String>,
}

/// Processes to be told to go once this one serves (management guide 4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    pub pids: Vec<u32>,
    /// `-st`: at once; else when they have finished what they have.
    pub at_once: bool,
}

/// What to do with it all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Command {
    /// Read the files and serve.
    #[default]
    Run,
    /// `-c`: read the files and say whether they are good.
    Check,
    /// `-cc`: evaluate a condition; exit status 0 for true, 1 for false, 2 for a mistake.
    Condition(String),
    /// `-v`, or `-vv` with all details.
    Version { detailed: bool },
    /// `--unload`: remove what an instance that is not running left in the kernel.
    Unload(String),
}

/// `-dC[[KEY],line]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dump {
    /// Names and addresses are replaced by their hashes with this key.
    pub anonymize: Option<String>,
    /// With line numbers.
    pub lines: bool,
}

/// Classes of `-dK`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeywordClass {
    Acl,
    Configuration,
    Cli,
    Converter,
    Filter,
    Fetch,
    Service,
}

impl KeywordClass {
    /// Name in `-dK`, and the words after `# List of registered`.
    pub const ALL: &[(&str, Self, &str)] = &[
        ("acl", Self::Acl, "ACL keywords"),
        ("cfg", Self::Configuration, "configuration keywords"),
        ("cli", Self::Cli, "CLI keywords"),
        ("cnv", Self::Converter, "sample converter functions"),
        ("flt", Self::Filter, "filter names"),
        ("smp", Self::Fetch, "sample fetch functions"),
        ("svc", Self::Service, "service names"),
    ];

    /// The line above the list of this class.
    pub fn header(self) -> String {
        let subject =
            Self::ALL.iter().find(|(_, class, _)| *class == self).map_or("", |(.., subject)| subject);
        format!("# List of registered {subject}:")
    }

    /// The answer to `-dKhelp`.
    pub fn help() -> String {
        let mut out = "# List of supported keyword classes:\nall: list all keywords\n".to_owned();
        for (name, _, subject) in Self::ALL {
            out.push_str(&format!("{name}: {subject}\n"));
        }
        out
    }
}

/// A command line that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// HAProxy's grammar.
    Options(Box<Args>),
    /// `sockeye WORD …`: one of our own subcommands, with its arguments.
    Subcommand(Vec<OsString>),
    /// `-dKhelp`: a text for standard output, exit status 0.
    Help(String),
}

/// Why a command line was not. The exit status is 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgsError {
    /// Version and usage are the whole answer.
    #[error("usage")]
    Usage,
    #[error("'{0}' expects an argument.")]
    Missing(String),
    #[error("'{option}' expects an integer (got '{value}').")]
    Number { option: String, value: String },
    #[error("-{option} option: some bytes unconsumed in PID list {{{rest}}}")]
    PidList { option: &'static str, rest: String },
    #[error("-dK: unknown keyword class '{0}' (use -dKhelp for list)")]
    KeywordClass(String),
    #[error("'{option}' ({subject}) is not implemented yet.")]
    NotImplemented { option: &'static str, subject: &'static str },
    #[error("argument {0:?} is not valid UTF-8.")]
    NotUtf8(OsString),
}

impl ArgsError {
    /// What goes to standard error.
    pub fn render(&self, pid: u32, identity: &Identity) -> String {
        match self {
            Self::Usage => usage(identity),
            _ => {
                let alert = sockeye_syntax::diag::Severity::Alert.prefix(pid);
                format!("{}{alert}{self}\n", identity.banner().render(pid))
            }
        }
    }
}

/// Reads the words behind the program's own name.
pub fn parse(words: impl IntoIterator<Item = OsString>, identity: &Identity) -> Result<Parsed, ArgsError> {
    let words: Vec<OsString> = words.into_iter().collect();
    let own = words.first().is_some_and(|word| !word.as_encoded_bytes().starts_with(b"-"));
    if own && identity.program.has_subcommands() {
        return Ok(Parsed::Subcommand(words));
    }
    let words = words
        .into_iter()
        .map(|word| word.into_string().map_err(ArgsError::NotUtf8))
        .collect::<Result<Vec<_>, _>>()?;
    let mut parser =
        Parser { words: words.into_iter().peekable(), args: Args::default(), later: Vec::new(), help: false };
    while let Some(word) = parser.words.next() {
        if word == "--" {
            parser.args.files.extend(parser.words.by_ref());
            break;
        }
        parser.option(&word)?;
    }
    parser.finish()
}

/// The version, then every option.
pub fn usage(identity: &Identity) -> String {
    let name = identity.program.name();
    let mut out = format!(
        "{}Usage : {name} [-f <cfgfile|cfgdir>]* [ -vdVD ] [ -n <maxconn> ] [ -N <maxpconn> ]\n        \
         [ -p <pidfile> ] [ -m <max megs> ] [ -C <dir> ] [-- <cfgfile>*]\n",
        identity.version_text()
    );
    for (option, help) in OPTIONS {
        out.push_str(&format!("        {option} {help}\n"));
    }
    out.push('\n');
    out
}

/// Every option with its help; the first word is what is typed.
pub const OPTIONS: &[(&str, &str)] = &[
    ("-f <file|dir>", "reads a configuration file, or a folder's *.cfg files in order; may be repeated"),
    ("-c", "checks the configuration and exits: 0 good, 1 bad, 2 nothing to listen on"),
    ("-cc <condition>", "evaluates a condition as .if does and exits: 0 true, 1 false, 2 mistake"),
    ("-v", "shows the version ; -vv also shows what is built in"),
    ("-V", "verbose: also says what goes well"),
    ("-q", "quiet: no messages while starting"),
    ("-D", "goes to the background"),
    ("-d", "stays in the foreground and shows what passes ; -db only stays in the foreground"),
    ("-C <dir>", "goes to this folder before reading anything"),
    ("-p <pidfile>", "writes the process number to this file"),
    ("-n <maxconn>", "maximum number of connections of the process"),
    ("-N <maxpconn>", "default maximum number of connections of a frontend"),
    ("-m <megs>", "limits the usable memory, in megabytes"),
    ("-L <name>", "name of the local peer (default: the host's name)"),
    ("-4", "resolves names to IPv4 addresses only"),
    ("-dC[[key],line]", "shows the configuration as it was understood ; with a key names are anonymized"),
    ("-dD", "diagnostic: also warns about what is merely suspicious"),
    ("-dK<class[,...]>", "lists the known keywords (-dKhelp lists the classes)"),
    ("-dR", "does not use SO_REUSEPORT"),
    ("-dS", "does not use splice()"),
    ("-dV", "does not verify servers' certificates"),
    ("-dW", "refuses to start after any warning"),
    ("-dr", "starts with servers whose names cannot be resolved"),
    (
        "-dM -dG -dF -dI -dL -dZ -dc -de -dk -dp -dt -dv",
        "accepted ; nothing to act on here, which a notice says",
    ),
    (
        "--unload <name>",
        "removes what a dead process of this instance left in the kernel, and exits: 0 done, 1 not",
    ),
    ("-sf|-st <pid>…", "binds beside these processes, then lets them finish (-sf) or ends them (-st)"),
    ("-W, -Ws, -S, -x", "master-worker mode and taking over sockets: not implemented yet"),
];

struct Parser<I: Iterator<Item = String>> {
    words: std::iter::Peekable<I>,
    args: Args,
    /// What is refused unless the files are only checked, as service managers do with all of a service's options.
    later: Vec<ArgsError>,
    help: bool,
}

impl<I: Iterator<Item = String>> Parser<I> {
    fn option(&mut self, word: &str) -> Result<(), ArgsError> {
        let mut letters = word.chars();
        if letters.next() != Some('-') {
            return Err(ArgsError::Usage);
        }
        match letters.next() {
            Some('f') => {
                let file = self.value(word, "-f")?;
                self.args.files.push(file);
            }
            Some('-') if word == "--unload" => {
                let name = self.words.next().ok_or_else(|| ArgsError::Missing(word.to_owned()))?;
                self.args.command = Command::Unload(name);
            }
            Some('c') if word == "-cc" => {
                let condition = self.words.next().ok_or(ArgsError::Usage)?;
                self.args.command = Command::Condition(condition);
            }
            Some('c') => self.switch(word, "-c", |args| {
                if args.command == Command::Run {
                    args.command = Command::Check;
                }
            }),
            Some('v') => {
                self.args.command = Command::Version { detailed: word.starts_with("-vv") };
                // HAProxy exits right here: what follows is not looked at.
                self.words.by_ref().for_each(drop);
            }
            Some('V') => self.switch(word, "-V", |args| args.verbose = true),
            Some('q') => self.switch(word, "-q", |args| args.quiet = true),
            Some('D') => self.switch(word, "-D", |args| args.daemon = true),
            Some('4') => self.switch(word, "-4", |args| args.ipv4_only = true),
            Some('n') => self.args.maxconn = Some(self.number(word, "-n")?),
            Some('N') => self.args.proxy_maxconn = Some(self.number(word, "-N")?),
            Some('m') => self.args.memory_mb = Some(self.number(word, "-m")?),
            Some('p') => self.args.pidfile = Some(self.value(word, "-p")?),
            Some('C') => self.args.directory = Some(self.value(word, "-C")?),
            Some('L') => self.args.local_peer = Some(self.value(word, "-L")?),
            Some('d') => return self.debugging(word, letters.next(), letters.as_str()),
            Some('W') if word.starts_with("-Ws") => {
                self.not_implemented("-Ws", "master-worker mode with systemd")
            }
            Some('W') => self.not_implemented("-W", "master-worker mode"),
            Some('S') => {
                self.value(word, "-S")?;
                self.not_implemented("-S", "the master's command socket");
            }
            Some('x') => {
                self.value(word, "-x")?;
                self.not_implemented("-x", "taking sockets over from a running process");
            }
            Some('s') if word == "-sf" => self.pids("sf", false)?,
            Some('s') if word == "-st" => self.pids("st", true)?,
            _ => return Err(ArgsError::Usage),
        }
        Ok(())
    }

    /// `-d` and the letter behind it.
    fn debugging(&mut self, word: &str, letter: Option<char>, rest: &str) -> Result<(), ArgsError> {
        let idle = match letter {
            None => {
                self.args.debug = true;
                return Ok(());
            }
            Some('C') => {
                let (key, lines) = match rest.rsplit_once(',') {
                    Some((key, "line")) => (key, true),
                    _ => (rest, rest == "line"),
                };
                let key = if key == "line" { "" } else { key };
                let anonymize = (!key.is_empty()).then(|| key.to_owned());
                self.args.dump = Some(Dump { anonymize, lines });
                return Ok(());
            }
            Some('K') => return self.keyword_classes(rest),
            Some(letter @ ('b' | 'r' | 'D' | 'W' | 'S' | 'R' | 'V')) => {
                self.switch(word, &format!("-d{letter}"), |args| match letter {
                    'b' => args.foreground = true,
                    'r' => args.ignore_resolution_failures = true,
                    'D' => args.diagnostic = true,
                    'W' => args.zero_warning = true,
                    'S' => args.no_splice = true,
                    'R' => args.no_reuseport = true,
                    _ => args.no_server_verify = true,
                });
                return Ok(());
            }
            Some('M') => "memory is not pooled by hand",
            Some('t') => {
                // Its description may be a word of its own.
                if rest.is_empty() && self.words.peek().is_some_and(|next| !next.starts_with('-')) {
                    self.words.next();
                }
                "there are no traces"
            }
            Some('G') => "names are always resolved by the system",
            Some('F' | 'Z') => {
                "what is forwarded in the kernel is chosen by 'option splice-*' and 'ebpf.accel'"
            }
            Some('I') => "external programs are not run",
            Some('L') => "no object files are loaded at run time",
            Some('c') => "threads are not bound to CPUs",
            Some('e' | 'k' | 'p' | 'v') => "there is one polling system",
            Some(_) => return Err(ArgsError::Usage),
        };
        self.args.notices.push(format!("option '{word}' has no effect: {idle}."));
        Ok(())
    }

    fn keyword_classes(&mut self, list: &str) -> Result<(), ArgsError> {
        if list.is_empty() {
            return Err(ArgsError::Usage);
        }
        for name in list.split(',') {
            let found = KeywordClass::ALL.iter().filter(|(known, ..)| *known == name || name == "all");
            let classes: Vec<KeywordClass> = found.map(|(_, class, _)| *class).collect();
            match (name, classes.is_empty()) {
                ("help", _) => self.help = true,
                (_, true) => return Err(ArgsError::KeywordClass(name.to_owned())),
                _ => self.args.keywords.extend(classes),
            }
        }
        Ok(())
    }

    /// An option without argument. HAProxy looks at its first letters only, so the rest is accepted, and said.
    fn switch(&mut self, word: &str, option: &str, set: impl FnOnce(&mut Args)) {
        set(&mut self.args);
        if word != option {
            self.args.notices.push(format!("option '{word}' is read as '{option}'."));
        }
    }

    /// The next word, whatever it looks like.
    fn value(&mut self, word: &str, option: &str) -> Result<String, ArgsError> {
        if word != option {
            return Err(ArgsError::Usage);
        }
        self.words.next().ok_or_else(|| ArgsError::Missing(option.to_owned()))
    }

    fn number(&mut self, word: &str, option: &str) -> Result<u32, ArgsError> {
        let value = self.value(word, option)?;
        value.parse().map_err(|_| ArgsError::Number { option: option.to_owned(), value })
    }

    /// Process numbers up to the next option.
    fn pids(&mut self, option: &'static str, at_once: bool) -> Result<(), ArgsError> {
        let mut pids = Vec::new();
        while let Some(word) = self.words.next_if(|word| !word.starts_with('-')) {
            // Several may stand in one word, with blanks between them.
            for number in word.split_ascii_whitespace() {
                let digits = number.bytes().take_while(u8::is_ascii_digit).count();
                let pid = number[..digits].parse().ok().filter(|_| digits == number.len());
                let Some(pid) = pid else {
                    return Err(ArgsError::PidList { option, rest: number[digits..].to_owned() });
                };
                pids.push(pid);
            }
        }
        // `-sf $(cat old.pid)` with nothing running is a plain start. Of several lists the last says how.
        if !pids.is_empty() {
            let replaced = self.args.replaced.get_or_insert(Replaced { pids: Vec::new(), at_once });
            replaced.pids.append(&mut pids);
            replaced.at_once = at_once;
        }
        Ok(())
    }

    fn not_implemented(&mut self, option: &'static str, subject: &'static str) {
        self.later.push(ArgsError::NotImplemented { option, subject });
    }

    fn finish(self) -> Result<Parsed, ArgsError> {
        let Self { args, later, help, .. } = self;
        if help {
            return Ok(Parsed::Help(KeywordClass::help()));
        }
        let needs_files = matches!(args.command, Command::Run | Command::Check) && args.keywords.is_empty();
        if needs_files && args.files.is_empty() {
            return Err(ArgsError::Usage);
        }
        match later.into_iter().next() {
            Some(error) if args.command == Command::Run => Err(error),
            _ => Ok(Parsed::Options(Box::new(args))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::version::Program;
    use super::*;

    fn identity(program: Program) -> Identity {
        Identity {
            program,
            executable: "/usr/sbin/haproxy".to_owned(),
            system: "Linux 6.1.0 x86_64".to_owned(),
            threads: 2,
        }
    }

    fn read(line: &str) -> Result<Parsed, ArgsError> {
        parse(line.split_ascii_whitespace().map(OsString::from), &identity(Program::Haproxy))
    }

    fn check(line: &str, expected: Args) {
        assert_eq!(read(line), Ok(Parsed::Options(Box::new(expected))), "{line}");
    }

    fn check_error(line: &str, message: &str) {
        assert_eq!(read(line).map_err(|error| error.to_string()), Err(message.to_owned()), "{line}");
    }

    fn files(names: &[&str]) -> Args {
        Args { files: names.iter().map(|name| (*name).to_owned()).collect(), ..Args::default() }
    }

    #[test]
    fn files_and_commands() {
        check("-f a -f b", files(&["a", "b"]));
        check("-f a -- b -c", files(&["a", "b", "-c"]));
        check("-c -q -f a", Args { command: Command::Check, quiet: true, ..files(&["a"]) });
        check("-f -c", files(&["-c"]));
        check("-v", Args { command: Command::Version { detailed: false }, ..Args::default() });
        check("-vv -n", Args { command: Command::Version { detailed: true }, ..Args::default() });
        check("-cc 1 -q", Args { command: Command::Condition("1".into()), quiet: true, ..Args::default() });
        check("-c -cc 1", Args { command: Command::Condition("1".into()), ..Args::default() });
        check("--unload edge", Args { command: Command::Unload("edge".into()), ..Args::default() });
        check_error("--unload", "'--unload' expects an argument.");
        for line in
            ["", "-c", "-cc", "a", "-f a b", "-", "-Z", "--help", "-dX -f a", "-f/a", "-dK -f a", "-sfx 1"]
        {
            assert_eq!(read(line), Err(ArgsError::Usage), "{line}");
        }
        check_error("-f", "'-f' expects an argument.");
    }

    #[test]
    fn values_and_switches() {
        check(
            "-D -p /run/p -n 10 -N 5 -m 64 -C /x -L me -4 -f a",
            Args {
                daemon: true,
                pidfile: Some("/run/p".into()),
                maxconn: Some(10),
                proxy_maxconn: Some(5),
                memory_mb: Some(64),
                directory: Some("/x".into()),
                local_peer: Some("me".into()),
                ipv4_only: true,
                ..files(&["a"])
            },
        );
        check(
            "-d -db -dr -dD -dW -dS -dR -dV -V -f a",
            Args {
                debug: true,
                foreground: true,
                ignore_resolution_failures: true,
                diagnostic: true,
                zero_warning: true,
                no_splice: true,
                no_reuseport: true,
                no_server_verify: true,
                verbose: true,
                ..files(&["a"])
            },
        );
        check_error("-n x -f a", "'-n' expects an integer (got 'x').");
        check_error("-f a -m -5", "'-m' expects an integer (got '-5').");
        check_error("-f a -p", "'-p' expects an argument.");
    }

    #[test]
    fn dumps() {
        let dump =
            |anonymize: Option<&str>, lines| Some(Dump { anonymize: anonymize.map(str::to_owned), lines });
        check("-dC -f a", Args { dump: dump(None, false), ..files(&["a"]) });
        check("-dCkey -f a", Args { dump: dump(Some("key"), false), ..files(&["a"]) });
        check("-dCline -f a", Args { dump: dump(None, true), ..files(&["a"]) });
        check("-dCkey,line -f a", Args { dump: dump(Some("key"), true), ..files(&["a"]) });
        let keywords = vec![KeywordClass::Configuration, KeywordClass::Acl];
        check("-dKcfg,acl", Args { keywords, ..Args::default() });
        assert!(matches!(read("-dKall"), Ok(Parsed::Options(args)) if args.keywords.len() == 7));
        assert!(
            matches!(read("-dKhelp"), Ok(Parsed::Help(text)) if text.contains("cnv: sample converter functions\n"))
        );
        check_error("-dKfoo", "-dK: unknown keyword class 'foo' (use -dKhelp for list)");
        assert_eq!(KeywordClass::Configuration.header(), "# List of registered configuration keywords:");
    }

    #[test]
    fn nothing_is_ignored_in_silence() {
        for option in [
            "-dM",
            "-dM0x50,no-merge",
            "-dG",
            "-dF",
            "-dZ",
            "-dI",
            "-dL",
            "-dc",
            "-de",
            "-dk",
            "-dp",
            "-dv",
            "-dt",
            "-dt h1",
        ] {
            let line = format!("{option} -f a");
            assert!(
                matches!(read(&line), Ok(Parsed::Options(args)) if args.notices.len() == 1 && args.files == ["a"]),
                "{line}"
            );
        }
        check(
            "-qV -f a",
            Args { quiet: true, notices: vec!["option '-qV' is read as '-q'.".into()], ..files(&["a"]) },
        );
    }

    #[test]
    fn taking_over_is_refused_but_does_not_disturb_a_check() {
        for (options, expected) in [
            ("-W", "'-W' (master-worker mode) is not implemented yet."),
            ("-Ws -S /s", "'-Ws' (master-worker mode with systemd) is not implemented yet."),
            ("-S /s", "'-S' (the master's command socket) is not implemented yet."),
            ("-x /s", "'-x' (taking sockets over from a running process) is not implemented yet."),
        ] {
            check_error(&format!("{options} -f a"), expected);
            check(&format!("{options} -c -f a"), Args { command: Command::Check, ..files(&["a"]) });
        }
    }

    #[test]
    fn processes_to_replace() {
        let with = |pids: &[u32], at_once| {
            let replaced = Some(Replaced { pids: pids.to_vec(), at_once });
            Args { replaced, ..files(&["a"]) }
        };
        check("-f a -sf", files(&["a"]));
        check("-f a -sf 1 2", with(&[1, 2], false));
        check("-st 1 -f a", with(&[1], true));
        check("-sf 1 -f a -st 2", with(&[1, 2], true));
        check_error("-sf 99999999999 -f a", "-sf option: some bytes unconsumed in PID list {}");
        check_error("-sf x -f a", "-sf option: some bytes unconsumed in PID list {x}");
        check_error("-sf 12,13 -f a", "-sf option: some bytes unconsumed in PID list {,13}");
    }

    #[test]
    fn subcommands_belong_to_our_own_name() {
        let words = || ["check", "a"].map(OsString::from);
        assert_eq!(parse(words(), &identity(Program::Sockeye)), Ok(Parsed::Subcommand(words().to_vec())));
        assert_eq!(parse(words(), &identity(Program::Haproxy)), Err(ArgsError::Usage));
    }

    #[test]
    fn every_option_of_the_table_is_known() {
        for (option, _) in OPTIONS {
            for word in option.split([' ', ',', '|']).filter(|word| word.starts_with('-')) {
                let name = word.split(['[', '<']).next().unwrap_or(word);
                let name = if name == "-dK" { "-dKall" } else { name };
                let line = format!("{name} 1 -c -f a");
                let line = if option.contains(" <") || ["-S", "-x"].contains(&name) {
                    line
                } else {
                    format!("{name} -c -f a")
                };
                assert!(read(&line).is_ok(), "{line}");
            }
        }
        let text = usage(&identity(Program::Haproxy));
        assert!(text.starts_with("HAProxy version 3.4.0-sockeye-") && text.contains("\nUsage : haproxy [-f"));
    }

    #[test]
    fn errors_speak_like_the_rest() {
        let text = ArgsError::Missing("-f".into()).render(7, &identity(Program::Haproxy));
        let expected = format!(
            "[NOTICE]   (7) : haproxy version is {}\n[NOTICE]   (7) : path to executable is /usr/sbin/haproxy\n\
             [ALERT]    (7) : '-f' expects an argument.\n",
            super::super::version::FULL
        );
        assert_eq!(text, expected);
    }
}
