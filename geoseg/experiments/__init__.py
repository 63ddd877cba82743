"""Sweeps: many trainings of one configuration with values that vary, and what they teach."""
