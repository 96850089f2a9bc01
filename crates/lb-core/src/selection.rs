//! An eligible set and the strategy built from it: swapped as one, so that an index always fits its set.

use std::sync::Arc;

use crate::set::BackendSet;
use crate::strategy::{Build, Needs, Options, Strategy, StrategyInfo};
use crate::turn::Turn;

#[derive(Debug)]
pub(crate) struct Selection {
    pub(crate) set: BackendSet,
    pub(crate) strategy: Box<dyn Strategy>,
    /// Asked once, so that a lease need not ask.
    pub(crate) needs: Needs,
}

impl Selection {
    pub(crate) fn build(info: &StrategyInfo, options: &Options, turn: &Arc<Turn>, set: BackendSet) -> Self {
        let strategy = (info.build)(&Build { set: &set, options, turn });
        Self { needs: strategy.needs(), set, strategy }
    }
}
