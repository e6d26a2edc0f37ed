//! The pieces that pages are made of, one a file.

pub(crate) mod badge;
pub(crate) mod chart;
pub(crate) mod copy;
pub(crate) mod empty;
pub(crate) mod failure;
pub(crate) mod figures;
pub(crate) mod filters;
pub(crate) mod frame;
pub(crate) mod groups;
pub(crate) mod icon;
pub(crate) mod kpi;
pub(crate) mod live;
pub(crate) mod loading;
pub(crate) mod messages;
pub(crate) mod range;
pub(crate) mod signals;
pub(crate) mod spark;
pub(crate) mod theme;
pub(crate) mod time;
pub(crate) mod url;
pub(crate) mod verdicts;
pub(crate) mod waterfall;
