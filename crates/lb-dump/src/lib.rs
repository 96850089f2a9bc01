//! Traffic dump: write, rotate, read.
