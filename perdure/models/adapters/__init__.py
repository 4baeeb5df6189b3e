"""Layers put into a model: low-rank products, factored weights, prompts, reprogrammed channels."""
