"""What search and retraining share: steps, checkpoints, schedules, streams of batches."""
