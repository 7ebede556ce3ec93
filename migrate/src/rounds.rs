//! When the rounds of mode pre-copy are over: a pure function of what they brought.
//!
//! The rule is that of p.haul (`phaul/iters.py`): few pages are left, or a round brings more than the one
//! before, or there were many rounds. Beside that there may be a goal for the downtime.

use doctor::check::pause;
use schemars::JsonSchema;
use serde::Serialize;

/// Pages from which on another round would be worth it.
const FEW_PAGES: u64 = 64;
/// By how many percent a round may bring more pages than the one before.
const GROWTH: u64 = 10;
/// So many rounds at most.
const MOST: usize = 8;

/// One round: the memory that changed since the one before, sent while the container ran. The first has
/// all of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Round {
    /// Pages of 4096 bytes that were sent.
    pub pages: u64,
    /// Bytes that were sent for it, before they were compressed.
    pub bytes: u64,
    /// From its beginning until it had arrived.
    pub seconds: f64,
    /// For how long the container would about have stood still, had it been frozen right then. After the
    /// first round it is not known yet how much it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub downtime_seconds: Option<f64>,
}

/// Why there was no further round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stop {
    /// The last one brought 64 pages or fewer.
    FewPages,
    /// The downtime to expect was not over that of `--max-downtime`.
    MaxDowntime,
    /// The last one brought over 10 % more pages than the one before.
    Growth,
    /// There were 8.
    MostRounds,
}

impl Stop {
    /// As the end of a sentence.
    #[must_use]
    pub fn because(self) -> &'static str {
        match self {
            Stop::FewPages => "hardly anything was left to send",
            Stop::MaxDowntime => "what was left fits --max-downtime",
            Stop::Growth => "it changes its memory faster than that is sent",
            Stop::MostRounds => "more would not help",
        }
    }
}

/// The rounds of a migration.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct PreCopy {
    /// Each round, in order.
    pub rounds: Vec<Round>,
    /// Why the container was frozen after the last one; none where the migration ended in the rounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stop>,
    /// The downtime that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_downtime_seconds: Option<f64>,
}

impl PreCopy {
    /// Before the first round.
    pub(crate) fn new(max_downtime_seconds: Option<f64>) -> Self {
        PreCopy {
            rounds: Vec::new(),
            stop: None,
            max_downtime_seconds,
        }
    }

    /// Adds a round of a container with so much memory, and judges whether it was the last.
    pub(crate) fn add(&mut self, pages: u64, bytes: u64, seconds: f64, memory: u64) -> Round {
        let mut round = Round {
            pages,
            bytes,
            seconds,
            downtime_seconds: None,
        };
        self.rounds.push(round);
        round.downtime_seconds = expect(&self.rounds, memory);
        if let Some(last) = self.rounds.last_mut() {
            *last = round;
        }
        self.stop = judge(&self.rounds, self.max_downtime_seconds);
        round
    }

    /// The downtime to expect, where it is over the one that was asked for.
    pub(crate) fn misses(&self) -> Option<(f64, f64)> {
        let (goal, expected) = (
            self.max_downtime_seconds?,
            self.rounds.last()?.downtime_seconds?,
        );
        (expected > goal).then_some((expected, goal))
    }
}

/// Whether the last round was the last one.
fn judge(rounds: &[Round], goal: Option<f64>) -> Option<Stop> {
    let last = rounds.last()?;
    if last.pages <= FEW_PAGES {
        return Some(Stop::FewPages);
    }
    if let (Some(goal), Some(expected)) = (goal, last.downtime_seconds)
        && expected <= goal
    {
        return Some(Stop::MaxDowntime);
    }
    if let [.., before, last] = rounds
        && last.pages.saturating_mul(100) > before.pages.saturating_mul(100 + GROWTH)
    {
        return Some(Stop::Growth);
    }
    (rounds.len() >= MOST).then_some(Stop::MostRounds)
}

