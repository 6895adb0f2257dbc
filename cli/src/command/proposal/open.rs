//! `proposal create`: what it would mean, the question, the act, and waiting for its end.

use std::time::Duration;

use quorate_attest::remediation::Class;
use quorate_attest::text::Statement;
use quorate_proto::error_code::ErrorCode;
use quorate_proto::pb::v1::watch_proposals_response::Event;
use quorate_proto::pb::v1::{
    Assessment, Decision, DecisionRef, DecisionState, Expectations, GetDecisionRequest,
    OpenProposalRequest, OpenProposalResponse, Proposal, ProposalState, Refusal, View,
    WatchProposalsRequest,
};

use super::{CreateArgs, Draft, open_draft};
use crate::Done;
use crate::command::Env;
use crate::confirm::{Danger, Question};
use crate::connect::Session;
use crate::exit::Exit;
use crate::failure::{Failure, LocalReason};
use crate::output::time::span;
use crate::signing::sentence;
use crate::view::{ms, next_votes, progress, short, word};

/// How often a decision's state is looked at.
const LOOK: Duration = Duration::from_millis(300);

/// How much is at stake in a class.
pub(in crate::command) fn danger_of(class: Class) -> Danger {
    match class {
        Class::Local => Danger::Local,
        Class::Cluster => Danger::Cluster,
        Class::Irreversible | Class::Charter | Class::Abandon => Danger::Irreversible,
    }
}

/// The question for an act, from the coordinators' own assessment.
pub(in crate::command) fn question(
    class: Class,
    cluster: &str,
    act: String,
    assessment: &Assessment,
) -> Question {
    let mut impact = vec![format!(
        "cluster     {cluster}: {} of {} members answer",
        assessment.answering, assessment.members
    )];
    if !assessment.fenced.is_empty() {
        impact.push(format!("would fence {}", assessment.fenced.join(" ")));
    }
    if let Some(tally) = &assessment.tally {
        impact.push(format!("votes       {}", progress(tally)));
    }
    if class == Class::Irreversible {
        impact.push("undo        none".to_owned());
    }
    Question {
        danger: danger_of(class),
        cluster: cluster.to_owned(),
        act,
        impact,
        answering: (class == Class::Irreversible)
            .then_some((assessment.answering, assessment.members)),
    }
}

pub(super) async fn create(args: CreateArgs, env: &Env) -> Done {
    let session = env.session()?;
    let charter = session.charter().await?;
    let proposer =
        session.identity.as_ref().map(quorate_proto::identity::Identity::key_name).ok_or_else(
            || Failure::local(LocalReason::ConfigInvalid, "proposing needs an identity"),
        )?;
    let proposal = open_draft(draft(&args, &session, &charter)?, &charter, proposer)?;
    let text = proposal.text().into_bytes();
    let request = |validate_only, answering, request_id: String| OpenProposalRequest {
        text: text.clone(),
        validate_only,
        request_id,
        expect: Some(Expectations { answering, ..args.expect.message(Some(&args.confirmation)) }),
    };
    let first = request(true, args.expect.expect_answering, String::new());
    let assessed = session.client.open_proposal(first).await?;
    if args.mutation.dry_run {
        env.printer.print(&assessed)?;
        return Ok(exit_of(assessed.assessment.as_ref()));
    }
    let assessment = assessed.assessment.clone().unwrap_or_default();
    let act = format!("{} {}", proposal.kind, proposal.target);
    let asked = question(proposal.kind.class(), proposal.cluster.as_str(), act, &assessment);
    let answering = asked.settle(&args.confirmation, args.expect.expect_answering, &env.printer)?;
    let sent = request(false, answering, args.mutation.request_id());
    let response = session.client.open_proposal(sent).await?;
    report(&response, &session.context.contexts, env)?;
    match (args.wait.span(), &response.proposal) {
        (Some(limit), Some(proposal)) => wait_for(&session, &proposal.id, limit, env).await,
        _ => Ok(Exit::Ok),
    }
}

