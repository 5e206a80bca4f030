"""Walking a plan: attempt, verify, switch, downgrade, stop, and what comes of it in the end."""
