"""From labelled images to a model file: losses, scores, the loop, its state."""
