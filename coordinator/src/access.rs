//! Who calls, and what they may: identity → role → method. Deny by default.
//!
//! A certificate only *admits*; authority is the signed text. A test walks the descriptor set and
//! fails for a method without a row.

use quorate_attest::id::NetworkName;
use quorate_proto::{
    error_code::ErrorCode,
    identity::{
        Identity,
        Role::{self, Agent, Coordinator, Operator, Reader},
    },
    problem::Problem,
};
use rustls::pki_types::CertificateDer;

/// Who a connection belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// No certificate was shown.
    Anonymous,
    /// The certificate, signed by our authority, names this identity.
    Known(Identity),
    /// The certificate is signed by our authority but names no identity of ours.
    Refused {
        /// Why not: no URI name, two of them, a foreign form.
        why: String,
    },
}

impl Caller {
    /// The caller of a TLS session with this chain, which rustls has verified.
    pub fn of(chain: Option<&[CertificateDer<'_>]>) -> Self {
        match chain.and_then(<[_]>::first) {
            None => Self::Anonymous,
            Some(leaf) => match Identity::of_certificate(leaf) {
                Ok(identity) => Self::Known(identity),
                Err(refused) => Self::Refused { why: refused.to_string() },
            },
        }
    }

    /// The Raft node id of a coordinator of `network`.
    pub fn coordinator(&self, network: &NetworkName) -> Option<u64> {
        match self {
            Self::Known(identity) if identity.network() == network => identity.node_id(),
            Self::Known(_) | Self::Anonymous | Self::Refused { .. } => None,
        }
    }
}

/// What a path admits.
#[derive(Debug, Clone, Copy)]
pub enum Admits {
    /// Everybody, without a certificate.
    Anyone,
    /// These roles.
    Roles(&'static [Role]),
}

/// Everybody with a certificate of the deployment but the webhook's.
const READERS: &[Role] = &[Coordinator, Agent, Operator, Reader];
const OPERATORS: &[Role] = &[Operator];
const AGENTS: &[Role] = &[Agent];
const PROPOSERS: &[Role] = &[Agent, Operator];
const COORDINATORS: &[Role] = &[Coordinator];

/// Every path of the two ports and who may use it, alphabetical by service.
#[rustfmt::skip]
pub const PATHS: &[(&str, Admits)] = &[
    ("/grpc.health.v1.Health/Check", Admits::Anyone),
    ("/grpc.health.v1.Health/Watch", Admits::Anyone),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Admits::Roles(READERS)),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Admits::Roles(READERS)),
    ("/quorate.raft.v1.Exchange/Fetch", Admits::Roles(COORDINATORS)),
    ("/quorate.raft.v1.Exchange/Offer", Admits::Roles(COORDINATORS)),
    ("/quorate.raft.v1.Exchange/OwnHead", Admits::Roles(COORDINATORS)),
    ("/quorate.raft.v1.Raft/PreVote", Admits::Roles(COORDINATORS)),
    ("/quorate.raft.v1.Raft/Propose", Admits::Roles(COORDINATORS)),
    ("/quorate.raft.v1.Raft/ReadIndex", Admits::Roles(COORDINATORS)),
    ("/quorate.raft.v1.Raft/Snapshot", Admits::Roles(COORDINATORS)),
    ("/quorate.raft.v1.Raft/StreamAppend", Admits::Roles(COORDINATORS)),
    ("/quorate.raft.v1.Raft/TransferLeader", Admits::Roles(COORDINATORS)),
    ("/quorate.raft.v1.Raft/Vote", Admits::Roles(COORDINATORS)),
    ("/quorate.v1.Agents/Claim", Admits::Roles(AGENTS)),
    ("/quorate.v1.Agents/ListAgents", Admits::Roles(READERS)),
    ("/quorate.v1.Agents/ListFacts", Admits::Roles(READERS)),
    ("/quorate.v1.Agents/Observe", Admits::Roles(AGENTS)),
    ("/quorate.v1.Agents/Report", Admits::Roles(AGENTS)),
    ("/quorate.v1.Automation/ListActions", Admits::Roles(READERS)),
    ("/quorate.v1.Automation/ListBudgets", Admits::Roles(READERS)),
    ("/quorate.v1.Automation/ListIncidents", Admits::Roles(READERS)),
    ("/quorate.v1.Automation/ListOverrides", Admits::Roles(READERS)),
    ("/quorate.v1.Automation/ListPauses", Admits::Roles(READERS)),
    ("/quorate.v1.Automation/ReissueAction", Admits::Roles(OPERATORS)),
    ("/quorate.v1.Automation/SubmitAct", Admits::Roles(OPERATORS)),
    ("/quorate.v1.Automation/SubmitOverride", Admits::Roles(OPERATORS)),
    ("/quorate.v1.Automation/SubmitPause", Admits::Roles(OPERATORS)),
    ("/quorate.v1.Charters/AmendCharter", Admits::Roles(OPERATORS)),
    ("/quorate.v1.Charters/GetCharter", Admits::Roles(READERS)),
    ("/quorate.v1.Charters/ListCharters", Admits::Roles(READERS)),
    ("/quorate.v1.Log/GetCertificate", Admits::Roles(READERS)),
    ("/quorate.v1.Log/GetCheckpoint", Admits::Roles(READERS)),
    ("/quorate.v1.Log/GetConsistencyProof", Admits::Roles(READERS)),
    ("/quorate.v1.Log/GetDecision", Admits::Roles(READERS)),
    ("/quorate.v1.Log/GetInclusionProof", Admits::Roles(READERS)),
    ("/quorate.v1.Log/GetLeaf", Admits::Roles(READERS)),
    ("/quorate.v1.Log/ListDecisions", Admits::Roles(READERS)),
    ("/quorate.v1.Log/ListLeaves", Admits::Roles(READERS)),
    ("/quorate.v1.Log/WatchDecisions", Admits::Roles(READERS)),
    ("/quorate.v1.Log/WatchLog", Admits::Roles(READERS)),
    ("/quorate.v1.Proposals/GetProposal", Admits::Roles(READERS)),
    ("/quorate.v1.Proposals/ListProposals", Admits::Roles(READERS)),
    ("/quorate.v1.Proposals/OpenProposal", Admits::Roles(PROPOSERS)),
    ("/quorate.v1.Proposals/VetoProposal", Admits::Roles(PROPOSERS)),
    ("/quorate.v1.Proposals/WatchProposals", Admits::Roles(READERS)),
    ("/quorate.v1.Quorum/ListCoordinators", Admits::Roles(READERS)),
    ("/quorate.v1.Quorum/TransferLeader", Admits::Roles(OPERATORS)),
    ("/quorate.v1.Status/GetStatus", Admits::Roles(READERS)),
    ("/quorate.v1.Votes/SubmitVote", Admits::Roles(PROPOSERS)),
    ("/leaderz", Admits::Anyone),
    ("/livez", Admits::Anyone),
    ("/metrics", Admits::Roles(READERS)),
    ("/readyz", Admits::Anyone),
    ("/tlog/checkpoint", Admits::Roles(READERS)),
    ("/tlog/tile/", Admits::Roles(READERS)),
];