fn draft(
    args: &CreateArgs,
    session: &Session,
    charter: &quorate_attest::charter::Charter,
) -> Result<Draft, Failure> {
    let cluster = session.cluster(args.cluster.as_ref(), charter)?;
    let target = args.target.clone().unwrap_or_else(|| format!("cluster:{cluster}"));
    let mut params: Vec<_> = args
        .params
        .iter()
        .map(|param| {
            let wrong = || Failure::usage(format!("--param {param}: write it as KEY=VALUE"));
            let (key, value) = param.split_once('=').ok_or_else(wrong)?;
            format!("{key} {value}").parse().map_err(|_| wrong())
        })
        .collect::<Result<_, Failure>>()?;
    params.extend(args.declare.params()?);
    let evidence = args
        .evidence
        .iter()
        .map(|digest| {
            digest.parse().map_err(|error| Failure::usage(format!("--evidence {digest}: {error}")))
        })
        .collect::<Result<_, Failure>>()?;
    Ok(Draft {
        kind: args.kind,
        target: target
            .parse()
            .map_err(|error| Failure::usage(format!("target {target}: {error}")))?,
        cluster,
        reason: sentence("--reason", &args.reason)?,
        incident: args.incident.clone(),
        params,
        executors: args.executors.clone(),
        evidence,
        expires: args.expires,
    })
}

/// Prints the new proposal, and the lines that the missing operators paste.
fn report(response: &OpenProposalResponse, contexts: &[String], env: &Env) -> Result<(), Failure> {
    env.printer.print(response)?;
    if let Some(proposal) = &response.proposal {
        let lines = next_votes(proposal, contexts);
        if !lines.is_empty() {
            env.printer.say("Next, for each operator whose vote is missing:");
        }
        for line in lines {
            env.printer.say(format!("  {line}"));
        }
    }
    Ok(())
}

/// The code that the real call under `--wait` would end with: the first thing that blocks it.
fn exit_of(assessment: Option<&Assessment>) -> Exit {
    let blocks = assessment.map(|assessment| assessment.blocks.as_slice()).unwrap_or_default();
    blocks.first().map_or(Exit::Ok, refusal_exit)
}

fn refusal_exit(refusal: &Refusal) -> Exit {
    ErrorCode::from_reason(&refusal.reason).map_or(Exit::Precondition, |code| code.exit().into())
}

/// Waits until the proposal has ended and its decision, if it became one, has an outcome.
pub(in crate::command) async fn wait_for(
    session: &Session,
    id: &str,
    limit: Duration,
    env: &Env,
) -> Done {
    let waited = async {
        match until_ended(session, id, env).await? {
            Ended::Decided(of) => until_outcome(session, of, View::Basic, env).await,
            Ended::Superseded => Ok(Exit::Ok),
            Ended::WithoutEffect => Ok(Exit::Negative),
        }
    };
    within(limit, waited, || format!("quorate proposal show {}", short(id))).await
}

/// Waits until the decision has an outcome.
pub(in crate::command) async fn wait_for_outcome(
    session: &Session,
    of: DecisionRef,
    limit: Duration,
    env: &Env,
) -> Done {
    let help = format!("quorate decision show {}/{}", of.cluster, of.number);
    within(limit, until_outcome(session, of, View::Full, env), || help).await
}

/// What is waited for, or that it took too long and what to look at.
async fn within(
    limit: Duration,
    waited: impl Future<Output = Done>,
    help: impl FnOnce() -> String,
) -> Done {
    tokio::time::timeout(limit, waited).await.unwrap_or_else(|_| {
        let after = humantime::format_duration(limit);
        let late = format!("not ended after {after}");
        Err(Failure::local(LocalReason::WaitTimedOut, late).help(help()))
    })
}

/// How a proposal ended.
enum Ended {
    Decided(DecisionRef),
    Superseded,
    WithoutEffect,
}

