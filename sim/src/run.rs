//! One run of one seed, in a thread of its own and in a process that does nothing else.
//!
//! # Invariants
//! - The process is new: whatever counts up in it, in whichever crate, begins where it always does.

use std::{io::Write, path::PathBuf, time::Duration};

use anyhow::{Context, anyhow};
use tokio::task::JoinSet;
use tracing_subscriber::filter::LevelFilter;

use crate::{dice::Dice, load::client, outside, pauses, scenario::Scenario, trace, world::World};

/// Simulated time that no run needs.
const TIME_MAX: Duration = Duration::from_secs(24 * 3_600);

/// What a run that went well did.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub simulated: Duration,
    pub events: u64,
    pub acknowledged: u64,
    pub reads: u64,
    pub epochs: u64,
}

/// Runs a seed; the trace goes to `sink` if there is one.
pub fn run(
    scenario: Scenario,
    seed: u64,
    sink: Option<(Box<dyn Write + Send>, LevelFilter)>,
) -> anyhow::Result<Outcome> {
    // Before the thread has no randomness of its own.
    // In memory where that is possible: what is there is no disk of the simulation.
    let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let directory = directory.context("no directory for nonces and evidence")?;
    let path = directory.path().to_owned();
    arion_daemon::work::do_inline(pauses::pauses);
    end_with_a_panic();
    let thread = std::thread::Builder::new().name("simulation".into()).stack_size(16 << 20);
    let running = thread.spawn(move || {
        outside::enter(seed);
        if let Some((sink, level)) = sink {
            trace::to(sink);
            let log = tracing_subscriber::fmt().with_max_level(level).without_time().with_ansi(false);
            log.with_writer(trace::Log).init();
        }
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        runtime.block_on(async {
            outside::start_clock();
            let outcome = tokio::time::timeout(TIME_MAX, simulate(&scenario, seed, path)).await;
            let outcome =
                outcome.unwrap_or_else(|_| Err(anyhow!("it does not end within a day of simulated time")));
            if let Err(error) = &outcome {
                trace::trace!("violated: {error:#}");
            }
            trace::flush();
            outcome
        })
    })?;
    running.join().unwrap_or_else(|_| Err(anyhow!("the thread of the simulation panicked")))
}

async fn simulate(scenario: &Scenario, seed: u64, directory: PathBuf) -> anyhow::Result<Outcome> {
    let dice = Dice::new(seed);
    pauses::roll(dice.fork());
    let world = World::start(scenario.plan, dice.fork(), directory).await?;
    let mut clients = JoinSet::new();
    for number in 0..scenario.plan.clients {
        clients.spawn(client(world.clone(), number, dice.fork()));
    }
    let busy = async {
        while let Some(done) = clients.join_next().await {
            done.context("a client panicked")??;
        }
        anyhow::Ok(())
    };
    tokio::try_join!(busy, (scenario.faults)(world.clone()))?;
    world.heal().await?;
    world.settle().await?;
    world.rest().await?;
    world.check().await?;
    (scenario.verdict)(&world)?;
    let oracle = world.oracle.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (acknowledged, reads) = (oracle.acknowledged, oracle.reads);
    let epochs = world.chain.snapshot().epoch();
    Ok(Outcome { simulated: trace::now(), events: trace::events(), acknowledged, reads, epochs })
}

/// Nothing in a simulation may panic, in whichever task.
fn end_with_a_panic() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        usual(panic);
        println!("violated: something panicked: {panic}");
        trace::flush();
        std::process::exit(1);
    }));
}
