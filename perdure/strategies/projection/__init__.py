"""Steps that leave alone what earlier tasks use."""
