//! What can be typed: the options every command knows, and the groups that several share.

use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, Parser};
use quorate_proto::pb::v1::Expectations;

use crate::command::Command;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{ColorChoice, Format, Printer, TimeFormat, time::parse_span};

/// A distributed, Raft-replicated recovery coordinator: every act a certified decision.
#[derive(Debug, Parser)]
#[command(
    name = "quorate",
    version,
    disable_help_subcommand = true,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  quorate demo
  quorate init ./prod --network example.org/prod --cluster shop --members n1,n2,n3,n4,n5
  quorate status --watch

`quorate help exit-codes` and `quorate help reasons` list what scripts may rely on."
)]
pub(crate) struct Cli {
    /// Options that every command knows.
    #[command(flatten)]
    pub global: Global,
    /// The noun and its verb.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// The printer for this command line: `demo --json` asks for objects a line in its own words.
    pub(crate) fn printer(&self) -> Printer {
        let Global { output, color, time_format, .. } = self.global;
        let is_json = matches!(&self.command, Command::Demo(demo) if demo.is_json());
        let printer =
            Printer::new(if is_json { Format::Jsonl } else { output }, color, time_format);
        printer.asked(format_typed(std::env::args().skip(1)).is_some())
    }
}

/// Options that every command knows.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// How the answer is printed
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value = "table",
        value_name = "FORMAT",
        env = "QUORATE_OUTPUT",
        hide_env_values = true,
        help_heading = "Output"
    )]
    pub output: Format,
    /// When colours are used; NO_COLOR and TERM=dumb are honoured
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "auto",
        value_name = "WHEN",
        hide_possible_values = false,
        help_heading = "Output"
    )]
    pub color: ColorChoice,
    /// How times are shown in tables
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "relative",
        value_name = "FORMAT",
        help_heading = "Output"
    )]
    pub time_format: TimeFormat,
    /// Options for commands that ask coordinators.
    #[command(flatten)]
    pub connection: Connection,
}

/// Whom to ask, and as whom.
#[derive(Debug, Clone, Args)]
pub(crate) struct Connection {
    /// Coordinators to ask, each as ID=HOST:PORT
    #[arg(
        long,
        global = true,
        value_delimiter = ',',
        value_name = "ID=ADDR,…",
        env = "QUORATE_ENDPOINTS",
        hide_env_values = true,
        help_heading = "Connection"
    )]
    pub endpoints: Vec<String>,
    /// Directory of the caller's identity: tls.pem, tls.key, ca.pem, and key.pem to sign with
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "QUORATE_IDENTITY",
        hide_env_values = true,
        help_heading = "Connection"
    )]
    pub identity: Option<PathBuf>,
    /// Named context of the client's configuration file
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "QUORATE_CONTEXT",
        hide_env_values = true,
        help_heading = "Connection"
    )]
    pub context: Option<String>,
    /// The client's configuration file [default: $XDG_CONFIG_HOME/quorate/config.toml]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "QUORATE_CONFIG",
        hide_env_values = true,
        help_heading = "Connection"
    )]
    pub client_config: Option<PathBuf>,
    /// Read what any coordinator has applied, without a quorum; the answer names its age
    #[arg(long, global = true, help_heading = "Connection")]
    pub stale: bool,
    /// How long one call may take
    #[arg(long, global = true, value_name = "SPAN", default_value = "10s",
        value_parser = parse_span,
        help_heading = "Connection")]
    pub timeout: Duration,
}

/// Options of verbs that change something.
#[derive(Debug, Clone, Args)]
pub(crate) struct Mutation {
    /// Answer what would happen, by the server's own code path, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Repeat a request whose outcome is unknown: one id, one effect
    #[arg(long, value_name = "UUID")]
    pub request_id: Option<uuid::Uuid>,
}

impl Mutation {
    /// The request's id: the one given, or a new one.
    pub(crate) fn request_id(&self) -> String {
        self.request_id.unwrap_or_else(uuid::Uuid::new_v4).to_string()
    }
}

/// What must hold when the request is carried out, checked by the server in the same command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Expect {
    /// Charter epoch that must be in force
    #[arg(long, value_name = "EPOCH")]
    pub expect_epoch: Option<u64>,
    /// Coordinator that must lead
    #[arg(long, value_name = "ID")]
    pub expect_leader: Option<u64>,
    /// Highest fencing token of the cluster, as INCARNATION.NUMBER
    #[arg(long, value_name = "TOKEN")]
    pub expect_token: Option<String>,
    /// Members of the cluster that must have answered lately, exactly
    #[arg(long, value_name = "N")]
    pub expect_answering: Option<u32>,
}

impl Expect {
    /// As it travels; `confirmed` is the cluster's name that the person typed.
    pub(crate) fn message(&self, confirmed: Option<&Confirmation>) -> Expectations {
        Expectations {
            epoch: self.expect_epoch,
            leader_id: self.expect_leader,
            token: self.expect_token.clone(),
            answering: self.expect_answering,
            cluster: confirmed.and_then(|it| it.confirm.clone().flatten()),
        }
    }
}

