//! From argv to an exit status: the command line, the configuration, then [`boot`](super::boot).

use std::ffi::OsString;
use std::io::Write as _;
use std::net::IpAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use sockeye_accel::Instance;
use sockeye_config::keyword::{Class, Standing};
use sockeye_config::model::Config;
use sockeye_config::{Lookup, Options, Resolver, Surroundings};
use sockeye_syntax::address::Family;
use sockeye_syntax::diag::Severity;
use sockeye_syntax::source::{Disk, Environment, Implicit};

use super::args::{self, Args, Command, KeywordClass, Parsed};
use super::version::{FULL, Identity, Program, ProgramFacts};
use super::{boot, offload, resolve, subcommands};

/// `-q`: nothing on standard output or error.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Exit status of a mistake in the command line, the configuration or at start.
const FAILURE: u8 = 1;
/// Exit status of a good configuration that has nothing to listen on.
const NO_LISTENER: u8 = 2;

/// Whether only what is wrong is said, because nobody waits for news: the process is on its way to the background.
static BACKGROUND: AtomicBool = AtomicBool::new(false);

/// From now on notices are not printed.
pub fn enter_background() {
    BACKGROUND.store(true, Ordering::Relaxed);
}

/// Prints a line as HAProxy prints its own: severity, process, text.
pub fn say(severity: Severity, text: &str) {
    if severity == Severity::Notice && BACKGROUND.load(Ordering::Relaxed) {
        return;
    }
    print_error(&format!("{}{text}\n", severity.prefix(std::process::id())));
}

/// Prints to standard output.
pub fn print(text: &str) {
    if !QUIET.load(Ordering::Relaxed) {
        // A closed standard output leaves nobody to tell.
        let _ = std::io::stdout().write_all(text.as_bytes());
    }
}