/// The row of a path. A row that ends in `/` covers everything below it.
fn row(path: &str) -> Option<&'static (&'static str, Admits)> {
    PATHS
        .iter()
        .find(|(known, _)| *known == path || (known.ends_with('/') && path.starts_with(known)))
}

/// The path as a label: one of the table's, so that callers cannot make label values.
pub fn known_path(path: &str) -> Option<&'static str> {
    row(path).map(|(known, _)| *known)
}

/// What [`admit`] lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admitted {
    /// Nobody in particular: the path admits everybody.
    Anonymous,
    /// This identity.
    Identity(Identity),
    /// No such path: the router answers, and has nothing behind it.
    Unrouted,
}

/// Decides whether `caller` may use `path` in `network`.
///
/// # Errors
/// `NO_CLIENT_CERTIFICATE`, `CERTIFICATE_NOT_ACCEPTED` or `ROLE_NOT_ALLOWED`.
pub fn admit(caller: &Caller, path: &str, network: &NetworkName) -> Result<Admitted, Box<Problem>> {
    let Some((method, admits)) = row(path) else {
        return Ok(Admitted::Unrouted);
    };
    let roles = match admits {
        Admits::Anyone => return Ok(Admitted::Anonymous),
        Admits::Roles(roles) => *roles,
    };
    let identity = match caller {
        Caller::Anonymous => {
            let what = format!("{method} needs a client certificate and none was shown");
            return Err(Box::new(Problem::new(ErrorCode::NoClientCertificate, what)));
        }
        Caller::Refused { why } => return Err(Box::new(not_accepted(why))),
        Caller::Known(identity) => identity,
    };
    if identity.network() != network {
        return Err(Box::new(not_accepted(&format!(
            "it belongs to the network {}, this is {network}",
            identity.network()
        ))));
    }
    if !roles.contains(&identity.role()) {
        let admits = roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(" ");
        let role = identity.role().as_str();
        let what = format!("the role {role} may not use {method}; it admits {admits}");
        return Err(Box::new(
            Problem::new(ErrorCode::RoleNotAllowed, what)
                .with("role", role)
                .with("method", method)
                .with("admits", admits),
        ));
    }
    Ok(Admitted::Identity(identity.clone()))
}

