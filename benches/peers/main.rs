//! The cost of evenkeel beside its peers, measured on one machine in one run.
//!
//! `scripts/bench.sh` starts this. Every measurement is complete in itself: simulated backends on fresh ports, one
//! freshly started proxy with one worker on a CPU of its own, one load through it, and an orderly end at which every
//! byte and every connection is accounted for. Each stands between two measurements of a reference peer and counts as its
//! ratio to them, so that what else happens on the machine falls on all peers alike; medians and quartiles are reported.
//!
//! What is compared is the *proxy's CPU time per unit of work*. Clients and backends share the other CPU and may well
//! saturate it: that caps throughput, and leaves the cost of a unit comparable.
//!
//! Imports go downward only, in this order:
//!
//! | folder | holds |
//! |---|---|
//! | `args` | the command line |
//! | `report` | medians, ratios, the table, the JSON file and the picture |
//! | `rounds` | the order of measurements |
//! | `plan` | what is measured: the cases as a table, and who takes part |
//! | `load` | one measurement: clients and backends over `tcp` and `udp`, or a real program (`tool`) |
//! | `proxy` | one running proxy, from start to end |
//! | `peers` | who is measured, as a table, with their configurations |
//! | `system` | CPUs, CPU time and memory of a process tree |
//! | `statistics` | the order of runs, and what a few of them say together |
//! | `outcome` | what one measurement comes to |

mod args;
mod load;
mod outcome;
mod peers;
mod plan;
mod proxy;
mod report;
mod rounds;
mod statistics;
mod system;

#[path = "../../tests/support/mod.rs"]
mod support;

use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::ExitCode;

use clap::Parser as _;
use signal_hook::consts::{SIGINT, SIGTERM};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::task::LocalSet;

use args::Args;
use outcome::Failure;
use report::Report;

fn main() -> ExitCode {
    run(&Args::parse()).unwrap_or_else(|failure| {
        eprintln!("bench: {failure}");
        ExitCode::FAILURE
    })
}

/// Does what the command line asks for.
fn run(args: &Args) -> Result<ExitCode, Failure> {
    if !args.bench {
        // `cargo test --all-targets` runs benches too, without the flag that `cargo bench` gives.
        println!("a benchmark of an hour: run it with scripts/bench.sh");
        return Ok(ExitCode::SUCCESS);
    }
    if args.list {
        print!("{}", args::catalogue());
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(results) = &args.plot {
        report::draw(&report::read_json(results)?, &args.svg)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(mut inside) = system::namespace::same_program_inside() {
        // So that rules of the packet filter touch nobody else's packets.
        let code = inside.status()?.code().and_then(|code| u8::try_from(code).ok());
        return Ok(code.map_or(ExitCode::FAILURE, ExitCode::from));
    }
    let report = measure(args)?;
    Ok(if report.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Measures what is planned and reports it: a table, a file and a picture.
fn measure(args: &Args) -> Result<Report, Failure> {
    let plan = args.plan()?;
    let machine = report::describe(&plan);
    print!("{machine}");
    plan.cpus.take_load_cpu()?;
    system::raise_descriptor_limit()?;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let laps = LocalSet::new().block_on(&runtime, async {
        tokio::select! {
            laps = rounds::run(&plan) => Ok(laps),
            interrupted = interruption() => interrupted,
        }
    })?;

    let report = Report::new(&plan, machine, &laps);
    print!("{report}");
    report::write_json(&report, &args.json)?;
    report::draw(&report, &args.svg)?;
    println!("\nwritten to {} and {}", args.json.display(), args.svg.display());
    Ok(report)
}

/// Ends with an error at the first SIGINT or SIGTERM, so that the guards of what was started are dropped.
async fn interruption<T>() -> Result<T, Failure> {
    let (ours, theirs) = StdUnixStream::pair()?;
    for signal in [SIGINT, SIGTERM] {
        signal_hook::low_level::pipe::register(signal, theirs.try_clone()?)?;
    }
    ours.set_nonblocking(true)?;
    UnixStream::from_std(ours)?.read_u8().await?;
    Err(Failure::Interrupted)
}