/// How long the container would stand still if it were frozen after these rounds: what it changed while the
/// last one was under way is still to be sent. It changes memory at the pace at which it did during the round
/// before, and no more than it has. What a small round takes says little of the link: the fastest counts.
fn expect(rounds: &[Round], memory: u64) -> Option<f64> {
    let [.., before, last] = rounds else {
        return None;
    };
    if before.seconds <= 0.0 {
        return None;
    }
    let share = last.seconds / before.seconds;
    let left = (last.bytes as f64 * share).min(memory as f64);
    let rate = rounds
        .iter()
        .map(|round| round.bytes as f64 / round.seconds)
        .fold(0.0, f64::max);
    let (least, _) = pause(left as u64, rate);
    Some(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY: u64 = 64 << 20;

    /// Rounds of so many pages, at 100 MB/s and 50 ms on top of that.
    fn after(pages: &[u64], goal: Option<f64>) -> PreCopy {
        let mut all = PreCopy::new(goal);
        for pages in pages {
            assert_eq!(all.stop, None, "{all:?}");
            let bytes = pages * 4096;
            all.add(*pages, bytes, 0.05 + bytes as f64 / 1e8, MEMORY);
        }
        all
    }

    #[test]
    fn few_pages_are_enough() {
        assert_eq!(after(&[64], None).stop, Some(Stop::FewPages));
        assert_eq!(after(&[65], None).stop, None);
        assert_eq!(after(&[16384, 900, 64], None).stop, Some(Stop::FewPages));
        assert_eq!(after(&[0], None).stop, Some(Stop::FewPages));
    }

    #[test]
    fn a_round_that_grows_is_the_last() {
        assert_eq!(after(&[1000, 1100], None).stop, None);
        assert_eq!(after(&[1000, 1101], None).stop, Some(Stop::Growth));
        assert_eq!(after(&[9000, 500, 551], None).stop, Some(Stop::Growth));
    }

    #[test]
    fn eight_rounds_are_the_most() {
        assert_eq!(after(&[1000; 7], None).stop, None);
        assert_eq!(after(&[1000; 8], None).stop, Some(Stop::MostRounds));
    }

    #[test]
    fn a_goal_ends_the_rounds_as_soon_as_it_can_be_met_and_not_before() {
        let pages = [16384, 4000, 1000];
        let expected: Vec<_> = after(&pages, None)
            .rounds
            .iter()
            .map(|round| round.downtime_seconds)
            .collect();
        assert_eq!(expected[0], None, "how much it changes is not known");
        let [second, third] = [expected[1].unwrap(), expected[2].unwrap()];
        assert!(third < second, "{expected:?}");
        let stop = |goal| after(&pages[..2], Some(goal)).stop;
        assert_eq!(stop(second), Some(Stop::MaxDowntime));
        assert_eq!(stop(second - 0.001), None);
        let met = after(&pages, Some(third));
        assert_eq!((met.stop, met.misses()), (Some(Stop::MaxDowntime), None));
        // After the first round nothing is known, whatever the goal.
        assert_eq!(after(&pages[..1], Some(1e9)).stop, None);
    }

    #[test]
    fn a_goal_that_cannot_be_met_does_not_keep_the_rounds_going() {
        let missed = after(&[1000, 2000], Some(0.001));
        assert_eq!(missed.stop, Some(Stop::Growth));
        let (expected, goal) = missed.misses().unwrap();
        assert!(expected > goal && goal == 0.001);
        assert_eq!(after(&[64], Some(0.001)).misses(), None);
    }

    #[test]
    fn what_is_expected_is_what_changed_meanwhile_at_the_best_rate_seen() {
        let mut all = PreCopy::new(None);
        // 100 MB/s; then 10 MB changed within that second, and are half a second under way.
        all.add(24414, 100_000_000, 1.0, 200_000_000);
        let second = all.add(2441, 10_000_000, 0.5, 200_000_000);
        let (expected, _) = pause(5_000_000, 1e8);
        assert!((second.downtime_seconds.unwrap() - expected).abs() < 1e-6);
        // A round that took much longer than the one before: never more than all of its memory.
        let third = all.add(2441, 10_000_000, 60.0, 200_000_000);
        let (expected, _) = pause(200_000_000, 1e8);
        assert!((third.downtime_seconds.unwrap() - expected).abs() < 1e-6);
    }

    #[test]
    fn a_clock_that_stands_still_is_no_reason_to_stop() {
        let mut all = PreCopy::new(Some(1e9));
        all.add(1000, 4_096_000, 0.0, MEMORY);
        let second = all.add(1000, 4_096_000, 0.0, MEMORY);
        assert_eq!((second.downtime_seconds, all.stop), (None, None));
    }
}
