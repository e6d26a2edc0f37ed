//! Translation between the protocols that clients and providers of models speak: whole answers and streams.
