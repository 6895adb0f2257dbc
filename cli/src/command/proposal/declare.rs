//! The words of a declaration: `--survivor`, `--dead`, `--fenced`, `--disk` (R12).

use clap::Args;
use quorate_attest::id::MemberId;
use quorate_attest::proposal::Param;

use crate::failure::Failure;

/// Who starts alone, who is dead, who is fenced: together the cluster's whole roster.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct DeclareArgs {
    /// The one member that may start alone
    #[arg(long, value_name = "MEMBER", help_heading = "Declaration")]
    pub(super) survivor: Option<MemberId>,
    /// A dead member, and how it is known to act no longer: attest:TEXT, stop:DIGEST, proof:DIGEST
    #[arg(long, value_name = "MEMBER=HOW", requires = "survivor", help_heading = "Declaration")]
    dead: Vec<String>,
    /// A member that is alive and not chosen, and how it was stopped
    #[arg(long, value_name = "MEMBER=HOW", requires = "survivor", help_heading = "Declaration")]
    fenced: Vec<String>,
    /// What the disk of a dead or fenced member says of itself, if it is known
    #[arg(long, value_name = "MEMBER=DIGEST", requires = "survivor", help_heading = "Declaration")]
    disk: Vec<String>,
}

impl DeclareArgs {
    /// The parameters; none without a survivor. An identity that is not known is `-`.
    pub(super) fn params(&self) -> Result<Vec<Param>, Failure> {
        let Some(survivor) = &self.survivor else { return Ok(Vec::new()) };
        let identities = pairs("--disk", &self.disk)?;
        let mut lines = vec![format!("survivor {survivor}")];
        for (key, flag, typed) in
            [("dead", "--dead", &self.dead), ("fenced", "--fenced", &self.fenced)]
        {
            for (member, how) in pairs(flag, typed)? {
                let known = identities.iter().find(|(of, _)| *of == member);
                let identity = known.map_or("-", |(_, identity)| *identity);
                lines.push(format!("{key} {member} {how}"));
                lines.push(format!("identity {member} {identity}"));
            }
        }
        let param =
            |line: String| line.parse().map_err(|error| Failure::usage(format!("{line}: {error}")));
        lines.into_iter().map(param).collect()
    }
}

fn pairs<'a>(flag: &str, typed: &'a [String]) -> Result<Vec<(&'a str, &'a str)>, Failure> {
    let pair = |word: &'a String| {
        word.split_once('=')
            .ok_or_else(|| Failure::usage(format!("{flag} {word}: write it as MEMBER=VALUE")))
    };
    typed.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(dead: &[&str], disk: &[&str]) -> DeclareArgs {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        DeclareArgs {
            survivor: Some("n1".parse().unwrap()),
            dead: words(dead),
            fenced: vec!["n3=attest:power-off".to_owned()],
            disk: words(disk),
        }
    }

    #[test]
    fn each_dead_or_fenced_member_has_its_identity_line() {
        let params = args(&["n2=attest:burnt"], &[]).params().unwrap();
        let lines: Vec<String> = params.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "survivor n1",
                "dead n2 attest:burnt",
                "identity n2 -",
                "fenced n3 attest:power-off",
                "identity n3 -"
            ]
        );
        let known = args(&["n2=attest:burnt"], &["n3=sha256:00"]).params().unwrap();
        assert_eq!(known[4].to_string(), "identity n3 sha256:00");
        let refused = args(&["n2"], &[]).params().unwrap_err();
        assert_eq!(refused.message, "--dead n2: write it as MEMBER=VALUE");
        assert!(DeclareArgs::default().params().unwrap().is_empty());
    }
}
