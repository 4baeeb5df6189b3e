"""What others are held against: plain sequential learning, joint training, a model for each task."""
