"""What every other room builds on: the batch, the model as a function, random numbers, names and checks."""
