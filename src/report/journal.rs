//! `migrate status` for people.

use super::human::out;
use migrate::{Migration, State, Status};
use std::time::{SystemTime, UNIX_EPOCH};

/// Prints the migrations, the newest first.
pub fn status(status: &Status) {
    if status.migrations.is_empty() {
        out("There were no migrations.");
        return;
    }
    for one in &status.migrations {
        out(&format!("{}  {}, {}", one.id, line(one), ago(one.started)));
        for next in &one.next {
            out(&format!("  do  {next}"));
        }
    }
}

fn line(one: &Migration) -> String {
    let (from, to) = (&one.source, &one.destination);
    let phase = one.phase.as_deref().unwrap_or("its beginning");
    let way = format!("{from} → {to}, mode {}", one.mode.as_str());
    match one.state {
        State::UnderWay => format!("{way}: under way, in {phase}"),
        State::Interrupted => format!("{way}: was killed in {phase}"),
        State::Unfinished => format!("{way}: runs on {to}, but was killed while it cleaned up"),
        State::InDoubt => format!("{way}: in doubt since {phase}"),
        State::Left => format!("{way}: over, but something of it is left on a host"),
        State::Migrated => format!("{way}: migrated"),
        State::RolledBack => format!("{way}: undone, went on on {from}"),
        State::Refused => format!("{way}: refused"),
    }
}

/// How long ago, roughly.
fn ago(started: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = now.map_or(0, |now| now.as_secs()).saturating_sub(started);
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86400 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_as_people_say_them() {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        assert_eq!(ago(now - 7205), "2 h ago");
        assert_eq!(ago(now - 180), "3 min ago");
        assert_eq!(ago(now - 200_000), "2 days ago");
    }
}
