//! The guarded members: small real servers, restarted by their agents and killed by the tests.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::{Deployment, Member};
use crate::wait;

impl Member {
    /// How often it was really started, in its own words.
    #[must_use]
    pub fn starts(&self) -> usize {
        std::fs::read_to_string(self.data.join("starts")).unwrap_or_default().lines().count()
    }

    /// The process of the pid file, which its agent rewrites with each start.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        let text = std::fs::read_to_string(&self.pid_file).ok()?;
        text.split_whitespace().next()?.parse().ok()
    }

    /// kill -9, whoever has started it.
    pub fn kill(&mut self) {
        if let Some(pid) = self.pid().and_then(Pid::from_raw) {
            // It may be dead already.
            let _gone = kill_process_group(pid, Signal::KILL);
        }
        self.process.kill();
    }
}

impl Deployment {
    /// Starts all members.
    pub fn start_members(&mut self) {
        for member in self.members.values_mut() {
            member.process.start();
            let pid = member.process.pid().map(|pid| format!("{pid}\n")).unwrap_or_default();
            std::fs::write(&member.pid_file, pid).expect("the pid file is written");
        }
    }

    /// Waits until a member answers.
    ///
    /// # Panics
    /// It does not within `limit`.
    pub async fn member_answers(&self, name: &str, limit: Duration) {
        let member = &self.members[name];
        let what = format!("member {name} answers\n{}", self.logs());
        wait::until(&what, limit, async || {
            tokio::net::TcpStream::connect(&member.address).await.ok().map(drop)
        })
        .await;
    }

    pub(super) fn kill_members(&mut self) {
        for member in self.members.values_mut() {
            member.kill();
        }
    }
}
