"""The storm: one scripted world of failing upstreams, and the same traffic sent into it by every contender.

Each contender lives in a process of its own in which time is virtual, so that a quarter of an hour passes in seconds.
"""
