"""Few new weights for each task, beside those of a model that stays."""
