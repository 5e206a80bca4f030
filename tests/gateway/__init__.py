"""Tests of the gateway's own decisions: over scripted upstreams, on a clock that moves only when everybody waits."""
