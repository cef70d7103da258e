//! The scheduler's laws, on the host: the bookkeeping step by step, and the whole under an engine of
//! host threads.

mod host;
mod live;
mod queues;
mod recorder;
mod steps;
mod types;
