//! Tables that a person sees.

use crate::state::{Phase, State};

/// The processes of the network and how to reach it.
pub fn render(state: &State) -> String {
    let header = ["NAME", "ROLE", "ADDRESS", "PID", "STATE"].map(String::from);
    let rows = state.processes.iter().map(|process| {
        [
            process.name.clone(),
            process.role.clone(),
            process.address.clone(),
            process.process.map_or_else(|| "-".to_owned(), |id| id.pid.to_string()),
            process.state.clone(),
        ]
    });
    let rows: Vec<[String; 5]> = std::iter::once(header).chain(rows).collect();
    let mut text = columns(&rows);
    text.push('\n');
    text.push('\n');
    text.push_str(&access(state));
    text
}

/// Rows in columns, two spaces apart; no line break at the end.
pub fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn access(state: &State) -> String {
    let mut lines = vec![(
        "network",
        match state.phase {
            Phase::Forming => "forming".to_owned(),
            Phase::Ready => "ready".to_owned(),
            Phase::Stopped => "stopped".to_owned(),
        },
    )];
    lines.push(("polkadot.js", state.ws.clone()));
    if let Some(s3) = &state.s3 {
        lines.push(("S3 endpoint", s3.endpoint.clone()));
        lines.push(("access key", s3.access_key.clone()));
        lines.push(("secret key", s3.secret_key.clone()));
        lines.push(("region", s3.region.clone()));
    }
    if let Some(environment) = &state.environment {
        lines.push(("environment", format!(". {}   # for aws and arion", environment.display())));
    }
    lines.push(("data", state.directory.display().to_string()));
    lines.push(("logs", state.logs.display().to_string()));
    lines.iter().map(|(name, value)| format!("{name:<12} {value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_a_table_line_up() {
        let row = |cells: [&str; 3]| cells.map(String::from);
        assert_eq!(columns(&[row(["a", "b", "c"]), row(["long", "1", "2"])]), "a     b  c\nlong  1  2");
    }
}
