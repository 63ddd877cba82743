"""From labelled scenes to a model file: cards, models, samplers, training."""
