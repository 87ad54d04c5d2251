//! Placements frozen from Ceph's `crushtool`.

mod cases;

#[test]
fn frozen_placements_hold() {
    for case in cases::frozen() {
        let map = case.map();
        let step = case.groups / 16;
        assert!(!case.placements.is_empty(), "{}", case.name);
        for (index, answer) in case.placements.iter().enumerate() {
            let pg = index as u32 * step;
            assert_eq!(cases::placement(&map, pg), *answer, "{}: placement group {pg}", case.name);
        }
    }
}
