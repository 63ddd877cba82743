"""Train a model from labelled images: losses, scores, the training loop and its state."""
