//! What calls were good for: feedback and actions joined to every cost that served them.
