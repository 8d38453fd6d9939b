//! The command line, and the plan made from it.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::outcome::Failure;
use crate::peers::{self, Contest, Peer};
use crate::plan::{CASES, Plan, Selection, Shown};
use crate::system::Cpus;

/// CPU time, memory and latency of evenkeel beside its peers.
#[derive(Debug, clap::Parser)]
#[command(bin_name = "scripts/bench.sh")]
#[command(after_help = "Examples:
  scripts/bench.sh                                        the cases that say how it compares: an hour
  scripts/bench.sh --full                                 every case: three hours
  scripts/bench.sh --full --quick                         does it all work? a quarter of an hour
  scripts/bench.sh --case 'uneven-*'                      policies when one backend is slow
  scripts/bench.sh --case exchange-64-c16 --peer evenkeel --peer nginx
  scripts/bench.sh --case connect-exchange-close --reference evenkeel --peer evenkeel-log
                                                          what the access log costs
  scripts/bench.sh --peer evenkeel --reference before --before /tmp/old/evenkeel
                                                          two builds against each other")]
pub(crate) struct Args {
    /// Rounds; in each, every peer is measured once in every case, between two runs of the reference.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Length of one measurement, after a warm-up of a fifth of it.
    #[arg(long, default_value_t = 1.0, value_parser = positive)]
    seconds: f64,
    /// One round of 0.3 seconds each: checks that everything runs, its figures say nothing.
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    quick: bool,
    /// Every case, not only those that are marked in the list.
    #[arg(long, conflicts_with = "case")]
    full: bool,
    /// Only this case (repeatable); `exchange-*` is every case that begins so.
    #[arg(long)]
    case: Vec<String>,
    /// Only this peer and the reference (repeatable); `haproxy*` is every peer that begins so.
    #[arg(long, visible_alias = "only")]
    peer: Vec<String>,
    /// The peer between two of whose runs each run of another stands; by default nginx, and round-robin among policies.
    #[arg(long)]
    reference: Option<String>,
    /// Another build of evenkeel, measured as one more peer called `before`, and with its access log as `before-log`.
    #[arg(long)]
    before: Option<PathBuf>,
    /// The CPU of the proxy's worker.
    #[arg(long, default_value_t = 0)]
    proxy_cpu: usize,
    /// The CPU of clients and backends.
    #[arg(long, default_value_t = 1)]
    load_cpu: usize,
    /// Where the figures of every round go.
    #[arg(long, default_value = "target/bench/results.json")]
    pub(crate) json: PathBuf,
    /// Where the picture of them goes.
    #[arg(long, default_value = "target/bench/comparison.svg")]
    pub(crate) svg: PathBuf,
    /// Draw the picture of an earlier run from its file, and stop.
    #[arg(long, value_name = "JSON")]
    pub(crate) plot: Option<PathBuf>,
    /// List cases and peers, and stop.
    #[arg(long)]
    pub(crate) list: bool,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.05..=600.0).contains(&seconds) => Ok(seconds),
        _ => Err("between 0.05 and 600".into()),
    }
}

impl Args {
    /// # Errors
    /// A name that does not exist, a CPU that is not ours, a peer that is not installed.
    pub(crate) fn plan(&self) -> Result<Plan, Failure> {
        let mut cases = select("case", CASES.iter().collect(), &self.case, |case| case.name)?;
        if self.case.is_empty() && !self.full {
            cases.retain(|case| case.shown == Shown::Headline);
        }
        let peers = self.peers();
        let names = |wanted: &[String]| select("peer", peers.iter().map(|peer| peer.name).collect(), wanted, |it| it);
        let selection = match &self.peer[..] {
            [] => Selection::ByContest,
            // Another build is there to be measured.
            wanted if self.before.is_some() => Selection::ByName(names(&[wanted, &[peers::BEFORE.into()]].concat())?),
            wanted => Selection::ByName(names(wanted)?),
        };
        let reference = match &self.reference {
            Some(name) => names(std::slice::from_ref(name))?.first().copied(),
            None => None,
        };
        let (rounds, seconds) = if self.quick { (1, 0.3) } else { (self.rounds, self.seconds) };
        let cpus = Cpus { proxy: self.proxy_cpu, load: self.load_cpu };
        cpus.check()?;
        let length = Duration::from_secs_f64(seconds);
        let plan = Plan { cases, peers, selection, reference, rounds, length, cpus };
        plan.participants().into_iter().try_for_each(Peer::check_installed)?;
        Ok(plan)
    }

    /// Every peer that there is to choose from.
    fn peers(&self) -> Vec<Peer> {
        let mut peers = peers::all();
        if let Some(program) = &self.before {
            // Next to evenkeel, where the eye compares them.
            peers.splice(1..1, peers::before(program));
        }
        peers
    }
}

/// Those of `all` that were asked for by name, in the order of `all`; all of them when none was.
fn select<T>(
    kind: &'static str,
    mut all: Vec<T>,
    wanted: &[String],
    name: impl Fn(&T) -> &'static str,
) -> Result<Vec<T>, Failure> {
    let is_wanted = |item: &T, wanted: &String| match wanted.strip_suffix('*') {
        Some(beginning) => name(item).starts_with(beginning),
        None => name(item) == wanted,
    };
    if let Some(unknown) = wanted.iter().find(|wanted| !all.iter().any(|item| is_wanted(item, wanted))) {
        let known = all.iter().map(name).collect::<Vec<_>>().join(", ");
        return Err(Failure::Unknown { kind, name: unknown.clone(), known });
    }
    if !wanted.is_empty() {
        all.retain(|item| wanted.iter().any(|wanted| is_wanted(item, wanted)));
    }
    Ok(all)
}

/// Cases and peers with what they are.
pub(crate) fn catalogue() -> String {
    let mut text = String::from("cases (* without --full, too):\n");
    for case in CASES {
        let mark = if case.shown == Shown::Headline { '*' } else { ' ' };
        let _ = writeln!(text, "{mark} {:<22} {}", case.name, case.title);
    }
    text.push_str("peers:\n");
    for peer in peers::all() {
        let note = if peer.contest == Contest::OnRequest { " (only with --peer)" } else { "" };
        let _ = writeln!(text, "  {:<22} {}{note}", peer.name, peer.title);
    }
    text
}
