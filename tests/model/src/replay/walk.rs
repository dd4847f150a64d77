//! All states of an instance, with the real channel that belongs to each.

use super::agree::agree;
use super::offers::Offers;
use super::party::{Outcome, Party};
use super::world::World;
use crate::chain::LockBag;
use crate::honest::Honest;
use crate::link::{Link, Lost};
use crate::one::{One, State, Step};
use crate::search::{Model, fingerprint};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    rc::Rc,
};

/// What the honest party remembers and sees.
#[derive(Hash)]
struct View {
    now: u8,
    h: Honest,
    saved: Option<Honest>,
    lost: Option<Lost>,
    dep: [u8; 2],
    wd: [u8; 2],
    marks: [LockBag; 2],
    dispute_no: Option<u8>,
}

fn view(state: &State) -> u64 {
    let Link {
        h,
        base,
        chain,
        saved,
        lost,
        ..
    } = &state.link;
    fingerprint(&View {
        now: state.now,
        h: *h,
        saved: *saved,
        lost: *lost,
        dep: base.dep,
        wd: base.wd,
        marks: base.marks.map(|marks| marks.map(|mark| u8::from(mark != 0))),
        dispute_no: h.seen.then_some(chain.dispute_no),
    })
}

/// What was compared.
#[derive(Debug, Default)]
pub struct Walk {
    /// States of the model.
    pub states: usize,
    /// Different views of the honest party.
    pub views: usize,
    /// Events done by the channel.
    pub events: u64,
    /// Verdicts compared.
    pub verdicts: u64,
    /// Events after which nothing was replayed, by reason.
    pub not_replayed: BTreeMap<&'static str, u64>,
    /// False when the limit was reached first.
    pub complete: bool,
    /// Where they differ, and how to get there.
    pub fault: Option<(String, Vec<Step>)>,
}

struct Node {
    state: State,
    place: usize,
    view: u64,
    party: Rc<Party>,
}

struct Walker<'a> {
    model: &'a One,
    world: World,
    out: Walk,
    /// States, as fingerprints.
    seen: HashSet<u64>,
    /// Events between views that were done.
    done: HashSet<u64>,
    /// Views in which everything was asked.
    asked: HashSet<u64>,
    /// How a state was reached: from which place, by what.
    path: Vec<(usize, Step)>,
}

/// Walks through all states, or the first `limit`.
#[must_use]
pub fn walk(model: &One, limit: usize) -> Walk {
    let start = model.start();
    let world = World::new(model.0.terms);
    let party = Rc::new(Party::new(&world, &start.link));
    let mut walker = Walker {
        model,
        world,
        out: Walk::default(),
        seen: HashSet::from([fingerprint(&start)]),
        done: HashSet::new(),
        asked: HashSet::new(),
        path: vec![(0, Step::Tick)],
    };
    let mut level = vec![Node {
        state: start,
        place: 0,
        view: view(&start),
        party,
    }];
    while !level.is_empty() && walker.seen.len() < limit {
        match walker.level(&level) {
            Ok(next) => level = next,
            Err((fault, place)) => {
                walker.out.fault = Some((fault, walker.trace(place)));
                break;
            }
        }
    }
    walker.out.complete = level.is_empty();
    walker.out.states = walker.seen.len();
    walker.out.views = walker.asked.len();
    walker.out
}

impl Walker<'_> {
    fn level(&mut self, level: &[Node]) -> Result<Vec<Node>, (String, usize)> {
        // One channel a view, as long as a level or the next one is in it.
        let mut parties: HashMap<u64, Rc<Party>> = level
            .iter()
            .map(|node| (node.view, Rc::clone(&node.party)))
            .collect();
        let (mut next, mut steps) = (Vec::new(), Vec::new());
        for node in level {
            if self.asked.insert(node.view) {
                self.ask(node).map_err(|fault| (fault, node.place))?;
            }
            self.model.next(&node.state, &mut steps);
            for (step, state) in steps.drain(..) {
                let to = view(&state);
                let known = to == node.view || self.done.contains(&edge(node.view, to));
                if known && self.seen.contains(&fingerprint(&state)) {
                    continue;
                }
                let place = self.path.len();
                self.path.push((node.place, step));
                let party = self.step(node, step, &state, to, &mut parties);
                let Some(party) = party.map_err(|fault| (fault, place))? else {
                    continue;
                };
                if self.seen.insert(fingerprint(&state)) {
                    next.push(Node {
                        state,
                        place,
                        view: to,
                        party,
                    });
                }
            }
        }
        Ok(next)
    }

    /// The channel of the view that `step` leads to; `None` when the channel does not go there.
    fn step(
        &mut self,
        node: &Node,
        step: Step,
        state: &State,
        to: u64,
        parties: &mut HashMap<u64, Rc<Party>>,
    ) -> Result<Option<Rc<Party>>, String> {
        if to == node.view {
            return Ok(Some(Rc::clone(&node.party)));
        }
        if self.done.contains(&edge(node.view, to))
            && let Some(party) = parties.get(&to)
        {
            return Ok(Some(Rc::clone(party)));
        }
        let act = match step {
            Step::Tick => None,
            Step::In(act) => Some(act),
        };
        match node
            .party
            .does(&self.world, act, &node.state.link, &state.link, state.now)?
        {
            Outcome::NotReplayed(why) => {
                *self.out.not_replayed.entry(why).or_default() += 1;
                Ok(None)
            }
            Outcome::Done(party) => {
                self.out.events += 1;
                agree(&self.world, &self.model.0, &party, &state.link, state.now)?;
                self.done.insert(edge(node.view, to));
                Ok(Some(Rc::clone(
                    parties.entry(to).or_insert_with(|| Rc::new(*party)),
                )))
            }
        }
    }

    fn ask(&mut self, node: &Node) -> Result<(), String> {
        let offers = Offers {
            world: &self.world,
            model: &self.model.0,
            party: &node.party,
            link: &node.state.link,
            now: node.state.now,
        };
        self.out.verdicts += offers.compare()?;
        Ok(())
    }

    fn trace(&self, mut place: usize) -> Vec<Step> {
        let mut steps = Vec::new();
        while place != 0 {
            let (before, step) = self.path[place];
            steps.push(step);
            place = before;
        }
        steps.reverse();
        steps
    }
}

fn edge(from: u64, to: u64) -> u64 {
    fingerprint(&(from, to))
}
