//! The HTTP surface: judges asked synchronously, and the queue of annotations.
