//! Every leased table.

use super::hot::claims;
use super::lease::Leased;
use super::{retention, tasks};

pub const TABLES: [&Leased; 3] = [&claims::LEASED, &tasks::LEASED, &retention::LEASED];
