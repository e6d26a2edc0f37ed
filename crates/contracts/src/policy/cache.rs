//! Which answers may be given again, to whom and for how long.
