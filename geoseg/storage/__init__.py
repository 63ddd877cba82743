"""How an output replaces the old one: claim, lock, journal, verified rename."""
