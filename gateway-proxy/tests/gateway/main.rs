//! The gateway at its HTTP boundary: a real client, a real server, and an upstream and a collector that do as the test says.

#[cfg(test)]
mod answers;
#[cfg(test)]
mod background;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod bounds;
#[cfg(test)]
mod budgets;
#[cfg(test)]
mod cache_control;
#[cfg(test)]
mod cascade_failures;
#[cfg(test)]
mod cascades;
#[cfg(test)]
mod disconnects;
#[cfg(test)]
mod ends;
#[cfg(test)]
mod experiments;
#[cfg(test)]
mod forwarding;
#[cfg(test)]
mod guardrails;
#[cfg(test)]
mod hedges;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod live;
#[cfg(test)]
mod load;
#[cfg(test)]
mod models;
#[cfg(test)]
mod odd_answers;
#[cfg(test)]
mod outcomes;
#[cfg(test)]
mod pools;
#[cfg(test)]
mod probes;
#[cfg(test)]
mod prompts;
#[cfg(test)]
mod records;
#[cfg(test)]
mod resume;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod sockets;
#[cfg(test)]
mod start;
#[cfg(test)]
mod stream_usage;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod support;
#[cfg(test)]
mod timeouts;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod translation;
