//! Golden scripts: one scenario per file, one line per event, and under it the machine's answer.
//!
//! `UPDATE_GOLDENFILES=1 cargo test -p quorate-core --test golden` rewrites the answers; review
//! reads them. After every event the world checks what must hold always: considering and applying
//! agree, a snapshot restores to the same bytes, a replay of the leaves with every signature
//! verified gives the same ledger, and no deadline asks for itself.
//!
//! Lines: `# comment`, `charter <line>` before the log begins, `> [+<ms>] <event>`. Times are
//! written as `+<ms>` since the script's start, proposals and keys by their short names.

mod common;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use common::{Checked, Draft, NETWORK, World, at, origin, times};
use quorate_attest::id::{Digest, JournalInstance, KeyName, ProposalId};
use quorate_attest::leaf::Leaf;
use quorate_attest::operator_statement::Automation;
use quorate_attest::refusal::Cause;
use quorate_attest::vote::{Verdict, Vote};
use quorate_core::{Applied, Body, Effect, MachineVersion, Request};

#[test]
fn every_script_answers_as_it_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut scripts = Vec::new();
    collect(&root, &mut scripts);
    scripts.sort();
    assert!(scripts.len() >= 40, "only {} scripts", scripts.len());
    let update = std::env::var_os("UPDATE_GOLDENFILES").is_some();
    let mut failed = Vec::new();
    for path in scripts {
        let text = fs::read_to_string(&path).expect("a script");
        let name = path.strip_prefix(&root).expect("inside").display().to_string();
        let answered = run(&name, &text);
        if answered == text {
            continue;
        }
        if update {
            #[expect(clippy::disallowed_methods, reason = "the test rewrites its own scripts")]
            fs::write(&path, answered).expect("rewritten");
        } else {
            failed.push(format!("--- {name}\n{}", first_difference(&text, &answered)));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, found);
        } else {
            found.push(path);
        }
    }
}

fn first_difference(want: &str, have: &str) -> String {
    let (mut want, mut have) = (want.lines(), have.lines());
    loop {
        match (want.next(), have.next()) {
            (None, None) => return String::new(),
            (a, b) if a == b => {}
            (a, b) => return format!("  want {}\n  have {}", a.unwrap_or("-"), b.unwrap_or("-")),
        }
    }
}

/// Runs a script and writes it anew with the machine's answers.
fn run(name: &str, text: &str) -> String {
    let mut script = Script { world: World::new(Checked::Everything), nonce: 0 };
    let mut out = String::new();
    for line in text.lines() {
        if let Some(event) = line.strip_prefix("> ") {
            // Shown only if the test fails, with what went wrong below it.
            eprintln!("{name}: {event}");
            let answer = script.event(name, event);
            writeln!(out, "> {event}").expect("text");
            for line in answer.lines() {
                writeln!(out, "  {line}").expect("text");
            }
        } else if line.is_empty() || line.starts_with('#') {
            writeln!(out, "{line}").expect("text");
        } else if let Some(change) = line.strip_prefix("charter ") {
            script.world.charter_changes.push(change.to_owned());
            writeln!(out, "{line}").expect("text");
        } else {
            assert!(line.starts_with("  "), "{name}: {line:?} is no line of a script");
        }
    }
    out
}

struct Script {
    world: World,
    nonce: u8,
}

impl Script {
    fn event(&mut self, name: &str, event: &str) -> String {
        let mut words: Vec<&str> = event.split(' ').collect();
        if let Some(step) = words[0].strip_prefix('+') {
            self.world.now += step.parse::<u64>().expect("milliseconds");
            words.remove(0);
        }
        if let Some(step) = words[0].strip_prefix('-') {
            self.world.now -= step.parse::<u64>().expect("milliseconds");
            words.remove(0);
        }
        let answer = match words[0] {
            "deadline" => match self.world.machine.next_deadline() {
                Some(time) => format!("{time}"),
                None => "none".to_owned(),
            },
            "show" => {
                let id = self.world.id(words[1]);
                match self.world.machine.standing(self.world.time(), &id) {
                    Some(standing) => standing.to_string(),
                    None => "not open".to_owned(),
                }
            }
            "remedy" => {
                let body = self.body(name, &words[1..]);
                let applied = self.world.machine.consider(self.world.time(), &body);
                let rejection = applied.outcome.expect_err("a rejection");
                format!("{}: {}", rejection.reason(), rejection.remedy().unwrap_or("-".to_owned()))
            }
            "consider" => {
                let before = self.world.machine.state_hash();
                let body = self.body(name, &words[1..]);
                let applied = self.world.machine.consider(self.world.time(), &body);
                assert_eq!(before, self.world.machine.state_hash(), "considering changes nothing");
                written(&applied)
            }
            "contradicts" => {
                let Body::Observe(signed) = self.body(name, &words[1..]) else {
                    panic!("{name}: only observations contradict")
                };
                let cluster = signed.statement.cluster.clone();
                let now = self.world.time();
                let ledger = self.world.machine.state().ledger().expect("founded");
                let number = ledger.running(&cluster).expect("it runs").newest();
                let held = [signed.statement];
                match self.world.machine.contradiction(now, &cluster, number, &held) {
                    Some(rejection) => rejection.to_string(),
                    None => "no".to_owned(),
                }
            }
            "request" => {
                let body = self.body(name, &words[2..]);
                let request = Request {
                    id: [words[1].parse().expect("an id"); 16],
                    caller: common::key_name("operator", "ana"),
                    digest: Digest::of(words[2..].join(" ").as_bytes()),
                };
                written(&self.world.apply_request(body, Some(request)))
            }
            _ => {
                let body = self.body(name, &words);
                written(&self.world.apply(body))
            }
        };
        self.shorten(&answer)
    }

