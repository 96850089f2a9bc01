//! Status endpoints, demo page and dashboard of a gateway.
