"""Which lanes would be tried for a request, in which order, and why the rest is out. Pure: no I/O, no await."""