    /// Short names for what is long and says nothing.
    fn shorten(&self, answer: &str) -> String {
        let mut answer = answer.to_owned();
        for (name, proposal) in &self.world.proposals {
            answer = answer.replace(&proposal.id().to_string(), name);
        }
        answer = answer.replace(&origin().to_string(), "ORIGIN");
        for role in ["agent", "operator", "coordinator"] {
            answer = answer.replace(&format!("{NETWORK}/{role}/"), "");
        }
        for instance in 0..8_u8 {
            let long = JournalInstance::from_bytes([instance; 16]).to_string();
            answer = answer.replace(&long, &format!("journal-{instance}"));
        }
        times::relative(&answer)
    }

    fn body(&mut self, name: &str, words: &[&str]) -> Body {
        let world = &self.world;
        let option = |key: &str| words.iter().position(|word| *word == key).map(|at| words[at + 1]);
        match words {
            ["found"] => Body::Found(world.first_charter()),
            ["open", alias, kind, target, "by", by, rest @ ..] => {
                let mut draft = Draft::new(kind, target, by);
                options(&mut draft, rest);
                if !world.proposals.contains_key(*alias) {
                    self.nonce += 1;
                    let proposal = world.draft(&draft, self.nonce);
                    self.world.proposals.insert((*alias).to_owned(), proposal);
                }
                Body::Open(self.world.proposals[*alias].clone())
            }
            ["vote", alias, verdict, by, ..] => {
                let verdict: Verdict = verdict.parse().expect("a verdict");
                match option("expires") {
                    None => world.vote(alias, verdict, &by.split('+').collect::<Vec<_>>()),
                    Some(expires) => {
                        let mut vote = Vote::on(&world.proposals[*alias], verdict);
                        vote.expires = at(expires.parse().expect("milliseconds"));
                        Body::Vote(common::signer(by).signed(vote))
                    }
                }
            }
            ["veto", alias, by] => world.veto(alias, by),
            ["observe", by, sequence, facts @ ..] => {
                let cluster = world.charter().agent(&common::key_name("agent", by));
                let cluster = cluster.map_or("c".to_owned(), |line| line.cluster.to_string());
                let number = |key| option(key).map_or(0, |ms| ms.parse().expect("milliseconds"));
                let age: i64 = number("age") - number("ahead");
                let facts: Vec<&str> = facts
                    .iter()
                    .take_while(|word| !["age", "ahead"].contains(word))
                    .copied()
                    .collect();
                world.observe(&cluster, by, sequence.parse().expect("a number"), age, &facts)
            }
            ["forge", by, sequence, facts @ ..] => {
                world.forge(by, sequence.parse().expect("a number"), facts)
            }
            ["claim", by, number, "journal", instance, sequence, ..] => world.claim(
                option("cluster").unwrap_or("c"),
                by,
                number.parse().expect("a number"),
                instance.parse().expect("an instance"),
                sequence.parse().expect("a sequence"),
                option("process").map_or(0, |nonce| nonce.parse().expect("a nonce")),
            ),
            ["report", alias, number, by, answer, effect] => {
                world.report(alias, by, number.parse().expect("a number"), answer, effect)
            }
            _ => self.signed_body(name, words),
        }
    }

