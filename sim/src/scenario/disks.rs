//! Disks that lose, change or refuse what is written, or take their time.

use super::{Scenario, no_verdict};
use crate::{pauses, world::Plan};

pub fn scenarios() -> Vec<Scenario> {
    let scenario =
        |name, about, faults| Scenario { name, about, plan: Plan::USUAL, faults, verdict: no_verdict };
    vec![
        scenario("bit-rot", "bits flip on the disks of five miners", |world| {
            Box::pin(async move {
                let some = world.dice.some(5, world.plan.miners);
                for _ in 0..10 {
                    world.wait(40).await;
                    world.miners[some[world.dice.index(some.len())]].flip_bit();
                    world.note_away();
                }
                Ok(())
            })
        }),
        scenario("mass-deletion", "a fault has three miners of four delete all that they have", |world| {
            Box::pin(async move {
                world.wait(150).await;
                for number in world.dice.some(world.plan.miners * 3 / 4, world.plan.miners) {
                    world.miners[number].delete_all().await?;
                    world.note_away();
                }
                world.wait(150).await;
                Ok(())
            })
        }),
        scenario("disk-full", "the disks of eight miners are full for some minutes", |world| {
            Box::pin(async move {
                for at in world.dice.some(8, world.plan.miners) {
                    world.wait(20).await;
                    world.miners[at].set_free_bytes(Some(world.dice.below(200_000)));
                }
                world.wait(300).await;
                Ok(())
            })
        }),
        scenario("slow-disk", "one piece of work in four takes up to three seconds", |world| {
            Box::pin(async move {
                world.wait(60).await;
                pauses::set_slowness(3_000);
                world.wait(300).await;
                pauses::set_slowness(0);
                Ok(())
            })
        }),
    ]
}