/// Prints to standard error.
fn print_error(text: &str) {
    if !QUIET.load(Ordering::Relaxed) {
        // A closed standard error leaves nobody to tell.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

/// The whole program.
pub fn run(argv: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut argv = argv.into_iter();
    let identity = identity(&argv.next().unwrap_or_default().to_string_lossy());
    ExitCode::from(match args::parse(argv, &identity) {
        Ok(Parsed::Help(text)) => {
            print(&text);
            0
        }
        Ok(Parsed::Subcommand(words)) => subcommands::run(words, &identity),
        Ok(Parsed::Options(args)) => obey(&args, &identity),
        Err(error) => {
            print_error(&error.render(std::process::id(), &identity));
            FAILURE
        }
    })
}

fn identity(argv0: &str) -> Identity {
    let uname = rustix::system::uname();
    let words = [uname.sysname(), uname.release(), uname.version(), uname.machine()];
    Identity {
        program: Program::from_argv0(argv0),
        executable: std::env::current_exe()
            .map_or_else(|_| argv0.to_owned(), |path| path.display().to_string()),
        system: words.map(|word| word.to_string_lossy().into_owned()).join(" "),
        threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    }
}

fn obey(args: &Args, identity: &Identity) -> u8 {
    QUIET.store(args.quiet && !args.verbose, Ordering::Relaxed);
    if let Some(directory) = &args.directory
        && let Err(error) = rustix::process::chdir(directory.as_str())
    {
        say(Severity::Alert, &format!("Could not change to directory {directory} : {error}"));
        return FAILURE;
    }
    for notice in &args.notices {
        say(Severity::Notice, notice);
    }
    if !args.keywords.is_empty() {
        print(&keywords(&args.keywords));
        if args.files.is_empty() {
            return 0;
        }
    }
    match &args.command {
        Command::Version { detailed: false } => {
            print(&identity.version_text());
            0
        }
        Command::Version { detailed: true } => {
            print(&identity.detailed_text());
            print(&offload::report(None));
            0
        }
        Command::Unload(name) => unload(name),
        Command::Condition(text) => condition(text, args),
        Command::Check => read(args, identity).map_or_else(|status| status, |config| check(&config, args)),
        Command::Run => {
            read(args, identity).map_or_else(|status| status, |config| serve(config, args, identity))
        }
    }
}

/// `-cc`: 0 for true, 1 for false, 2 for a mistake.
fn condition(text: &str, args: &Args) -> u8 {
    let environment = environment(args);
    match sockeye_syntax::read::check_condition(text, &ProgramFacts::new(args), &environment) {
        Ok(holds) => u8::from(!holds),
        Err(error) => {
            say(Severity::Alert, &error);
            2
        }
    }
}

/// The variables that a configuration sees: ours, and those every file may rely on.
pub fn environment(args: &Args) -> Environment {
    // A variable that is not text cannot be named in a file either.
    let mut environment: Environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let local_peer = args.local_peer.as_deref().unwrap_or(&host);
    environment.add_implicit(&Implicit { version: FULL, files: &args.files, local_peer });
    environment
}

/// Names in the file, by the system's resolver.
struct System {
    ipv4_only: bool,
}

impl Resolver for System {
    fn resolve(&self, host: &str, family: Option<Family>) -> Option<IpAddr> {
        let family = if self.ipv4_only { family.or(Some(Family::Ipv4)) } else { family };
        resolve::lookup(host, family)
    }

    fn lookup(&self) -> Lookup {
        let family = self.ipv4_only.then_some(Family::Ipv4);
        Box::new(move |host| resolve::lookup(host, family))
    }
}

/// Reads the configuration; the error is the exit status, everything said already.
pub fn read(args: &Args, identity: &Identity) -> Result<Config, u8> {
    if args.files.is_empty() {
        print_error(&args::usage(identity));
        return Err(FAILURE);
    }
    let facts = ProgramFacts::new(args);
    let surroundings =
        Surroundings { loader: &Disk, resolver: &System { ipv4_only: args.ipv4_only }, facts: &facts };
    let options = Options {
        maxconn: args.maxconn,
        proxy_maxconn: args.proxy_maxconn,
        zero_warning: args.zero_warning,
        now: Some(std::time::SystemTime::now()),
    };
    let mut environment = environment(args);
    let (config, diagnostics) = sockeye_config::read(&args.files, &surroundings, &mut environment, &options);
    print_error(&diagnostics.render(std::process::id(), &identity.banner(), args.diagnostic));
    if matches!(args.command, Command::Check) && config.is_some() && diagnostics.warnings() > 0 {
        print("Warnings were found.\n");
    }
    match config {
        Some(mut config) => {
            config.global.nosplice |= args.no_splice;
            config.global.noreuseport |= args.no_reuseport;
            Ok(config)
        }
        None => {
            if diagnostics.is_empty() {
                print_error(&args::usage(identity));
            }
            Err(FAILURE)
        }
    }
}

/// `-c`: whether the configuration could be started. Binds nothing and needs no privileges.
pub fn check(config: &Config, args: &Args) -> u8 {
    if let Err(error) = boot::resolve_servers(config, args.ignore_resolution_failures) {
        say(Severity::Alert, &format!("{error:#}"));
        return FAILURE;
    }
    if let Some(dump) = &args.dump {
        if dump.anonymize.is_some() || dump.lines {
            say(Severity::Notice, "-dC: keys and line numbers are not printed.");
        }
        print(&sockeye_config::dump::dump(config));
        return 0;
    }
    if !config.frontends.iter().any(|frontend| !frontend.disabled && !frontend.binds.is_empty()) {
        print_error("Configuration file has no error but will not start (no listener) => exit(2).\n");
        return NO_LISTENER;
    }
    if args.verbose {
        print("Configuration file is valid\n");
        print(&offload::report(Some(config)));
    }
    0
}

/// `--unload`: what was removed, a line each; 1 if nothing was.
fn unload(name: &str) -> u8 {
    match Instance::unload(name) {
        Ok(removed) => {
            print(&format!("Instance '{name}' is unloaded.\n"));
            for line in removed {
                print(&format!("  {line}\n"));
            }
            0
        }
        Err(error) => {
            say(Severity::Alert, &format!("{error}."));
            FAILURE
        }
    }
}

fn serve(config: Config, args: &Args, identity: &Identity) -> u8 {
    if args.dump.is_some() {
        return check(&config, args);
    }
    if !config.frontends.iter().any(|frontend| !frontend.disabled && !frontend.binds.is_empty()) {
        say(
            Severity::Alert,
            "[haproxy.main()] No enabled listener found (check for 'bind' directives) ! Exiting.",
        );
        return NO_LISTENER;
    }
    let options = boot::Options {
        background: (args.daemon || config.global.daemon) && !args.foreground && !args.debug,
        pidfile: args.pidfile.clone().map(Into::into).or_else(|| config.global.pidfile.clone()),
        debug: args.debug,
        ignore_unresolved: args.ignore_resolution_failures,
        memory_megabytes: args.memory_mb.map(u64::from),
        program: identity.program.name().to_owned(),
        replaced: args.replaced.clone(),
    };
    if config.global.quiet && !args.debug {
        QUIET.store(true, Ordering::Relaxed);
    }
    match boot::start(config, &options) {
        Ok(status) => status,
        Err(error) => {
            say(Severity::Alert, &format!("{error:#}"));
            FAILURE
        }
    }
}

/// The lists of `-dK`: the words that work here, as HAProxy lists its own.
fn keywords(classes: &[KeywordClass]) -> String {
    let mut words = sockeye_config::keyword::all();
    words.retain(|word| matches!(word.standing, Standing::Supported | Standing::NoEffect));
    let mut out = String::new();
    for class in classes {
        out.push_str(&class.header());
        out.push('\n');
        if *class == KeywordClass::Configuration {
            for (section, in_global) in [("global", true), ("listen", false)] {
                out.push_str(section);
                out.push('\n');
                for word in words.iter().filter(|word| (word.class == Class::Global) == in_global) {
                    if word.class != Class::Section {
                        out.push_str(&format!("\t{}{} {}\n", word.prefix, word.name, word.suffix));
                    }
                }
            }
        }
    }
    out
}
