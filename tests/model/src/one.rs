//! One channel: an honest party against an arbitrary one.

use crate::chain::{LOCKS, Status};
use crate::link::{Act, Around, Link, LinkModel};
use crate::rules::Rule;
use crate::search::Model;

/// A channel and the time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    /// The step.
    pub now: u8,
    /// The channel.
    pub link: Link,
}

/// What happens.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Time passes.
    Tick,
    /// In the channel.
    In(Act),
}

/// The model.
#[derive(Clone, Copy, Debug)]
pub struct One(pub LinkModel);

impl Model for One {
    type State = State;
    type Action = Step;

    fn start(&self) -> State {
        State {
            now: 0,
            link: self.0.start(),
        }
    }

    fn next(&self, state: &State, out: &mut Vec<(Step, State)>) {
        let around = Around {
            now: state.now,
            may_add: [true; LOCKS],
            may_consent: [true; LOCKS],
            may_learn: true,
        };
        let mut links = Vec::new();
        self.0.next(&state.link, &around, &mut links);
        out.extend(
            links
                .into_iter()
                .map(|(act, link)| (Step::In(act), State { link, ..*state })),
        );
        let closed = state.link.chain.status == Status::Closed;
        if state.now < self.0.bounds.time && !closed && self.0.may_wait(&state.link, state.now) {
            let link = self.0.tick(&state.link, state.now);
            out.push((
                Step::Tick,
                State {
                    now: state.now + 1,
                    link,
                },
            ));
        }
    }

    fn ended(&self, state: &State) -> bool {
        state.link.chain.status == Status::Closed
    }

    fn fault(&self, state: &State) -> Option<String> {
        let (link, model) = (&state.link, &self.0);
        if link.conflict && !model.terms.rules.has(Rule::A10) {
            return Some("two vouchers with one seq".into());
        }
        if link.chain.status != Status::Closed {
            return None;
        }
        let chain = &link.chain;
        let sides = [0, 1].map(|side| i16::from(chain.payout[side]) + i16::from(chain.wd[side]));
        let all = i16::from(chain.dep[0]) + i16::from(chain.dep[1]);
        if sides[0] + sides[1] != all {
            return Some(format!("{} came in and {} went out", all, sides[0] + sides[1]));
        }
        let least = if link.away.is_some() {
            model.lowest(link)
        } else {
            model.fair(link)
        };
        (sides[0] < least).then(|| format!("got {} instead of {least}", sides[0]))
    }
}
