//! The arms of an experiment compared: effect, interval that stays valid under peeking, decision and its reason.
