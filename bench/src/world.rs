//! The deployment under load: one charter, the keys of its agents and operators.
//!
//! The charter is the one `quorate init` writes, with budgets that never get in the way and no
//! cooldown: a log of 200,000 decisions is years of a real deployment, made in minutes.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result};
use quorate_attest::charter::{BudgetLimit, Charter};
use quorate_attest::id::{ClusterId, Digest, KeyName, MemberId};
use quorate_attest::key::{CosignSigner, NoteSigner, SecretKey};
use quorate_attest::log_time::Span;
use quorate_attest::signed::Signed;
use quorate_attest::text::Statement as _;
use quorate_proto::key_file;
use zeroize::Zeroizing;

/// The members of the guarded cluster; one agent is beside each.
pub const MEMBERS: [&str; 5] = ["n1", "n2", "n3", "n4", "n5"];
/// The people.
pub const OPERATORS: [&str; 3] = ["ana", "ben", "chen"];
/// The guarded cluster.
pub const CLUSTER: &str = "bench";
/// What all names begin with.
pub const NETWORK: &str = "bench.example/growth";

/// Attempts per kind, per target, and the quiet in milliseconds after which a success clears them:
/// shorter than the time between two decisions on one target.
const RETRY_CAP: &str = "3/5/1000";

/// An agent, with the key it signs observations, votes, claims and reports with.
pub struct Agent {
    /// Its member.
    pub member: MemberId,
    /// Its key name.
    pub name: KeyName,
    /// Its key.
    pub signer: NoteSigner,
}

/// One charter, one cluster, its agents.
pub struct World {
    /// The charter of epoch 1, signed by every operator.
    pub charter: Signed<Charter>,
    /// The guarded cluster.
    pub cluster: ClusterId,
    /// In the order of [`MEMBERS`].
    pub agents: Vec<Agent>,
}

impl World {
    /// A world whose keys derive from public strings: nothing is read or written.
    ///
    /// # Errors
    /// Never, unless the text below is no charter any more.
    pub fn of_fixed_keys() -> Result<Self> {
        let operators = OPERATORS
            .iter()
            .map(|id| fixed_signer("operator", id))
            .collect::<Result<Vec<NoteSigner>>>()?;
        let charter = Charter::parse(&fixed_text()?).context("the fixed charter")?;
        let agents = MEMBERS
            .iter()
            .map(|member| Agent::new(member, fixed_signer("agent", member)?))
            .collect::<Result<Vec<Agent>>>()?;
        Ok(Self { charter: sign(charter, &operators), cluster: CLUSTER.parse()?, agents })
    }

    /// The world of a directory that `quorate init` has written, its charter replaced everywhere by
    /// one with generous budgets.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn of_directory(root: &Path) -> Result<Self> {
        let path = root.join("charter.leaf");
        let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
        let mut charter =
            Signed::<Charter>::parse(&bytes).context("the charter of init")?.statement;
        for line in &mut charter.budget {
            line.limit = generous();
        }
        for line in charter.rule.iter_mut().filter(|line| line.rule.as_str() == "retry-cap") {
            line.value = RETRY_CAP.parse()?;
        }
        let network = charter.origin.network.clone();
        let load = |role: &str, id: &str, file: &Path| -> Result<NoteSigner> {
            let secret = key_file::load(file)?;
            Ok(NoteSigner::new(format!("{network}/{role}/{id}").parse()?, secret))
        };
        let operators = OPERATORS
            .iter()
            .map(|id| load("operator", id, &root.join("operators").join(id).join("key.pem")))
            .collect::<Result<Vec<NoteSigner>>>()?;
        let agents = MEMBERS
            .iter()
            .map(|member| {
                let file = root.join(format!("agent-{member}")).join("vote.pem");
                Agent::new(member, load("agent", member, &file)?)
            })
            .collect::<Result<Vec<Agent>>>()?;
        let charter = sign(charter, &operators);
        for folder in folders(root)? {
            let file = folder.join("charter.leaf");
            if file.exists() {
                std::fs::write(&file, charter.to_bytes())
                    .with_context(|| file.display().to_string())?;
            }
        }
        Ok(Self { charter, cluster: CLUSTER.parse()?, agents })
    }
}

impl Agent {
    fn new(member: &str, signer: NoteSigner) -> Result<Self> {
        Ok(Self { member: member.parse()?, name: signer.vkey().name().clone(), signer })
    }
}

/// The deployment's own directory and every party's.
fn folders(root: &Path) -> Result<BTreeSet<std::path::PathBuf>> {
    let mut found = BTreeSet::from([root.to_owned()]);
    for entry in std::fs::read_dir(root).with_context(|| root.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            found.insert(path);
        }
    }
    Ok(found)
}

fn generous() -> BudgetLimit {
    BudgetLimit { burst: 1_000, period: Span::from_millis(1), cooldown: Span::from_millis(0) }
}

fn sign(charter: Charter, operators: &[NoteSigner]) -> Signed<Charter> {
    let lines = operators.iter().map(|operator| operator.sign(&charter)).collect();
    Signed::new(charter, lines)
}

/// The key of `name` in a world of fixed keys. It protects nothing.
#[must_use]
pub fn fixed_secret(name: &KeyName) -> SecretKey {
    let seed = Digest::of(format!("quorate benchmark key, do not use: {name}").as_bytes());
    SecretKey::from_seed(Zeroizing::new(*seed.as_bytes()))
}

fn fixed_name(role: &str, id: &str) -> Result<KeyName> {
    Ok(format!("{NETWORK}/{role}/{id}").parse()?)
}

fn fixed_signer(role: &str, id: &str) -> Result<NoteSigner> {
    let name = fixed_name(role, id)?;
    let secret = fixed_secret(&name);
    Ok(NoteSigner::new(name, secret))
}

fn fixed_text() -> Result<String> {
    let mut lines = vec![
        "quorate-charter/v1".to_owned(),
        format!("origin {NETWORK}/1-000102030405060708090a0b0c0d0e0f"),
        "epoch 1\nprevious none\nfaults 0\nthreshold 2\nskew 2000\nmax-age 600000".to_owned(),
    ];
    for id in ["1", "2", "3"] {
        let name = fixed_name("coordinator", id)?;
        let secret = fixed_secret(&name);
        let signer = CosignSigner::new(name, secret);
        lines.push(format!("coordinator {}", signer.vkey()));
    }
    for id in OPERATORS {
        lines.push(format!("operator - {}", fixed_signer("operator", id)?.vkey()));
    }
    lines.push(format!("cluster {CLUSTER} process closed"));
    for member in MEMBERS {
        lines.push(format!("member {CLUSTER} {member} -"));
    }
    for member in MEMBERS {
        let key = fixed_signer("agent", member)?;
        lines.push(format!("agent {CLUSTER} {member} observer {}", key.vkey()));
    }
    lines.push("class * charter 1/2 2 2 0 0\nclass * cluster 2/3 2 0 0 600000".to_owned());
    lines.push("class * irreversible 2/3 2 2 300000 600000".to_owned());
    lines.push("class * local 1/3 2 0 0 600000".to_owned());
    for limited in ["cluster", "global", "irreversible", "local", "target"] {
        lines.push(format!("budget * {limited} 1000 1 0"));
    }
    lines.push("rule * ban-cap 1\nrule * grace 600000\nrule * min-healthy 3".to_owned());
    lines.push(format!("rule * retry-cap {RETRY_CAP}\nrule * storm 50/60000\n"));
    Ok(lines.join("\n"))
}
