//! Classes of remediations.

use quorate_attest::remediation::Class;

use crate::pb::v1::ActionClass;

impl From<Class> for ActionClass {
    fn from(class: Class) -> Self {
        match class {
            Class::Abandon => Self::Abandon,
            Class::Charter => Self::Charter,
            Class::Cluster => Self::Cluster,
            Class::Irreversible => Self::Irreversible,
            Class::Local => Self::Local,
        }
    }
}
