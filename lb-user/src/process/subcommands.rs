//! `sockeye WORD …`: commands of our own, beside HAProxy's options. Not there when called as `haproxy`.

use std::ffi::OsString;

use clap::{Parser, Subcommand};

use super::args::{Args, Command};
use super::run as start;
use super::version::Identity;

/// A load balancer that reads haproxy.cfg. Options of HAProxy's own (-f, -c, -D …) work without a subcommand.
#[derive(Debug, Parser)]
#[command(name = "sockeye", version)]
struct Cli {
    #[command(subcommand)]
    command: Own,
}

#[derive(Debug, Subcommand)]
enum Own {
    /// Says whether files could be started, like `-c -V`
    Check {
        #[arg(required = true)]
        files: Vec<String>,
    },
    /// Prints the configuration as it was understood: defaults filled in, names resolved, one statement a line
    Dump {
        #[arg(required = true)]
        files: Vec<String>,
    },
}

/// Obeys a subcommand; the result is the exit status.
pub fn run(words: Vec<OsString>, identity: &Identity) -> u8 {
    let cli = match Cli::try_parse_from(std::iter::once(OsString::from("sockeye")).chain(words)) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are errors of clap's, too; both go where they belong.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(1);
        }
    };
    match cli.command {
        Own::Check { files } => {
            let args = Args { command: Command::Check, files, verbose: true, ..Args::default() };
            start::read(&args, identity).map_or_else(|status| status, |config| start::check(&config, &args))
        }
        Own::Dump { files } => {
            let args = Args { files, ..Args::default() };
            match start::read(&args, identity) {
                Ok(config) => {
                    start::print(&sockeye_config::dump::dump(&config));
                    0
                }
                Err(status) => status,
            }
        }
    }
}
