"""SLURM: the job that a run belongs to, and scripts for new jobs."""
