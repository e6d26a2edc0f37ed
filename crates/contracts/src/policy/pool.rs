//! Deployments of a model, and how they are watched, balanced and retried.
