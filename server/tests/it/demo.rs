//! The first look, once.

use crate::filmroom::{Place, stderr, stdout};

#[test]
fn the_tour_ends_well_and_can_be_taken_again() {
    let place = Place::new("");
    let first = place.run(&["demo", "--once"]);
    assert!(first.status.success(), "{}\n{}", stdout(&first), stderr(&first));
    for step in ["Sent a generated CT study", "found at once: one study", "Packed 200 instances", "every byte compared"]
    {
        assert!(stdout(&first).contains(step), "{step} in {}", stdout(&first));
    }
    let second = place.run(&["demo", "--once", "--json"]);
    let result: serde_json::Value = serde_json::from_slice(&second.stdout).unwrap();
    assert_eq!(result["instances"], 200, "{}", stderr(&second));
}