/// The confirmation of a dangerous act, for use without a terminal.
#[derive(Debug, Clone, Args)]
pub(crate) struct Confirmation {
    /// Confirm without a question; irreversible acts want the cluster's name: --confirm=CLUSTER
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "CLUSTER")]
    pub confirm: Option<Option<String>>,
}

/// Waiting for what was started.
#[derive(Debug, Clone, Args)]
pub(crate) struct Wait {
    /// Wait until it has ended, printing each change [default span: 5m]
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "SPAN",
        value_parser = parse_span)]
    pub wait: Option<Option<Duration>>,
}

impl Wait {
    /// How long to wait, if at all.
    pub(crate) fn span(&self) -> Option<Duration> {
        self.wait.map(|span| span.unwrap_or(Duration::from_secs(300)))
    }
}

/// Prints why the command line is refused, or the help that was asked for.
pub(crate) fn refused(error: &clap::Error) -> Exit {
    let is_help = matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    match format_typed(std::env::args().skip(1)).filter(|format| *format != Format::Table) {
        Some(format) if !is_help => {
            let message = error.to_string();
            // What follows the first empty line is the usage, which a program does not read.
            let words: Vec<&str> =
                message.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
            let words = words.join(" ");
            let failure = Failure::usage(words.trim_start_matches("error: ")).help("quorate help");
            Printer::new(format, ColorChoice::Never, TimeFormat::Iso8601).fail(&failure);
        }
        // A closed pipe leaves nobody to tell.
        Some(_) | None => drop(error.print()),
    }
    if error.kind() == ErrorKind::DisplayHelp || error.kind() == ErrorKind::DisplayVersion {
        Exit::Ok
    } else {
        Exit::Usage
    }
}

/// The format that a command line or the environment asks for, whether the line parses as a whole
/// or not; `None` where nothing asks.
fn format_typed(arguments: impl Iterator<Item = String>) -> Option<Format> {
    use clap::ValueEnum;
    let mut typed = std::env::var("QUORATE_OUTPUT").ok();
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        if argument == "-o" || argument == "--output" {
            typed = arguments.peek().cloned();
        } else if let Some(value) = argument.strip_prefix("--output=") {
            typed = Some(value.to_owned());
        } else if let Some(value) = argument.strip_prefix("-o") {
            typed = Some(value.trim_start_matches('=').to_owned());
        }
    }
    typed.and_then(|word| Format::from_str(&word, true).ok())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_grammar_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_shows_two_examples() {
        fn walk(command: &clap::Command, path: &str, missing: &mut Vec<String>) {
            for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
                let path = format!("{path} {}", verb.get_name());
                if verb.has_subcommands() {
                    walk(verb, &path, missing);
                    continue;
                }
                let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
                let examples = help.lines().filter(|line| line.starts_with("  quorate ")).count();
                if examples < 2 {
                    missing.push(path);
                }
            }
        }
        let mut missing = Vec::new();
        walk(&Cli::command(), "quorate", &mut missing);
        assert!(missing.is_empty(), "without two examples: {missing:?}");
    }

    /// The words of a line as a shell would see them, up to a redirection.
    fn words(line: &str) -> Vec<String> {
        let mut words = Vec::new();
        let mut word: Option<String> = None;
        let mut is_quoted = false;
        for letter in line.chars() {
            match letter {
                '\'' => {
                    is_quoted = !is_quoted;
                    word.get_or_insert_default();
                }
                ' ' if !is_quoted => words.extend(word.take()),
                other => word.get_or_insert_default().push(other),
            }
        }
        words.extend(word);
        words.into_iter().take_while(|word| word != ">").collect()
    }

    #[test]
    fn every_example_in_the_help_is_a_command_line_that_parses() {
        fn walk(command: &clap::Command, examples: &mut Vec<String>) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            examples
                .extend(help.lines().filter(|l| l.starts_with("  quorate ")).map(str::to_owned));
            for verb in command.get_subcommands() {
                walk(verb, examples);
            }
        }
        let mut examples = Vec::new();
        walk(&Cli::command(), &mut examples);
        assert!(examples.len() > 60, "only {} examples", examples.len());
        for example in examples {
            let parsed = Cli::try_parse_from(words(example.trim()));
            assert!(
                parsed.is_ok(),
                "{example}: {}",
                parsed.err().map(|e| e.to_string()).unwrap_or_default()
            );
        }
    }

    #[test]
    fn a_broken_command_line_still_gets_the_format_it_asks_for() {
        let typed = |line: &str| format_typed(line.split(' ').map(str::to_owned));
        assert_eq!(typed("status -o json --nonsense"), Some(Format::Json));
        assert_eq!(typed("status -ojsonl"), Some(Format::Jsonl));
        assert_eq!(typed("--output=yaml nonsense"), Some(Format::Yaml));
        assert_eq!(typed("status -o table x"), Some(Format::Table));
        assert_eq!(typed("status"), None);
    }
}