fn not_accepted(why: &str) -> Problem {
    let what = format!("the client certificate is not accepted: {why}");
    Problem::new(ErrorCode::CertificateNotAccepted, what).with("why", why)
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    fn network() -> NetworkName {
        NetworkName::new("quorate.test/net").unwrap()
    }

    fn known(role: Role, id: &str) -> Caller {
        Caller::Known(Identity::new(network(), role, id).unwrap())
    }

    /// `/package.Service/Method` of every method in a descriptor set.
    fn methods(descriptors: &[u8]) -> Vec<String> {
        let files = FileDescriptorSet::decode(descriptors).unwrap().file;
        let mut methods = Vec::new();
        for file in files {
            let package = file.package().to_owned();
            for service in file.service {
                for method in &service.method {
                    methods.push(format!("/{package}.{}/{}", service.name(), method.name()));
                }
            }
        }
        methods
    }

    #[test]
    fn every_method_that_is_served_has_a_row_and_every_row_a_method() {
        let mut served = methods(quorate_proto::pb::FILE_DESCRIPTOR_SET);
        served.extend(methods(tonic_health::pb::FILE_DESCRIPTOR_SET));
        assert!(served.len() > 40, "only {} methods: is the walk broken?", served.len());
        for method in &served {
            // tonic-health serves Check and Watch, and answers List with UNIMPLEMENTED.
            assert!(
                row(method).is_some() || method.ends_with("Health/List"),
                "{method} has no row"
            );
        }
        for (path, _) in PATHS.iter().filter(|(path, _)| path.contains(".v1.")) {
            let reflected = path.starts_with("/grpc.reflection");
            assert!(reflected || served.iter().any(|method| method == path), "{path} is no method");
        }
    }

    #[test]
    fn writes_admit_who_may_sign_them_and_nobody_else() {
        let admits = |caller: &Caller, path: &str| admit(caller, path, &network()).is_ok();
        let vote = "/quorate.v1.Votes/SubmitVote";
        for (role, may) in
            [(Agent, true), (Operator, true), (Reader, false), (Role::Alertmanager, false)]
        {
            assert_eq!(admits(&known(role, "n1"), vote), may, "{role}");
        }
        assert!(!admits(&known(Coordinator, "1"), vote), "a coordinator does not vote");
        let append = "/quorate.raft.v1.Raft/StreamAppend";
        for role in [Agent, Operator, Reader, Role::Alertmanager] {
            assert!(!admits(&known(role, "1"), append), "{role}");
        }
    }

    #[test]
    fn each_refusal_says_which_one_it_is() {
        let code =
            |caller: &Caller, path: &str| admit(caller, path, &network()).unwrap_err().code();
        let path = "/quorate.v1.Status/GetStatus";
        assert_eq!(code(&Caller::Anonymous, path), ErrorCode::NoClientCertificate);
        let refused = Caller::Refused { why: "it has no URI name".to_owned() };
        assert_eq!(code(&refused, path), ErrorCode::CertificateNotAccepted);
        let elsewhere = NetworkName::new("other.test").unwrap();
        let foreign = Caller::Known(Identity::new(elsewhere, Reader, "eve").unwrap());
        assert_eq!(code(&foreign, path), ErrorCode::CertificateNotAccepted);
        let problem = admit(&known(Reader, "eve"), "/quorate.v1.Agents/Claim", &network());
        let problem = problem.unwrap_err();
        assert_eq!(problem.code(), ErrorCode::RoleNotAllowed);
        assert_eq!(problem.fact("admits"), Some("agent"));
        let health = admit(&Caller::Anonymous, "/livez", &network());
        assert_eq!(health.unwrap(), Admitted::Anonymous);
    }

    #[test]
    fn labels_are_rows_only() {
        assert_eq!(known_path("/tlog/tile/0/000"), Some("/tlog/tile/"));
        assert_eq!(known_path("/tlog/tilt"), None);
        assert_eq!(known_path("/metricsX"), None);
    }
}
