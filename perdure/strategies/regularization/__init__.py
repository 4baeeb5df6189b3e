"""A penalty that keeps weights, or outputs, where earlier tasks left them."""
