//! Production calls, judged as they come: planned into chunks, claimed by workers, written exactly once.
