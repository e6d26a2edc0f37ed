//! Deployments of a model: their health, their load, and which of them answers next.
