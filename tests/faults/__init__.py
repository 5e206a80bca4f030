"""The fault table: each row of docs/faults.md as tests, on real connections to upstreams that fail on cue."""
