//! The kernel in the place of a proxy: rules of its packet filter.

use std::process::Command;

use crate::outcome::Failure;
use crate::peers::Site;
use crate::system::namespace;

/// Rules that live until they are dropped.
pub(crate) struct Rules(());

impl Rules {
    /// Sends what goes to [`Site::listen`] to the first backend instead.
    ///
    /// # Errors
    /// This is the namespace of the machine, where nobody's rules are touched, or the kernel refuses.
    pub(crate) fn install(site: &Site) -> Result<Self, Failure> {
        if !namespace::is_own() {
            return Err(Failure::Start("DNAT needs a network namespace of its own: root, and `unshare`".into()));
        }
        let (from, to) = (site.listen, site.backends.first().ok_or_else(|| Failure::Start("no backend".into()))?);
        let rule = |transport| format!("ip daddr {} {transport} dport {} dnat to {to};", from.ip(), from.port());
        let rules = Self(());
        nft(&format!(
            "table ip evenkeel_bench {{ chain output {{ type nat hook output priority -100; {} {} }}; }}",
            rule("tcp"),
            rule("udp"),
        ))?;
        Ok(rules)
    }
}

impl Drop for Rules {
    fn drop(&mut self) {
        // What cannot be deleted goes with the namespace.
        let _ = nft("delete table ip evenkeel_bench");
    }
}

fn nft(rules: &str) -> Result<(), Failure> {
    let output = Command::new("nft").arg(rules).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::Start(format!("nft: {}", String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default())))
}
