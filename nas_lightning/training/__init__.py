"""Training code shared by search and retraining: steps, checkpoints, schedules, streams."""
