//! Every leased table.

use super::hot::claims;
use super::lease::Leased;
use super::{retention, tasks, webhook_deliveries};

pub const TABLES: [&Leased; 4] =
    [&claims::LEASED, &tasks::LEASED, &retention::LEASED, &webhook_deliveries::LEASED];
