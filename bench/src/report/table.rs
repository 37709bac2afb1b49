//! The table, in Markdown.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::Outcome;

/// Writes outcomes as a table with a column for each peer that has a figure anywhere.
pub fn table(outcomes: &[Outcome], judge: bool) -> String {
    let peers: BTreeSet<&str> =
        outcomes.iter().flat_map(|outcome| &outcome.peers).map(|(name, _)| name.as_str()).collect();
    let mut text = String::from("| row | work | unit | filmroom |");
    for peer in &peers {
        write!(text, " {peer} |").expect("a string takes everything");
    }
    text.push_str(" ratio | target | verdict | note |\n|---|---|---|---|");
    text.push_str(&"---|".repeat(peers.len() + 4));
    text.push('\n');
    for outcome in outcomes {
        let figure = |name: &str| outcome.peers.iter().find(|(known, _)| known == name).map(|(_, figure)| *figure);
        let mut cells =
            vec![outcome.row.to_owned(), outcome.workload.clone(), outcome.unit.to_owned(), cell(outcome.ours)];
        cells.extend(peers.iter().map(|name| cell(figure(name))));
        let ratios: Vec<String> = outcome.targets.iter().filter_map(|t| t.ratio).map(|r| format!("{r:.2}x")).collect();
        let targets: Vec<&str> = outcome.targets.iter().map(|target| target.text.as_str()).collect();
        cells.extend([ratios.join(", "), targets.join("; "), verdict(outcome, judge).to_owned(), outcome.note.clone()]);
        writeln!(text, "| {} |", cells.join(" | ")).expect("a string takes everything");
    }
    text
}

fn verdict(outcome: &Outcome, judge: bool) -> &'static str {
    if !judge {
        return "not judged";
    }
    if outcome.targets.iter().any(|target| target.met == Some(false)) {
        return "MISSED";
    }
    match outcome.targets.iter().all(|target| target.met.is_some()) {
        true if outcome.targets.is_empty() => "",
        true => "met",
        false => "met as far as measured",
    }
}

/// Writes a figure with three digits that count, or all of them before the point.
fn cell(figure: Option<f64>) -> String {
    let Some(figure) = figure else { return String::new() };
    match figure.abs() {
        0.0 => "0".to_owned(),
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        size if size >= 1.0 => format!("{figure:.2}"),
        _ => format!("{figure:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comparison::Figures;
    use crate::peers::Kind;
    use crate::report::Better;

    #[test]
    fn rows_have_a_cell_for_every_peer() {
        let mut figures = Figures::default();
        figures.add(Kind::Filmroom, 1234.5);
        figures.add(Kind::Storescp, 1000.0);
        let fast = Outcome::new("A1", "store", "inst/s", Better::More, &figures).times_best(
            &[Kind::Storescp],
            1.0,
            "storescp",
        );
        let mut figures = Figures::default();
        figures.add(Kind::Filmroom, 0.25);
        let small = Outcome::new("A4", "memory", "MB", Better::Less, &figures).bound(0.2).note("why");
        let text = table(&[fast, small], true);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[2], "| A1 | store | inst/s | 1234 | 1000 | 1.23x | >= 1x storescp | met |  |");
        assert_eq!(lines[3], "| A4 | memory | MB | 0.250 |  |  | <= 0.2 MB | MISSED | why |");
        let columns = |line: &str| line.matches('|').count();
        assert!(lines.iter().all(|line| columns(line) == columns(lines[0])), "{text}");
    }
}
