//! Network namespaces on one bridge: machines that can be cut from each other while this one sees all.

use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

static COUNT: AtomicU8 = AtomicU8::new(0);

/// Some machines. Dropping it removes them.
#[derive(Debug)]
pub struct Namespaces {
    tag: String,
    net: String,
    count: u8,
}

fn ip(words: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(words).output();
    let output = output.map_err(|error| format!("ip does not run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

impl Namespaces {
    /// `count` machines and a bridge to them.
    ///
    /// # Errors
    /// This user or this system makes none.
    pub fn new(count: u8) -> Result<Self, String> {
        let nth = COUNT.fetch_add(1, Ordering::Relaxed);
        let pid = std::process::id();
        // A net of its own for each process and each use, as far as one byte tells them apart.
        let net = format!("10.77.{}", (pid + u32::from(nth)) % 250);
        let made = Self { tag: format!("q{pid}-{nth}"), net, count };
        made.make()?;
        Ok(made)
    }

    /// The bridge is in a namespace too: filters of this machine, a container engine's for one, are not
    /// asked about what passes it.
    fn make(&self) -> Result<(), String> {
        let (switch, own) = (&self.switch(), &self.tag);
        ip(&["netns", "add", switch])?;
        ip(&["-n", switch, "link", "add", "br0", "type", "bridge"])?;
        ip(&["-n", switch, "link", "set", "br0", "up"])?;
        ip(&["link", "add", own, "type", "veth", "peer", "name", "host0", "netns", switch])?;
        ip(&["-n", switch, "link", "set", "host0", "master", "br0", "up"])?;
        ip(&["addr", "add", &format!("{}.1/24", self.net), "dev", own])?;
        ip(&["link", "set", own, "up"])?;
        for at in 0..self.count {
            let (name, port) = (self.name(at), format!("port{at}"));
            ip(&["netns", "add", &name])?;
            ip(&["-n", &name, "link", "add", "eth0", "type", "veth", "peer", "name", &port])?;
            ip(&["-n", &name, "link", "set", &port, "netns", switch])?;
            ip(&["-n", switch, "link", "set", &port, "master", "br0", "up"])?;
            ip(&["-n", &name, "link", "set", "lo", "up"])?;
            let address = format!("{}/24", self.address(at));
            ip(&["-n", &name, "addr", "add", &address, "dev", "eth0"])?;
            ip(&["-n", &name, "link", "set", "eth0", "up"])?;
        }
        Ok(())
    }

    fn switch(&self) -> String {
        format!("{}s", self.tag)
    }

    /// The name of a namespace.
    #[must_use]
    pub fn name(&self, at: u8) -> String {
        format!("{}n{at}", self.tag)
    }

    /// The address of a machine.
    #[must_use]
    pub fn address(&self, at: u8) -> String {
        format!("{}.{}", self.net, 11 + at)
    }

    /// The words before a command that runs on a machine: the process becomes the command.
    #[must_use]
    pub fn on(&self, at: u8) -> Vec<String> {
        ["ip", "netns", "exec", &self.name(at)].map(str::to_owned).to_vec()
    }

    /// Cuts two machines from each other, both ways.
    ///
    /// # Panics
    /// It cannot be done.
    pub fn cut(&self, one: u8, other: u8) {
        for (from, to) in [(one, other), (other, one)] {
            let to = format!("{}/32", self.address(to));
            let done = ip(&["-n", &self.name(from), "route", "add", "blackhole", &to]);
            assert_eq!(done, Ok(()));
        }
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for at in 0..self.count {
            // What was not made cannot be removed.
            let _gone = ip(&["netns", "del", &self.name(at)]);
        }
        let _gone = ip(&["netns", "del", &self.switch()]);
        // Its other end went with the switch.
        let _gone = ip(&["link", "del", &self.tag]);
    }
}
