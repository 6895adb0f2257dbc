//! `quorate-bench`: measures, prints a table, writes JSON.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use quorate_bench::growth::{self, Plan};

/// Benchmarks of Quorate.
#[derive(Debug, Parser)]
#[command(name = "quorate-bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What a long log costs: restart, memory, proofs, disk, export
    Growth(GrowthArgs),
}

#[derive(Debug, Args)]
struct GrowthArgs {
    /// Decisions in the longest log
    #[arg(long, default_value_t = 200_000, value_name = "N")]
    decisions: u64,
    /// Shorter logs to compare it with; longer ones than --decisions are left out
    #[arg(long, value_delimiter = ',', default_value = "1000,10000", value_name = "N,…")]
    compare: Vec<u64>,
    /// Keep the deployments here [default: a temporary directory that is removed]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Also write the figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The executable that is measured [default: `quorate` beside this one]
    #[arg(long, value_name = "FILE")]
    quorate: Option<PathBuf>,
}

fn main() -> ExitCode {
    let Cli { command: Command::Growth(args) } = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = runtime.context("no runtime").and_then(|runtime| runtime.block_on(growth(&args)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn growth(args: &GrowthArgs) -> Result<()> {
    let temporary = tempfile::Builder::new().prefix("quorate-bench-").tempdir()?;
    let directory = args.dir.as_deref().unwrap_or(temporary.path());
    std::fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    let mut decisions: Vec<u64> =
        args.compare.iter().copied().filter(|length| *length < args.decisions).collect();
    decisions.push(args.decisions);
    let binary = match &args.quorate {
        Some(binary) => binary.clone(),
        None => beside()?,
    };
    let plan = Plan { decisions, binary, directory: directory.canonicalize()? };
    let report = growth::run(&plan).await?;
    report.print(&mut std::io::stdout().lock())?;
    if let Some(path) = &args.json {
        write(path, &report).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

fn write(path: &Path, report: &quorate_bench::report::Report) -> Result<()> {
    let mut file = File::create(path)?;
    serde_json::to_writer_pretty(&mut file, report)?;
    Ok(file.write_all(b"\n")?)
}

/// `quorate`, built with the same profile.
fn beside() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let binary = own.with_file_name("quorate");
    anyhow::ensure!(
        binary.is_file(),
        "there is no {}: build it first with the same profile: cargo build --release -p quorate",
        binary.display()
    );
    Ok(binary)
}
