//! `quorate status`: everything a person looks at first.

use std::time::Duration;

use clap::Args;
use quorate_proto::pb::v1::GetStatusRequest;

use super::Env;
use crate::Done;
use crate::connect::Session;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::View;
use crate::output::time::parse_span;

/// Arguments of `status`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  quorate status --watch
  quorate status --stale -o json")]
pub(crate) struct StatusArgs {
    /// Look again and again: redraws on a terminal, prints one object a line elsewhere [default
    /// span: 2s]
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "SPAN",
        value_parser = watch_span)]
    watch: Option<Option<Duration>>,
    /// Also compute the state hashes
    #[arg(long)]
    hashes: bool,
    /// With --watch: stop after this many looks
    #[arg(long, value_name = "N", requires = "watch")]
    count: Option<u64>,
}

/// Plain numbers are seconds.
fn watch_span(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => parse_span(text),
    }
}

/// Runs the verb.
pub(crate) async fn run(args: StatusArgs, env: &Env) -> Done {
    let session = env.session()?;
    let Some(span) = args.watch else {
        once(&session, &args, env).await?;
        return Ok(Exit::Ok);
    };
    let span = span.unwrap_or(Duration::from_secs(2)).max(Duration::from_millis(100));
    let mut looks = 0;
    loop {
        if let Err(failure) = once(&session, &args, env).await {
            // A watch outlives a missing quorum: that is when it is looked at.
            env.printer.fail(&failure);
        }
        looks += 1;
        if args.count.is_some_and(|count| looks >= count) {
            return Ok(Exit::Ok);
        }
        tokio::time::sleep(span).await;
    }
}

async fn once(session: &Session, args: &StatusArgs, env: &Env) -> Result<(), Failure> {
    let request = GetStatusRequest { consistency: session.consistency, with_hashes: args.hashes };
    let status = session.client.get_status(request).await?;
    if is_skewed(&status.version, env!("CARGO_PKG_VERSION")) {
        env.printer.say(format!(
            "warning: the coordinator is version {}, this is {}",
            status.version,
            env!("CARGO_PKG_VERSION")
        ));
    }
    if args.watch.is_none() {
        return env.printer.print(&status);
    }
    if env.printer.is_live() {
        let mut paper = env.printer.paper();
        status.draw(&mut paper);
        // Home, then clear each line and what is below: redrawing without a flicker.
        let page = paper.into_text().replace('\n', "\u{1b}[K\n");
        return env.printer.raw(format!("\u{1b}[H{page}\u{1b}[J").as_bytes());
    }
    env.printer.event(&status)
}

/// Whether two versions differ by more than one minor version. What cannot be read is no skew.
fn is_skewed(one: &str, other: &str) -> bool {
    let parse = |version: &str| {
        let mut parts = version.split('.');
        let mut next = || parts.next()?.parse::<u64>().ok();
        Some((next()?, next()?))
    };
    match (parse(one), parse(other)) {
        (Some((major, minor)), Some(theirs)) => major != theirs.0 || minor.abs_diff(theirs.1) > 1,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_minor_versions_work_together_in_silence() {
        for (one, other, skewed) in [
            ("0.1.0", "0.1.9", false),
            ("0.1.0", "0.2.0", false),
            ("0.1.0", "0.3.0", true),
            ("1.0.0", "0.9.0", true),
            ("", "0.1.0", false),
        ] {
            assert_eq!(is_skewed(one, other), skewed, "{one} and {other}");
        }
    }
}
