//! A truth set run through the gateway and judged: concurrent, resumable, within a cost ceiling.
