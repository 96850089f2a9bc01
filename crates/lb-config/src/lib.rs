//! Files and environment to a typed configuration, with every diagnostic at its place.
