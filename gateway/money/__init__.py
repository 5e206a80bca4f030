"""What things cost, what may be spent, and what was spent."""