    /// What operators and coordinators sign, and the entries nobody signs.
    fn signed_body(&mut self, name: &str, words: &[&str]) -> Body {
        let world = &self.world;
        let option = |key: &str| words.iter().position(|word| *word == key).map(|at| words[at + 1]);
        match words {
            ["override", rule, alias, by, ..] => {
                let lasts = option("for").map_or(600_000, |ms| ms.parse().expect("milliseconds"));
                world.override_of(rule, alias, lasts, &by.split('+').collect::<Vec<_>>())
            }
            ["act", act, subject, by, ..] => {
                let subject = self.subject(act, subject);
                world.act(option("cluster").unwrap_or("c"), act, &subject, by)
            }
            ["pause", cluster, by, ..] => {
                let until = option("for").map(|ms| ms.parse().expect("milliseconds"));
                world.pause(cluster, Automation::Paused, until, by)
            }
            ["run", cluster, by] => world.pause(cluster, Automation::Running, None, by),
            ["amend", by, change @ ..] => {
                let changes = [change.join(" ")];
                world.amendment(&changes, &by.split('+').collect::<Vec<_>>())
            }
            ["refuse", number, cause, by] => {
                let cause: Cause = cause.parse().expect("a cause");
                let number = number.parse().expect("a number");
                world.refusals("c", number, cause, &by.split('+').collect::<Vec<_>>())
            }
            ["continue", number] => Body::Continue {
                cluster: "c".parse().expect("a cluster"),
                number: number.parse().expect("a number"),
            },
            ["support", coordinator, version] => Body::Support {
                coordinator: coordinator.parse().expect("an id"),
                version: MachineVersion(version.parse().expect("a version")),
            },
            ["tick"] => Body::Tick,
            other => panic!("{name}: {other:?} is no event"),
        }
    }

    fn subject(&self, act: &str, subject: &str) -> String {
        match act {
            "ack" if !subject.contains('.') => self.world.id(subject).to_string(),
            "enrol" => {
                let (agent, instance) = subject.split_once('+').expect("agent+journal");
                let agent: KeyName = common::key_name("agent", agent);
                let instance =
                    JournalInstance::from_bytes([instance.parse().expect("a journal"); 16]);
                format!("{agent}+{instance}")
            }
            _ => subject.to_owned(),
        }
    }
}

/// `executors a,b`, `param <line with _ for blanks>`, `incident i`, `expires ms`, `cluster d`.
fn options(draft: &mut Draft, words: &[&str]) {
    for pair in words.chunks(2) {
        let [key, value] = pair else { panic!("{words:?}: an option has a value") };
        match *key {
            "executors" => {
                draft.executors =
                    value.split(',').filter(|id| !id.is_empty()).map(String::from).collect();
            }
            "param" => draft.params.push(value.replace('_', " ")),
            "incident" => draft.incident = (*value).to_owned(),
            "expires" => draft.expires = value.parse().expect("milliseconds"),
            "cluster" => draft.cluster = (*value).to_owned(),
            other => panic!("{other} is no option"),
        }
    }
}

/// The answer, and what left the machine.
fn written(applied: &Applied) -> String {
    let mut text = match &applied.outcome {
        Ok(outcome) => format!("{outcome}\n"),
        Err(rejection) => format!("{} {rejection}\n", rejection.reason()),
    };
    for effect in &applied.effects {
        match effect {
            Effect::Leaf { index, bytes } => {
                writeln!(text, "leaf {index} {}", leaf_line(bytes)).expect("text");
            }
            Effect::Raise(alarm) => writeln!(text, "raise {alarm}").expect("text"),
        }
    }
    text
}

fn leaf_line(bytes: &[u8]) -> String {
    match Leaf::parse(bytes).expect("a leaf") {
        Leaf::Charter(signed) => format!("charter, epoch {}", signed.statement.epoch),
        Leaf::Decision(decision) => {
            let id: ProposalId = decision.proposal.id();
            let by: Vec<&str> =
                decision.votes.lines.iter().map(|line| line.name.as_str()).collect();
            let continues =
                decision.continues.map_or(String::new(), |number| format!(" continues {number}"));
            format!(
                "decision {} {} {} {id}{continues}, from {} until {}, by {}",
                decision.token(),
                decision.proposal.kind,
                decision.proposal.target,
                decision.not_before,
                decision.expires,
                by.join(" ")
            )
        }
        Leaf::Void(void) => format!("void {} {}, {}", void.cause, void.proposal.id(), void.detail),
        Leaf::Outcome(outcome) => {
            let report = &outcome.report.statement;
            format!(
                "outcome {} by {}: {}, {}",
                outcome.number, outcome.agent, report.answer, report.effect
            )
        }
        Leaf::Evidence(evidence) => format!("evidence {} {}", evidence.kind, evidence.key.name()),
        Leaf::Override(signed) => format!("override {}", signed.statement.rule),
        Leaf::Pause(signed) => format!("automation {}", signed.statement.automation),
        Leaf::Act(signed) => format!("act {}", signed.statement.act),
        Leaf::Incarnation(_) => "incarnation".to_owned(),
    }
}
