//! A checker of histories: what must hold between any two decisions of a run, whatever happened.
