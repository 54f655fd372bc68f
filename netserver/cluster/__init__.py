"""Many servers as one: groups, presence, history and routing by identity."""