/// Prints the progress on each change until the proposal has ended.
async fn until_ended(session: &Session, id: &str, env: &Env) -> Result<Ended, Failure> {
    let mut watch = session.client.watch(WatchProposalsRequest {
        id: id.to_owned(),
        view: View::Basic.into(),
        ..WatchProposalsRequest::default()
    });
    let mut last = String::new();
    loop {
        let Some(Event::Proposal(proposal)) = watch.next().await?.event else { continue };
        let line = progress_line(&proposal);
        if line != last {
            env.printer.say(&line);
            last = line;
        }
        match ProposalState::try_from(proposal.state) {
            Ok(ProposalState::Decided) => {
                let (cluster, number) = (proposal.cluster, proposal.decision_number);
                return Ok(Ended::Decided(DecisionRef { cluster, number }));
            }
            Ok(ProposalState::Superseded) => return Ok(Ended::Superseded),
            Ok(
                ProposalState::Rejected
                | ProposalState::Vetoed
                | ProposalState::Withdrawn
                | ProposalState::Expired
                | ProposalState::EpochEnded,
            ) => return Ok(Ended::WithoutEffect),
            Ok(ProposalState::Open | ProposalState::Approved | ProposalState::Unspecified)
            | Err(_) => {}
        }
    }
}

/// Prints each change until the decision has an outcome: 0 if it was effective, else 3.
async fn until_outcome(session: &Session, mut of: DecisionRef, view: View, env: &Env) -> Done {
    let mut last = DecisionState::Unspecified;
    loop {
        let request = GetDecisionRequest {
            decision: Some(of.clone()),
            consistency: session.consistency,
            view: view.into(),
        };
        let response = session.client.get_decision(request).await?;
        let state = response.decision.as_ref().map(Decision::state).unwrap_or_default();
        if state != last {
            last = state;
            let word = word!(DecisionState, i32::from(state), "DECISION_STATE_");
            env.printer.say(format!("decision {}/{}  {word}", of.cluster, of.number));
        }
        // The same action goes on under the next number, which will have the outcome.
        let next = response.decision.as_ref().map_or(0, |decision| decision.continued_by);
        if next > 0 {
            of.number = next;
            continue;
        }
        let exit = match state {
            DecisionState::Effective => Some(Exit::Ok),
            DecisionState::Ineffective
            | DecisionState::Harmful
            | DecisionState::Abandoned
            | DecisionState::Voided
            | DecisionState::None => Some(Exit::Negative),
            DecisionState::Decided
            | DecisionState::Certified
            | DecisionState::Executing
            | DecisionState::Inconclusive
            | DecisionState::Continued
            | DecisionState::Unspecified => None,
        };
        if let Some(exit) = exit {
            env.printer.print(&response)?;
            return Ok(exit);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// `votes 2/3 (of 4)  proposal 9f3c41…  expires in 4m12s`.
fn progress_line(proposal: &Proposal) -> String {
    let tally = proposal.tally.as_ref().map(progress).unwrap_or_default();
    let mut line = format!("votes {tally}  proposal {}", short(&proposal.id));
    for refusal in &proposal.waiting_for {
        line += &format!("  waiting: {}", refusal.reason);
        if let Some(next) = ms(refusal.next_allowed.as_ref()) {
            line += &format!(", next allowed at {}", crate::output::time::rfc3339(next));
        }
    }
    if let Some(expires) = ms(proposal.expires.as_ref()) {
        let now = crate::output::time::now_ms();
        line += &format!("  expires in {}", span(expires.saturating_sub(now)));
    }
    if !proposal.token.is_empty() {
        line += &format!("  → decision {}, token {}", proposal.decision_number, proposal.token);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assessment(reasons: &[&str]) -> Assessment {
        let blocks = reasons
            .iter()
            .map(|reason| Refusal { reason: (*reason).to_owned(), ..Refusal::default() })
            .collect();
        Assessment { blocks, ..Assessment::default() }
    }

    #[test]
    fn a_dry_run_ends_with_the_code_of_the_first_thing_that_blocks_the_real_call() {
        for (reasons, exit) in [
            (&[][..], Exit::Ok),
            (&["BUDGET_EXHAUSTED", "SLOT_BUSY"], Exit::RateLimited),
            (&["COOLDOWN"], Exit::RateLimited),
            (&["RULE_REFUSED", "BUDGET_EXHAUSTED"], Exit::Precondition),
            (&["ROLE_NOT_ALLOWED"], Exit::NotAuthorised),
            (&["A_REASON_OF_TOMORROW"], Exit::Precondition),
        ] {
            assert_eq!(exit_of(Some(&assessment(reasons))), exit, "{reasons:?}");
        }
    }
}
