"""What a strategy is: its hooks, its phases, and what several of them are together."""
