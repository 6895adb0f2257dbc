//! `quorate demo`: a real cluster, hurt and healed before your eyes.
//!
//! Coordinators, agents and members are child processes of this one, so `kill -9` is real. The demo
//! itself only does what people do: it kills, signs as the operators, and lies as one stolen
//! validator key. What the cluster makes of it is the product's own doing, and [`audit`] checks
//! that from the agents' journals, the members' own records and the exported log.
//!
//! The origin's network has the part `demo`: no signature of a demo validates anywhere else.

mod audit;
mod cluster;
mod leash;
mod member;
mod observer;
mod people;
mod ports;
mod process;
mod screen;
mod story;
mod summary;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};

use crate::Done;
use crate::command::Env;
use crate::command::service::{self, Purpose};
use crate::exit::Exit;
use crate::failure::{Failure, LocalReason};
use crate::output::{Printer, time::parse_span};

use cluster::Cluster;
use screen::{Beat, Screen};

/// How the demo is played.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  quorate demo
  quorate demo --coordinators 4 --duration 60s --assert

A member dies and is restarted exactly once; a validator lies and its ban waits for the budget; the
leading coordinator is killed and nothing is lost. All on this machine, and deleted at the end."
)]
pub(crate) struct DemoArgs {
    #[command(subcommand)]
    child: Option<Child>,
    /// How long to play, the story included [default: until the story ends, or Ctrl-C on a
    /// terminal]
    #[arg(long, value_name = "SPAN", value_parser = parse_span)]
    duration: Option<Duration>,
    /// Check the guarantees from the journals and the log; exit 3 if one does not hold
    #[arg(long = "assert")]
    asserted: bool,
    /// Keep everything in this directory, which must not exist
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Who dies and who lies
    #[arg(long, default_value_t = 42, value_name = "N")]
    seed: u64,
    /// How many coordinators
    #[arg(long, default_value_t = 3, value_parser = crate::command::parse_count,
        value_name = "3|4|5|7")]
    coordinators: u16,
    /// Print events as JSON, one object a line
    #[arg(long)]
    json: bool,
    /// First port; 0 takes free ones
    #[arg(long, default_value_t = crate::layout::PORT_DEFAULT, value_name = "PORT")]
    port: u16,
}

impl DemoArgs {
    /// Whether events are printed as objects.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }
}

/// The child processes of a demo.
#[derive(Debug, Subcommand)]
enum Child {
    /// A coordinator of the demo
    #[command(hide = true)]
    Coordinator(leash::Leashed),
    /// An agent of the demo
    #[command(hide = true)]
    Agent(leash::Leashed),
    /// A member of the demo's guarded cluster
    #[command(hide = true)]
    Member(member::MemberArgs),
}

/// Plays the demo, or one of its processes.
pub(crate) fn run(args: DemoArgs, env: &Env) -> Done {
    match args.child {
        Some(Child::Coordinator(child)) => {
            leash::hold(child.leash);
            service::coordinator(&child.config, Some(service::LogFormat::Json), Purpose::Demo)
        }
        Some(Child::Agent(child)) => {
            leash::hold(child.leash);
            service::agent(&child.config, Some(service::LogFormat::Json), Purpose::Demo)
        }
        Some(Child::Member(child)) => member::run(&child),
        None => play(args, env),
    }
}

/// What the demo was asked for.
#[derive(Debug, Clone)]
struct Wishes {
    duration: Option<Duration>,
    asserted: bool,
    keep: Option<PathBuf>,
    seed: u64,
    coordinators: u16,
    port: u16,
}

fn play(args: DemoArgs, env: &Env) -> Done {
    let printer = env.printer;
    let wishes = Wishes {
        duration: args.duration,
        asserted: args.asserted,
        keep: args.keep,
        seed: args.seed,
        coordinators: args.coordinators,
        port: args.port,
    };
    // One thread: a child is told when the thread that started it ends.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::local(LocalReason::DemoFailed, format!("no runtime: {error}")))?;
    runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).map_err(|error| {
            Failure::local(LocalReason::DemoFailed, format!("no signals: {error}"))
        })?;
        // Whichever ends first: dropping the play kills every process and removes the directory.
        let stage = tokio::task::LocalSet::new();
        tokio::select! {
            done = stage.run_until(act(wishes, printer, env)) => done,
            stopped = tokio::signal::ctrl_c() => Err(crate::remote::interrupted(stopped.err())),
            _ = terminate.recv() => Ok(Exit::Terminated),
        }
    })
}

/// From the first process to the summary.
async fn act(wishes: Wishes, printer: Printer, env: &Env) -> Done {
    let began = Instant::now();
    let screen = Screen::new(printer, began);
    let mut cluster = Cluster::prepare(&wishes, env)?;
    screen.banner(&cluster, wishes.seed)?;
    let played = story::play(&mut cluster, &screen, wishes.seed).await;
    let told = match played {
        Ok(told) => told,
        Err(failure) => {
            screen.logs_of(&mut cluster);
            return Err(cluster.keep_after(failure));
        }
    };
    linger(&wishes, began, &screen, &cluster).await?;
    let ending = summary::take(&mut cluster, &told, &screen).await?;
    if !wishes.asserted {
        return Ok(Exit::Ok);
    }
    let report = audit::check(&cluster, &told, &ending)?;
    screen.report(&report)?;
    if report.holds() {
        return Ok(Exit::Ok);
    }
    let broken = report.broken().join(", ");
    let failure = Failure::local(LocalReason::GuaranteeBroken, format!("does not hold: {broken}"));
    Err(cluster.keep_after(failure))
}

/// Leaves the cluster up for the rest of the time asked for, or on a terminal until Ctrl-C.
async fn linger(
    wishes: &Wishes,
    began: Instant,
    screen: &Screen,
    cluster: &Cluster,
) -> Result<(), Failure> {
    let rest = match wishes.duration {
        Some(duration) => duration.saturating_sub(began.elapsed()),
        None if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() => {
            let config = cluster.contexts();
            let text = format!(
                "the cluster stays up; press Enter to end it. Try, elsewhere: \
                 QUORATE_CONFIG={} quorate status",
                config.display()
            );
            screen.tell(Beat::Stays, text)?;
            return enter_or_end().await;
        }
        None => return Ok(()),
    };
    screen.wait_out(rest).await;
    Ok(())
}

/// Waits for a line, or the end of standard input.
async fn enter_or_end() -> Result<(), Failure> {
    use tokio::io::AsyncBufReadExt;
    let mut line = String::new();
    tokio::io::BufReader::new(tokio::io::stdin()).read_line(&mut line).await.map(drop).map_err(
        |error| Failure::local(LocalReason::DemoFailed, format!("standard input: {error}")),
    )
}
